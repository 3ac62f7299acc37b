"""Data sets by the law of an equation, simulated when they are read.

``burgers:2000`` are the first 2,000 trajectories of seed 0 of the equation as it is by default, ``burgers:2000-2100``
the hundred after them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import xarray as xr

from sciflow.errors import SciflowError, expected, unknown

from . import files
from .growing import Growing
from .physics import EQUATIONS, Equation
from .trajectories import SAMPLE, equation_of, from_xarray, to_xarray

_NAME = re.compile(r"(\d+)(?:-(\d+))?")
_AT_A_TIME = 256


def is_name(text: str) -> bool:
    """True for ``burgers:2000`` and the like."""
    return text.partition(":")[0] in EQUATIONS and ":" in text


def equation(name: str, options: Mapping[str, Any] | None = None) -> Equation:
    """Return an equation by name, with some of its numbers set.

    Raises:
        SciflowError: The equation or an option is unknown, or a number is wrong.
    """
    if name not in EQUATIONS:
        raise unknown("equation", name, EQUATIONS)
    kind, given = EQUATIONS[name], dict(options or {})
    known = [field.name for field in fields(kind)]
    for option in given:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    try:
        return kind(**given)
    except TypeError as error:
        raise SciflowError(f"{name}: got options {given}, expected numbers ({error})") from None


def simulated(name: str, progress: Callable[[int], object] | None = None) -> xr.Dataset:
    """Return the data set of a name.

    Raises:
        SciflowError: The name is no data set.
    """
    kind, _, part = name.partition(":")
    found = _NAME.fullmatch(part)
    if found is None:
        raise expected(
            f"data set {name}", part, "a number or a range: burgers:2000, burgers:2000-2100"
        )
    first, last = (0, int(found[1])) if found[2] is None else (int(found[1]), int(found[2]))
    if last <= first:
        raise expected(f"data set {name}", part, "at least one trajectory")
    law = equation(kind)
    return to_xarray(law, law.simulate(0, last - first, first, progress=progress), first)


def write(
    law: Equation,
    count: int,
    path: str | Path,
    seed: int = 0,
    start: int = 0,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Simulate trajectories into a file, batch by batch: what is written stays, whatever happens after.

    Args:
        law: The equation.
        count: How many.
        path: File of fields.
        seed: Seed.
        start: Number of the first.
        progress: Called with the number finished since the last call.

    Raises:
        SciflowError: The file cannot be written, or a number is wrong.
    """
    if count < 1:
        raise expected("number of trajectories", count, "at least 1")
    with Growing(path) as out:
        for first in range(start, start + count, _AT_A_TIME):
            size = min(_AT_A_TIME, start + count - first)
            out.append(to_xarray(law, law.simulate(seed, size, first), first))
            if progress is not None:
                progress(size)


def given(
    source: str | Path, name: str, options: Mapping[str, Any] | None = None
) -> tuple[Equation, xr.Dataset]:
    """Return the equation of a file, and what the file gives it to start from.

    Where the file tells the numbers of the equation they hold, but for those in `options`; where it lacks ``u0`` the
    first frame of ``u`` stands for it.

    Raises:
        SciflowError: The file cannot be read or is of another equation, or an option is wrong.
    """
    data = files.read(source)
    known: dict[str, Any] = {}
    if "equation" in data.attrs:
        known = equation_of(data, source).config()
        if (kind := known.pop("equation")) != name:
            raise expected(f"{source}: equation", kind, name, f"simulate {kind}")
    law = equation(name, {**known, **(options or {})})
    starts = {
        f"{n}0": data[n].isel(time=0, drop=True)
        for n in law.fields
        if f"{n}0" in law.given and f"{n}0" not in data and n in data and "time" in data[n].dims
    }
    return law, data.assign(starts)


def again(
    law: Equation,
    data: xr.Dataset,
    path: str | Path,
    source: str | Path = "given",
    progress: Callable[[int], object] | None = None,
) -> None:
    """Solve from what a dataset gives into a file, batch by batch.

    Raises:
        SciflowError: What is given does not fit the equation, or cannot be solved with its time step.
    """
    with Growing(path) as out:
        for first in range(0, data.sizes.get(SAMPLE, 1), _AT_A_TIME):
            some = data.isel({SAMPLE: slice(first, first + _AT_A_TIME)}, missing_dims="ignore")
            values = from_xarray(some, law, path=source)
            out.append(to_xarray(law, values | law.solve(values), first))
            if progress is not None:
                progress(out.count - first)


__all__ = ["again", "equation", "given", "is_name", "simulated", "write"]
