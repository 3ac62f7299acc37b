r"""Super-resolution: from a trajectory on a coarse grid to the next finer one, twice as many frames and cells.

A model of super-resolution generates the trajectory of a level like any other model of fields; beside the start and the
force on its own grid it is given the next coarser trajectory, interpolated linearly to this grid (P, `upsampled`): the
variable ``u_coarse``. What it generates are the bands of what the interpolation misses,

.. math:: u_l = P u_{l-1} + W^{-1} w_l, \qquad w_l \sim p(\,\cdot \mid P u_{l-1}, a_l),

with one network for all levels, since every one sees twice the frequencies of the one before. It is trained on the
levels that the data hold (`ladder`: means over pairs of cells, every second frame) and applied as often as wanted, also
beyond them (`refine`). From a level to the next the deviation of each band falls by a factor; the one between the two
finest levels of the data is taken for all (`Coding.decay`), so that the network meets unit deviations everywhere.

Reference: WDNO (Hu et al., ICLR 2025), section 3.3 (multi-resolution training; there the coarse coefficients are
repeated, the fine ones generated whole, and divided by the same numbers on all levels).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import expected

from .layout import COARSE, START, TIME, Layout
from .trajectories import SAMPLE

if TYPE_CHECKING:
    from sciflow.model import Model


def halved(layout: Layout, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `Layout.read` returns on the grid of half the frames and cells.

    Cells and intervals are means of two, frames every second one.

    Raises:
        SciflowError: A length is odd.
    """
    found = {}
    for name, value in values.items():
        axes = (TIME, *layout.space) if name == "fields" else layout.axes(name)
        dims = (TIME, *layout.space) if name == "fields" else layout.given.get(name, layout.space)
        for k, axis in enumerate(axes, value.dim() - len(axes)):
            if value.shape[k] % 2:
                raise expected(f"length of {axis} to halve", value.shape[k], "an even number")
            pairs = value.unflatten(k, (-1, 2))
            frames = axis == TIME and TIME in dims
            value = pairs.select(k + 1, 1) if frames else pairs.mean(k + 1)
        found[name] = value
    return found


def upsampled(layout: Layout, start: Tensor, fields: Tensor) -> Tensor:
    """Interpolate a trajectory linearly to twice the frames and cells.

    Args:
        layout: Names and periodic axes.
        start: First frame ``[B, C, *space]``.
        fields: The others ``[B, C, T, *space]``.

    Returns:
        ``[B, C, 2 T, *(2 space)]``, first frame left out.
    """
    whole = torch.cat((start.unsqueeze(2), fields), 2)
    between = (whole[:, :, :-1] + whole[:, :, 1:]) / 2
    x = torch.stack((between, whole[:, :, 1:]), 3).flatten(2, 3)
    for k, dim in enumerate(layout.space, 3):
        x = _doubled(x, k, dim in layout.periodic)
    return x


def _doubled(x: Tensor, k: int, periodic: bool) -> Tensor:
    """Values at the centres of the halves of the cells, along one dimension."""
    size = x.shape[k]
    index = torch.arange(size, device=x.device)
    left, right = index - 1, index + 1
    if periodic:
        left, right = left % size, right % size
    else:
        left, right = left.clamp(min=0), right.clamp(max=size - 1)
    near = 0.75 * x
    sides = [near + 0.25 * x.index_select(k, side) for side in (left, right)]
    return torch.stack(sides, k + 1).flatten(k, k + 1)


def spectral(layout: Layout, start: Tensor, fields: Tensor) -> Tensor:
    """As `upsampled`, by series: Fourier's on periodic axes, cosines on the others and in time."""
    x = torch.cat((start.unsqueeze(2), fields), 2)
    frames = fields.shape[2]
    x = _series(
        x, 2, torch.arange(frames + 1) / frames, torch.arange(1, 2 * frames + 1) / (2 * frames)
    )
    for k, dim in enumerate(layout.space, 3):
        size = x.shape[k]
        coarse = (torch.arange(size) + 0.5) / size
        fine = (torch.arange(2 * size) + 0.5) / (2 * size)
        x = _series(x, k, coarse, fine, dim in layout.periodic)
    return x


def _series(x: Tensor, k: int, here: Tensor, there: Tensor, periodic: bool = False) -> Tensor:
    """Values of the interpolating series at other places (in units of the length), along one dimension."""
    size = len(here)

    def basis(place: Tensor) -> Tensor:
        angle = math.pi * place.double()[:, None] * torch.arange(size)
        if not periodic:
            return angle.cos()
        wave = (torch.arange(size) + 1) // 2 * 2
        angle = math.pi * (place.double()[:, None] - here[0].double()) * wave
        return torch.where(torch.arange(size) % 2 == 1, angle.cos(), angle.sin() + (wave == 0))

    matrix = torch.linalg.solve(basis(here).T, basis(there).T).to(x)
    return (x.movedim(k, -1) @ matrix).movedim(-1, k)


