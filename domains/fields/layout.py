"""Layout of trajectories: which variables are generated, which are given, and on which dimensions they stand.

A trajectory has a dimension ``time``, one to three of space, and a first frame that is known. Kinds of variables:

    fields      on (time, *space), e.g. u. Frame 0 is given, the others are generated.
    driven      generated beside them, on (interval, *space) or (time, *space): the force of a control.
    start       frame 0 of the fields; in a file without the fields, variables called like them with a 0: ``u0``, on
                their grid or on a finer one, of which means are taken.
    end         the last frame, where it is given, too; in a file without the fields ``uT``: the target of a control.
    given       what else is known: forces on (interval, *space) or (time, *space), fields on some of the axes,
                numbers. ``interval`` stands for what is constant between two times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import expected, unknown

from . import files
from .physics import Equation
from .trajectories import SAMPLE, equation_of

TIME = "time"
START = "start"
END = "end"
COARSE = "_coarse"
"""Ending of the name of a field's next coarser trajectory, interpolated: what is given to super-resolution."""
_MARKS = {START: "0", END: "T"}
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
        driven: Dimensions of each variable that is generated beside the fields.
        ends: Whether the last frame is known, too.
    """

    fields: tuple[str, ...]
    space: tuple[str, ...]
    given: Mapping[str, tuple[str, ...]]
    coordinates: Mapping[str, tuple[float, ...]]
    units: Mapping[str, str]
    periodic: tuple[str, ...] = ()
    equation: str | None = None
    driven: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ends: bool = False

    @classmethod
    def of(
        cls,
        data: xr.Dataset,
        fields: Sequence[str] | None = None,
        given: Sequence[str] | None = None,
        periodic: Sequence[str] | None = None,
        generate: Sequence[str] | None = None,
        path: object = "data",
    ) -> Layout:
        """Find the layout of a dataset.

        Args:
            data: Trajectories, with a dimension ``sample`` or without.
            fields: Names of the fields; None for those of the equation, else all that vary in time and space.
            given: Names of what is given beside the first frame, ``end`` for the last one; None for that of the
                equation, else nothing.
            periodic: Periodic dimensions; None asks the equation.
            generate: Names of all that is generated, what drives the fields included; None for the fields alone.
            path: What the messages call the dataset.

        Raises:
            SciflowError: A variable or a dimension is missing, or a coordinate is irregular or no number.
        """
        names = [str(n) for n in data.data_vars]
        equation = equation_of(data, path) if "equation" in data.attrs else None
        if fields is None:
            fields = list(equation.fields) if equation else _moving(data)
        driven = [n for n in generate or () if n not in fields]
        lost = [n for n in fields if generate is not None and n not in generate]
        if lost:
            raise expected(
                "generate", list(generate or ()), f"{lost[0]} and all other fields in it"
            )
        if given is None:
            known = equation.given if equation else ()
            given = [n for n in known if n.removesuffix("0") not in fields and n not in driven]
        ends, given = END in given, [n for n in given if n != END]
        for name in (*fields, *driven, *given):
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
        every = {
            n: tuple(d.removesuffix(_SOLVER) for d in _dims(data[n])) for n in (*given, *driven)
        }
        shapes = {n: every[n] for n in given}
        used = dict.fromkeys((TIME, *space, *(d for s in every.values() for d in s)))
        coordinates = {d: _coordinate(data, d) for d in used}
        units = {n: str(data[n].attrs.get("units", "1")) for n in (*fields, *every)}
        text = json.dumps(equation.config()) if equation else None
        moved = {n: every[n] for n in driven}
        layout = cls(
            tuple(fields), space, shapes, coordinates, units, tuple(periodic), text, moved, ends
        )
        for name in given:
            layout.axes(name)
        for name in driven:
            if layout.axes(name) != (TIME, *space):
                raise expected(
                    f"dimensions of {name}, which is generated", every[name], f"time and {space}"
                )
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
    def made(self) -> tuple[str, ...]:
        """Names of all that is generated: the fields, then what drives them."""
        return (*self.fields, *self.driven)

    @property
    def refines(self) -> bool:
        """Whether the next coarser trajectory of every field is given."""
        return all(name + COARSE in self.given for name in self.fields)

    @property
    def known(self) -> tuple[str, ...]:
        """Names of all that is known: the start, the end where it is, then what is given, by name."""
        return (START, *((END,) if self.ends else ()), *sorted(self.given))

    def axes(self, name: str) -> tuple[str, ...]:
        """Axes of the box that a known variable stands on: ``interval`` is ``time``."""
        if name in _MARKS:
            return self.space
        found = []
        for dim in self.driven[name] if name in self.driven else self.given[name]:
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
            ``fields`` ``[B, made, frames, *space]``, ``start`` and ``end`` ``[B, fields, *space]``, and each given
            variable ``[B, *axes]``.

        Raises:
            SciflowError: A variable is missing, has other dimensions, units or coordinates, or is not finite.
        """
        found = {START: self._frame(data, START, path, whole)}
        if self.ends:
            found[END] = self._frame(data, END, path, True)
        if whole:
            for name in self.fields:
                if name not in data.data_vars or TIME not in data[name].dims:
                    raise expected(f"{path}: dimensions of {name}", self.space, f"{TIME} too")
            boxes = [self._values(data, n, (TIME, *self.space), path)[:, 1:] for n in self.fields]
            for name, dims in self.driven.items():
                value = self._values(data, name, dims, path)
                boxes.append(value[:, 1:] if TIME in dims else value)
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
        """Return what is known from what the law of the equation draws, as `read` does; an end is solved for."""
        found = {}
        law = self.law()
        if self.ends and law is not None:
            solved = law.solve(values)
            found[END] = torch.stack([solved[n][:, -1].float() for n in self.fields], dim=1)
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
        count = len(self.fields)
        moving, drive = values["fields"][:, :count], values["fields"][:, count:]
        box = torch.cat((values[START].unsqueeze(2), moving), dim=2).cpu().numpy()
        for k, name in enumerate(self.fields):
            arrays[name] = ((TIME, *self.space), box[:, k])
            if self.ends:
                arrays[f"{name}T"] = (self.space, values[END][:, k].cpu().numpy())
        beside = {name: drive[:, k] for k, name in enumerate(self.driven)}
        for name, dims in {**self.driven, **self.given}.items():
            value = beside[name] if name in beside else values[name]
            value = _with_start(value) if TIME in dims else value
            arrays[name] = (dims, value.cpu().numpy())
        used = {d for dims, _ in arrays.values() for d in dims}
        coords = {d: np.asarray(v) for d, v in self.coordinates.items() if d in used}
        attrs = {} if self.equation is None else {"equation": self.equation}
        found = []
        for b in range(len(box)):
            parts = {n: (d, a[b], {"units": self._unit(n)}) for n, (d, a) in arrays.items()}
            found.append(files.described(xr.Dataset(parts, coords, attrs)))
        return found

    def asked(self, values: Mapping[str, Tensor]) -> xr.Dataset:
        """Return start and given variables as a dataset along ``sample``, as `read` takes it."""
        starts = zip(self.fields, values[START].unbind(1), strict=True)
        arrays = {f"{n}0": ((SAMPLE, *self.space), start) for n, start in starts}
        for name, dims in self.given.items():
            value = _with_start(values[name]) if TIME in dims else values[name]
            arrays[name] = ((SAMPLE, *dims), value)
        coords = {d: list(v) for d, v in self.coordinates.items()}
        parts = {n: (dims, v.cpu().numpy()) for n, (dims, v) in arrays.items()}
        return xr.Dataset(parts, coords)

    def on(self, lengths: Mapping[str, int]) -> Layout:
        """The layout on another grid of the same box.

        Args:
            lengths: Frames and cells by the names of the axes; others stay.
        """
        frames = lengths.get(TIME, self.frames)
        coordinates = {}
        for dim, values in self.coordinates.items():
            count = lengths.get(dim, len(values)) if dim in self.space else frames
            if dim == TIME:
                found = np.linspace(values[0], values[-1], count + 1)
            elif count == len(values):
                found = np.asarray(values)
            else:  # centres of cells
                half = (values[-1] - values[0]) / max(1, len(values) - 1) / 2
                width = (values[-1] - values[0] + 2 * half) / count
                found = values[0] - half + width * (np.arange(count) + 0.5)
            coordinates[dim] = tuple(map(float, found))
        text = self.equation
        if text is not None:
            config = json.loads(text)
            points = lengths.get(self.space[0], len(self.coordinates[self.space[0]]))
            if len(self.space) == 1 and {"points", "frames", "resolution"} <= set(config):
                fine = -(-int(config["resolution"]) // points) * points
                config |= {"points": points, "frames": frames, "resolution": fine}
                text = json.dumps(config)
            elif any(len(coordinates[d]) != len(v) for d, v in self.coordinates.items()):
                text = None
        return replace(self, coordinates=coordinates, equation=text)

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
            "driven": {n: tuple(d) for n, d in config.get("driven", {}).items()},
        }
        return cls(**plain)

    # -- inside --------------------------------------------------------------------------------------------------

    def _unit(self, name: str) -> str:
        """Unit of a variable, or of the field of which it is a frame."""
        return self.units.get(name) or self.units.get(name[:-1], "1")

    def _frame(self, data: xr.Dataset, kind: str, path: object, strict: bool) -> Tensor:
        """First or last frame ``[B, fields, *space]``; the coordinate of time counts where `strict`."""
        frames, mark = [], _MARKS[kind]
        for name in self.fields:
            alone = f"{name}{mark}"
            if kind == END and alone in data.data_vars:
                frames.append(self._values(data, alone, self.space, path))
            elif name in data.data_vars and TIME in data[name].dims:
                box = self._values(data, name, (TIME, *self.space), path, strict)
                frames.append(box[:, 0 if kind == START else -1])
            elif name in data.data_vars and kind == START:
                frames.append(self._values(data, name, self.space, path))
            elif alone in data.data_vars:
                frames.append(self._values(data, alone, self.space, path))
            else:
                what = "initial state" if kind == START else "target, the state at the end,"
                raise expected(
                    f"{path}: variables", sorted(map(str, data.data_vars)), f"{name} or {alone}",
                    f"add {alone}, the {what} on ({', '.join(self.space)})",
                )  # fmt: skip
        return torch.stack(frames, dim=1)

    def _values(
        self, data: xr.Dataset, name: str, dims: Sequence[str], path: object, strict: bool = True
    ) -> Tensor:
        if name not in data.data_vars:
            raise expected(f"{path}: variables", list(data.data_vars), name, f"add {name}")
        array = files.load(data, (name,), str(path))[name]
        files.check_units(array, self._unit(name))
        if SAMPLE not in array.dims:
            array = array.expand_dims(SAMPLE)
        array = array.rename({d + _SOLVER: d for d in dims if d + _SOLVER in array.dims})
        array = files.check_dims(array, (SAMPLE, *dims))
        if not strict:  # the first frame alone is asked for, of any even times
            if array.sizes[TIME] == len(self.coordinates[TIME]):
                files.check_grid(data, TIME, self.coordinates[TIME], str(path))
            elif TIME in data.coords:
                files.check_coordinate(data, TIME)
            array = array.isel({TIME: slice(0, 1)})
        files.check_finite(array)
        value = torch.from_numpy(np.ascontiguousarray(array.values)).float()
        for k, dim in enumerate(dims, 1):
            if dim != TIME or strict:
                value = self._on_grid(value, k, dim, data, name, path)
        return value

    def _on_grid(
        self, value: Tensor, k: int, dim: str, data: xr.Dataset, name: str, path: object
    ) -> Tensor:
        """Values on the grid of the layout: of finer cells of space, means are taken."""
        wanted, got = self.coordinates[dim], value.shape[k]
        if got != len(wanted) and (dim not in self.space or got % len(wanted)):
            remedy = f"interpolate to {len(wanted)} points, {wanted[0]:g} to {wanted[-1]:g}"
            raise expected(f"{path}: length of {dim} in {name}", got, str(len(wanted)), remedy)
        if dim in data[name].dims:  # and not on the solver's grid, which has no coordinate
            files.check_grid(data, dim, wanted, path)
        return value if got == len(wanted) else value.unflatten(k, (len(wanted), -1)).mean(k + 1)


def _with_start(values: Tensor) -> Tensor:
    """Nothing is known of the moment of the start: it counts as the first after it."""
    return torch.cat((values[:, :1], values), dim=1)


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


__all__ = ["COARSE", "END", "START", "TIME", "Layout"]
