"""Trajectories of equations as datasets: named dimensions, coordinates, units, and the equation that made them.

A dataset of trajectories has the dimension ``sample`` before those of each variable. What is given on the solver's grid
rather than on the saved one stands on dimensions named ``<dim>_solver``. The equation travels in the attribute
``equation`` as JSON, so that a file is enough to simulate again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown

from . import files
from .physics import EQUATIONS, Equation

SAMPLE = "sample"
_SOLVER = "_solver"
_SPACE = ("x", "y", "z")


def to_xarray(equation: Equation, values: Mapping[str, Tensor], start: int = 0) -> xr.Dataset:
    """Return what was given and what followed as a dataset.

    Args:
        equation: The equation.
        values: ``[B, ...]`` by the names of its `given` and `fields`; others are refused.
        start: Number of the first sample.

    Raises:
        SciflowError: A name is none of the equation's, or a shape fits no dimension.
    """
    known = equation.given | equation.fields
    coordinates = equation.coordinates()
    coords = {name: value.numpy() for name, value in coordinates.items()}
    arrays = {}
    count = 0
    for name, value in values.items():
        if name not in known:
            raise unknown(f"{equation.name}: variable", name, known)
        if value.dim() != 1 + len(known[name].dims):
            wanted = ", ".join(("B", *known[name].dims))
            raise expected(f"{equation.name}: {name}", list(value.shape), f"[{wanted}]")
        dims: list[str] = []
        for dim, size in zip(known[name].dims, value.shape[1:], strict=True):
            fits = size == len(coordinates[dim])
            dims.append(dim if fits else dim + _SOLVER)
            if not fits and dim not in _SPACE:
                raise expected(
                    f"{equation.name}: length of {dim} in {name}", size, str(len(coordinates[dim]))
                )
        attributes = {"long_name": known[name].long_name, "units": known[name].units}
        arrays[name] = ((SAMPLE, *dims), value.detach().cpu().numpy(), attributes)
        count = len(value)
    coords[SAMPLE] = np.arange(start, start + count)
    used = {dim for dims, _, _ in arrays.values() for dim in dims}
    coords = {name: value for name, value in coords.items() if name in used}
    data = xr.Dataset(arrays, coords, {"equation": json.dumps(equation.config())})
    return files.described(data)


def equation_of(data: xr.Dataset, path: object = "data") -> Equation:
    """Return the equation that a dataset names.

    Raises:
        SciflowError: It names none, or one that is not known.
    """
    text = data.attrs.get("equation")
    if text is None:
        raise expected(
            f"{path}: attributes",
            sorted(map(str, data.attrs)),
            "one named 'equation'",
            "name the equation",
        )
    try:
        config = json.loads(text)
        name = config.pop("equation")
        if name not in EQUATIONS:
            raise unknown("equation", name, EQUATIONS)
        return EQUATIONS[name](**config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, SciflowError):
            raise
        raise SciflowError(
            f"{path}: attribute equation cannot be read ({error}), expected JSON with the fields of an equation"
        ) from error


def from_xarray(
    data: xr.Dataset,
    equation: Equation,
    names: tuple[str, ...] | None = None,
    path: object = "data",
) -> dict[str, Tensor]:
    """Return variables of a dataset as tensors ``[B, ...]`` for an equation.

    Args:
        data: Variables with the dimensions of the equation, with ``sample`` or without (one sample then).
        equation: Whose dimensions and coordinates they must have.
        names: Which; None for all that is given.
        path: What the messages call it.

    Raises:
        SciflowError: A variable is missing, has other dimensions, units or values that are not finite, or its
            coordinates are not those of the equation.
    """
    known = equation.given | equation.fields
    names = tuple(equation.given) if names is None else names
    missing = [name for name in names if name not in data.data_vars]
    if missing:
        has = sorted(map(str, data.data_vars))
        raise expected(f"{path}: variables", has, ", ".join(names), f"add {', '.join(missing)}")
    out = {}
    for name, array in files.load(data, names, str(path)).data_vars.items():
        variable = known[str(name)]
        files.check_units(array, variable.units)
        if SAMPLE not in array.dims:
            array = array.expand_dims(SAMPLE)
        fine = [d if d in array.dims else d + _SOLVER for d in variable.dims]
        array = files.check_dims(
            array, (SAMPLE, *(fine if set(fine) <= set(array.dims) else variable.dims))
        )
        for dim in variable.dims:
            if dim in array.dims:
                _check_grid(data, array, dim, equation, path)
        files.check_finite(array)
        out[str(name)] = torch.from_numpy(np.ascontiguousarray(array.values))
    counts = {name: len(value) for name, value in out.items()}
    if len(set(counts.values())) > 1:
        raise expected(f"{path}: samples", counts, "the same number in every variable")
    return out


def _check_grid(
    data: xr.Dataset, array: xr.DataArray, dim: str, equation: Equation, path: object
) -> None:
    wanted = equation.coordinates()[dim].tolist()
    if array.sizes[dim] != len(wanted):
        raise expected(
            f"{path}: length of {dim} in {array.name}", array.sizes[dim], str(len(wanted)),
            f"interpolate to it, or make the equation for another grid (now {len(wanted)} points)",
        )  # fmt: skip
    files.check_grid(data, dim, wanted, str(path))
