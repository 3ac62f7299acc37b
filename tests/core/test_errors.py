"""What is made of options that a user wrote."""

from __future__ import annotations

from typing import Any

import pytest

from sciflow.errors import SciflowError, built


def make(size: int, width: int, depth: int = 2, seed: int = 0) -> tuple[int, int, int, int]:
    return size, len(range(width)), depth, seed


def test_options_are_handed_on() -> None:
    assert built("network u", make, {"depth": 5, "width": 3}, 7, seed=1) == (7, 3, 5, 1)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"width": 3, "dept": 1}, "option of network u: got 'dept'.*did you mean 'depth'"),
        ({"width": 3, "size": 1}, "got 'size', expected one of depth, width"),  # not the user's
        ({"width": 3, "seed": 1}, "got 'seed', expected one of depth, width"),
        ({"width": "wide"}, "options of network u: .*str"),
        ({}, "options of network u: .*'width'"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(SciflowError, match=named):
        built("network u", make, options, 7, seed=1)
