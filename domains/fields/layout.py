"""Layout of trajectories: which variables are generated, which are given, and on which dimensions they stand.

A trajectory has a dimension ``time``, one to three of space, and a first frame that is known. Three kinds of variables:

    fields      on (time, *space), e.g. u. Frame 0 is given, the others are generated.
    start       frame 0 of the fields; in a file without the fields, variables called like them with a 0: ``u0``, on
                their grid or on a finer one, of which means are taken.
    given       what else is known: forces on (interval, *space) or (time, *space), fields on some of the axes,
                numbers. ``interval`` stands for what is constant between two times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown

from . import files
from .physics import Equation
from .trajectories import SAMPLE, equation_of

TIME = "time"
START = "start"
_SOLVER = "_solver"


@dataclass(frozen=True)
class Layout:
    """Variables and grid of trajectories; see the module.

    Args:
        fields: Names of the fields.
        space: Names of the dimensions of space, in order.
        given: Dimensions of each given variable.
        coordinates: Values of the dimensions.
        units: Units of the variables.
        periodic: Dimensions of space that are periodic.
        equation: The equation as JSON, where the trajectories have one.
    """

    fields: tuple[str, ...]
    space: tuple[str, ...]
    given: Mapping[str, tuple[str, ...]]
    coordinates: Mapping[str, tuple[float, ...]]
    units: Mapping[str, str]
    periodic: tuple[str, ...] = ()
    equation: str | None = None

    @classmethod
    def of(
        cls,
        data: xr.Dataset,
        fields: Sequence[str] | None = None,
        given: Sequence[str] | None = None,
        periodic: Sequence[str] | None = None,
        path: object = "data",
    ) -> Layout:
        """Find the layout of a dataset.

        Args:
            data: Trajectories, with a dimension ``sample`` or without.
            fields: Names of the fields; None for those of the equation, else all that vary in time and space.
            given: Names of what is given beside the first frame; None for that of the equation, else nothing.
            periodic: Periodic dimensions; None asks the equation.
            path: What the messages call the dataset.

        Raises:
            SciflowError: A variable or a dimension is missing, or a coordinate is irregular or no number.
        """
        names = [str(n) for n in data.data_vars]
        equation = equation_of(data, path) if "equation" in data.attrs else None
        if fields is None:
            fields = list(equation.fields) if equation else _moving(data)
        if given is None:
            known = equation.given if equation else ()
            given = [n for n in known if n.removesuffix("0") not in fields]
        for name in (*fields, *given):
            if name not in names:
                raise unknown(f"{path}: variable", name, names)
        if not fields:
            shown = {n: _dims(data[n]) for n in names}
            raise expected(f"{path}: variables", shown, f"one on {TIME} and space")
        dims = _dims(data[fields[0]])
        if TIME not in dims or not 2 <= len(dims) <= 4:
            raise expected(
                f"{path}: dimensions of {fields[0]}", dims, f"{TIME} and one to three of space"
            )
        space = tuple(d for d in dims if d != TIME)
        if periodic is None:
            # An equation that knows no boundary is periodic.
            around = getattr(equation, "boundary", "periodic") == "periodic"
            periodic = space if equation is not None and around else ()
        for name in periodic:
            if name not in space:
                raise unknown("periodic dimension", name, space)
        shapes = {n: tuple(d.removesuffix(_SOLVER) for d in _dims(data[n])) for n in given}
        used = dict.fromkeys((TIME, *space, *(d for s in shapes.values() for d in s)))
        coordinates = {d: _coordinate(data, d) for d in used}
        units = {n: str(data[n].attrs.get("units", "1")) for n in (*fields, *given)}
        text = json.dumps(equation.config()) if equation else None
        layout = cls(tuple(fields), space, shapes, coordinates, units, tuple(periodic), text)
        for name in given:
            layout.axes(name)
        return layout

    # -- sizes ---------------------------------------------------------------------------------------------------

    @property
    def frames(self) -> int:
        """Number of frames that are generated."""
        return len(self.coordinates[TIME]) - 1

    @property
    def grid(self) -> tuple[int, ...]:
        """Lengths of the generated box: (frames, *space)."""
        return (self.frames, *(len(self.coordinates[d]) for d in self.space))

    @property
    def known(self) -> tuple[str, ...]:
        """Names of all that is known: the start, then what is given, by name."""
        return (START, *sorted(self.given))

    def axes(self, name: str) -> tuple[str, ...]:
        """Axes of the box that a known variable stands on: ``interval`` is ``time``."""
        if name == START:
            return self.space
        found = []
        for dim in self.given[name]:
            if dim in (*self.space, TIME):
                found.append(dim)
            elif len(self.coordinates[dim]) == self.frames and TIME not in found:
                found.append(TIME)
            else:
                raise expected(
                    f"dimension {dim} of {name}",
                    f"length {len(self.coordinates[dim])}",
                    f"{TIME}, {', '.join(self.space)}, or {self.frames} intervals of time",
                )
        wanted = tuple(d for d in (TIME, *self.space) if d in found)
        if tuple(found) != wanted:
            raise expected(f"order of the dimensions of {name}", tuple(found), str(wanted))
        return wanted

    def law(self) -> Equation | None:
        """The equation, whose law draws what is given."""
        return (
            None
            if self.equation is None
            else equation_of(xr.Dataset(attrs={"equation": self.equation}))
        )

    # -- tensors -------------------------------------------------------------------------------------------------

    def read(
        self,
        data: xr.Dataset,
        whole: bool = True,
        without: Sequence[str] = (),
        path: object = "data",
    ) -> dict[str, Tensor]:
        """Return tensors of a dataset, float32.

        Args:
            data: One or more trajectories.
            whole: Whether the fields are wanted, beside what is known.
            without: Given variables that need not be there.
            path: What the messages call the dataset.

        Returns:
            ``fields`` ``[B, fields, frames, *space]``, ``start`` ``[B, fields, *space]``, and each given variable
            ``[B, *axes]``.

        Raises:
            SciflowError: A variable is missing, has other dimensions, units or coordinates, or is not finite.
        """
        found: dict[str, Tensor] = {}
        starts, boxes = [], []
        for name in self.fields:
            if name in data.data_vars and TIME in data[name].dims:
                box = self._values(data, name, (TIME, *self.space), path, whole)
                starts.append(box[:, 0])
                boxes.append(box[:, 1:])
            elif name in data.data_vars:
                starts.append(self._values(data, name, self.space, path))
            elif f"{name}0" in data.data_vars:
                starts.append(self._values(data, f"{name}0", self.space, path))
            else:
                raise expected(
                    f"{path}: variables", sorted(map(str, data.data_vars)), f"{name} or {name}0",
                    f"add {name}0, the initial state on ({', '.join(self.space)})",
                )  # fmt: skip
        found[START] = torch.stack(starts, dim=1)
        if whole:
            if len(boxes) < len(self.fields):
                raise expected(
                    f"{path}: dimensions of {', '.join(self.fields)}", self.space, f"{TIME} too"
                )
            found["fields"] = torch.stack(boxes, dim=1)
        for name in self.given:
            if name in without and name not in data.data_vars:
                continue
            value = self._values(data, name, self.given[name], path)
            found[name] = value[:, 1:] if TIME in self.given[name] else value
        counts = {name: len(value) for name, value in found.items()}
        if len(set(counts.values())) > 1:
            raise expected(f"{path}: samples", counts, "the same number in every variable")
        return found

    def drawn(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what is known from what the law of the equation draws, as `read` does."""
        found = {}
        for name in (*(f"{n}0" for n in self.fields), *self.given):
            dims = self.given.get(name, self.space)
            value = values[name].float()
            for k, dim in enumerate(dims, 1):
                size = len(self.coordinates[dim])
                if value.shape[k] != size:
                    value = value.unflatten(k, (size, -1)).mean(k + 1)
            found[name] = value[:, 1:] if TIME in dims else value
        start = torch.stack([found.pop(f"{n}0") for n in self.fields], dim=1)
        return {START: start, **found}

    def datasets(self, values: Mapping[str, Tensor]) -> list[xr.Dataset]:
        """Return one dataset for each sample of what `read` returns; the inverse of it."""
        arrays: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        box = torch.cat((values[START].unsqueeze(2), values["fields"]), dim=2).cpu().numpy()
        for k, name in enumerate(self.fields):
            arrays[name] = ((TIME, *self.space), box[:, k])
        for name, dims in self.given.items():
            value = values[name]
            if (
                TIME in dims
            ):  # nothing is known of the moment of the start: it counts as the first after it
                value = torch.cat((value[:, :1], value), dim=1)
            arrays[name] = (dims, value.cpu().numpy())
        used = {d for dims, _ in arrays.values() for d in dims}
        coords = {d: np.asarray(v) for d, v in self.coordinates.items() if d in used}
        attrs = {} if self.equation is None else {"equation": self.equation}
        found = []
        for b in range(len(box)):
            parts = {n: (d, a[b], {"units": self.units[n]}) for n, (d, a) in arrays.items()}
            found.append(files.described(xr.Dataset(parts, coords, attrs)))
        return found

    # -- configuration -------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layout:
        """Make the layout that `config` described."""
        plain = {
            **config,
            "fields": tuple(config["fields"]),
            "space": tuple(config["space"]),
            "periodic": tuple(config["periodic"]),
            "given": {n: tuple(d) for n, d in config["given"].items()},
            "coordinates": {n: tuple(v) for n, v in config["coordinates"].items()},
        }
        return cls(**plain)

    # -- inside --------------------------------------------------------------------------------------------------

    def _values(
        self, data: xr.Dataset, name: str, dims: Sequence[str], path: object, strict: bool = True
    ) -> Tensor:
        if name not in data.data_vars:
            raise unknown(f"{path}: variable", name, [str(n) for n in data.data_vars])
        array = files.load(data, (name,), str(path))[name]
        files.check_units(array, self.units.get(name.removesuffix("0"), self.units.get(name, "1")))
        if SAMPLE not in array.dims:
            array = array.expand_dims(SAMPLE)
        array = array.rename({d + _SOLVER: d for d in dims if d + _SOLVER in array.dims})
        array = files.check_dims(array, (SAMPLE, *dims))
        if not strict:  # the first frame alone is asked for
            array = array.isel({TIME: slice(0, 1)})
        files.check_finite(array)
        value = torch.from_numpy(np.ascontiguousarray(array.values)).float()
        for k, dim in enumerate(dims, 1):
            if dim == TIME and not strict:
                continue
            value = self._on_grid(value, k, dim, data, name)
        return value

    def _on_grid(self, value: Tensor, k: int, dim: str, data: xr.Dataset, name: str) -> Tensor:
        wanted, got = self.coordinates[dim], value.shape[k]
        if got != len(wanted):
            if dim not in self.space or got % len(wanted):
                remedy = (
                    f"interpolate to {len(wanted)} points from {wanted[0]:g} to {wanted[-1]:g}"
                )
                raise expected(f"length of {dim} in {name}", got, str(len(wanted)), remedy)
            return value.unflatten(k, (len(wanted), -1)).mean(k + 1)
        if dim in data.coords and data[dim].size == got:
            there = _coordinate(data, dim)
            step = abs(wanted[-1] - wanted[0]) / max(1, len(wanted) - 1) or 1.0
            if np.abs(np.subtract(there, wanted)).max() > 1e-3 * step:
                raise SciflowError(
                    f"coordinate {dim}: got {there[0]:g} to {there[-1]:g}, expected {wanted[0]:g} to {wanted[-1]:g} "
                    f"in {len(wanted)} even steps; interpolate to it"
                )
        return value


def _dims(array: xr.DataArray) -> tuple[str, ...]:
    return tuple(str(d) for d in array.dims if d != SAMPLE)


def _moving(data: xr.Dataset) -> list[str]:
    shapes = {str(n): _dims(v) for n, v in data.data_vars.items()}
    boxes = [n for n, d in shapes.items() if TIME in d and len(d) > 1]
    return [n for n in boxes if shapes[n] == shapes[boxes[0]]]


def _coordinate(data: xr.Dataset, dim: str) -> tuple[float, ...]:
    if dim not in data.coords:
        return tuple(map(float, range(data.sizes[dim])))
    values = files.check_coordinate(data, dim)
    if values.dtype.kind not in "fiu":
        raise expected(
            f"coordinate {dim}",
            f"{values.dtype} values",
            "numbers",
            "count from the start, e.g. in hours",
        )
    return tuple(map(float, values))


__all__ = ["START", "TIME", "Layout"]
