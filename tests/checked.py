"""Calls are held to their signatures while the tests run: shapes by jaxtyping, types by beartype. Users pay nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

# As for any type checker, an int is a float.
_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with its arguments and result checked at each call, where beartype can read its hints."""
    try:
        return _beartype(function)
    except BeartypeDecorHintException:  # a protocol that cannot be checked at run time
        return function