def ladder(
    layout: Layout, values: Mapping[str, Tensor], levels: int
) -> tuple[Layout, list[dict[str, Tensor]]]:
    """Return the layout of a model of super-resolution, and its data on each level, the finest first.

    Args:
        layout: Layout of the finest data.
        values: What it reads.
        levels: How many pairs of a grid and the next coarser one.

    Raises:
        SciflowError: `levels` is wrong, a length is odd, or something beside the fields is generated.
    """
    if levels < 1:
        raise expected("levels", levels, "at least 1")
    if layout.driven or layout.ends:
        raise expected(
            "layout of super-resolution", layout.made, f"the fields {layout.fields} alone"
        )
    dims = (TIME, *layout.space)
    given = {**layout.given, **{name + COARSE: dims for name in layout.fields}}
    units = {**layout.units, **{n + COARSE: layout.units[n] for n in layout.fields}}
    found, fine = [], dict(values)
    for _ in range(levels):
        coarse = halved(layout, fine)
        raised = upsampled(layout, coarse[START], coarse["fields"])
        beside = {n + COARSE: raised[:, k] for k, n in enumerate(layout.fields)}
        found.append(fine | beside)
        fine = coarse
    return replace(layout, given=given, units=units), found


def lengths(layout: Layout, values: Mapping[str, Tensor]) -> dict[str, int]:
    """Lengths of the axes of the fields."""
    return dict(zip((TIME, *layout.space), values["fields"].shape[2:], strict=True))


def refine(
    model: Model,
    coarse: xr.Dataset,
    given: xr.Dataset | None = None,
    levels: int = 1,
    members: int = 1,
    seed: int = 0,
    **settings: Any,
) -> list[xr.Dataset]:
    """Bring trajectories to finer grids.

    Args:
        model: A model of super-resolution.
        coarse: Trajectories on any grid, with a dimension ``sample`` or without.
        given: Starts and all else that is known on the finest grid wanted, in the same order; None interpolates what
            `coarse` holds.
        levels: How many times the grid is refined.
        members: Samples of each trajectory; beyond the first level each goes on by itself.
        seed: Seed.
        settings: Further arguments of `sciflow.runtime.generate.generate`.

    Returns:
        ``members`` times as many trajectories; number i belongs to trajectory i modulo their number.

    Raises:
        SciflowError: The model is none of super-resolution, or the data do not fit it.
    """
    from sciflow.runtime.generate import generate

    adapter: Any = model.adapter
    layout: Layout = adapter.layout
    names = [n + COARSE for n in layout.fields]
    if any(name not in layout.given for name in names):
        raise expected("given variables of the model", sorted(layout.given), ", ".join(names))
    if levels < 1 or members < 1:
        raise expected("levels, members", (levels, members), "at least 1")
    bare = replace(layout, given={n: d for n, d in layout.given.items() if n not in names})
    first = bare.on(_sizes(layout, coarse))
    here = first.read(coarse, path="coarse", without=tuple(bare.given))
    known = None if given is None else _known(bare, given)
    made: list[xr.Dataset] = []
    for level in range(levels):
        grid = {dim: 2 * size for dim, size in lengths(layout, here).items()}
        finer = bare.on(grid)
        raised = upsampled(layout, here[START], here["fields"])
        count = len(raised)
        if known is None:
            wide = {n: _raised(bare, n, v) for n, v in here.items() if n != "fields"}
        else:
            wide = known
            while wide[START].shape[2:] != raised.shape[3:]:
                wide = halved(bare, wide)
        lacking = [n for n in bare.given if n not in wide]
        if lacking:
            raise expected(
                "coarse trajectories", sorted(here), f"{lacking[0]} in them, or `given`"
            )
        beside = {n: v[torch.arange(count) % len(v)] for n, v in wide.items()}
        beside |= {name: raised[:, k] for k, name in enumerate(names)}
        at = adapter.on(grid)
        asked = at.layout.asked(beside)
        model = replace(model, adapter=at)
        number = count * (members if level == 0 else 1)
        made = generate(model, number, seed + level, options={"given": asked}, **settings).objects
        here = finer.read(
            xr.concat([one[list(bare.made)] for one in made], SAMPLE),
            path="made",
            without=tuple(bare.given),
        )
        here |= {
            n: v[torch.arange(number) % len(v)]
            for n, v in beside.items()
            if n not in names and n != START
        }
    return made


def _sizes(layout: Layout, data: xr.Dataset) -> dict[str, int]:
    """Lengths of the axes of a dataset."""
    name = layout.fields[0]
    if name not in data.data_vars:
        raise expected("coarse trajectories: variables", sorted(map(str, data.data_vars)), name)
    missing = [d for d in (TIME, *layout.space) if d not in data[name].dims]
    if missing:
        raise expected(f"dimensions of {name}", tuple(map(str, data[name].dims)), missing[0])
    sizes = data[name].sizes
    return {TIME: sizes[TIME] - 1, **{d: sizes[d] for d in layout.space}}


def _known(layout: Layout, given: xr.Dataset) -> dict[str, Tensor]:
    """What is known on the grid of a dataset."""
    sizes = {dim: size for dim, size in given.sizes.items() if dim in layout.space}
    frames = [
        given.sizes[d]
        for d in layout.coordinates
        if d not in (*layout.space, TIME) and d in given.sizes
    ]
    if frames:
        sizes[TIME] = frames[0]
    elif TIME in given.sizes:
        sizes[TIME] = given.sizes[TIME] - 1
    return layout.on({str(d): n for d, n in sizes.items()}).read(given, False, path="given")


def _raised(layout: Layout, name: str, value: Tensor) -> Tensor:
    """A known variable on the next finer grid: linear in space, constant over halves of intervals."""
    axes = layout.axes(name)
    for k, axis in enumerate(axes, value.dim() - len(axes)):
        held = axis == TIME
        value = (
            value.repeat_interleave(2, k) if held else _doubled(value, k, axis in layout.periodic)
        )
    return value


__all__ = [
    "COARSE",
    "halved",
    "ladder",
    "lengths",
    "refine",
    "spectral",
    "upsampled",
]
