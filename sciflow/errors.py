"""One kind of error for everything a user can put right: it says what was got, what was expected and what to do.

The command line prints such an error on one line and exits with code 2; library code lets it pass.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


class SciflowError(ValueError):
    """Bad input of the user (a value, a file, a configuration); the message names the remedy."""


def expected(what: str, got: object, wanted: str, do: str = "") -> SciflowError:
    """Return the error «what: got ..., expected ...; do».

    Args:
        what: The thing that is wrong, e.g. ``"steps"`` or a file name.
        got: The value that was given.
        wanted: What would have been right.
        do: What the user can do; left out where `wanted` says it already.

    Returns:
        The error, for the caller to raise.
    """
    remedy = f"; {do}" if do else ""
    return SciflowError(f"{what}: got {got!r}, expected {wanted}{remedy}")


def unknown(what: str, got: str, options: Iterable[str]) -> SciflowError:
    """Return the error for a name that is none of `options`, with the nearest one suggested."""
    names = sorted(options)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else ""
    return expected(what, got, "one of " + ", ".join(names), hint)


def built(
    what: str, make: Callable[..., T], options: Mapping[str, Any], *args: Any, **more: Any
) -> T:
    """Return ``make(*args, **more, **options)`` of options that a user wrote.

    Args:
        what: What is made, e.g. ``"network unet"``.
        make: Class or function; the options are its parameters that neither `args` nor `more` gives.
        options: Its options by name.
        args: What it is given besides.
        more: The same, by name.

    Raises:
        SciflowError: An option is unknown, or has a value of a wrong type.
    """
    names = list(inspect.signature(make).parameters)[len(args) :]
    known = [name for name in names if name not in more]
    for name in options:
        if name not in known:
            raise unknown(f"option of {what}", name, known)
    try:
        return make(*args, **more, **options)
    except TypeError as error:
        raise SciflowError(f"options of {what}: {error}") from None


def need(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra of the package brings it.

    Raises:
        SciflowError: The module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SciflowError(
            f"{module}: not installed, expected for this feature; "
            f"install the extra: pip install '.[{extra}]' in a checkout of sciflow"
        ) from error
