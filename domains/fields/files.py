"""Fields in and out of files: netCDF and Zarr through xarray, with CF attributes and named dimensions.

    suffix      reads                                         writes
    .nc .nc4    netCDF, any flavour                           netCDF-4, compressed, one unlimited dimension
    .zarr       Zarr stores, where zarr is installed          the same
    .h5 .hdf5   files of PDEBench and of The Well             nothing

Reading is lazy: what does not fit in memory is read piece by piece, with `chunks` through dask where it is installed.
The checks of this file name the variable, what was got, and the remedy; `lat`, `lon` and the like become `latitude`
and `longitude`, as in WeatherBench 2.

Reference: CF conventions 1.11, chapters 3 and 4.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciflow.errors import SciflowError, expected, need, unknown

from . import hdf5

SUFFIXES = (".nc", ".nc4", ".zarr")
"""File types that are read and written."""

_ALIASES = {"lat": "latitude", "lon": "longitude", "t": "time", "valid_time": "time"}
_CF: dict[str, dict[str, str]] = {
    "latitude": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
    "time": {"standard_name": "time", "axis": "T"},
    "x": {"axis": "X"},
    "y": {"axis": "Y"},
}


def suffix_of(path: str | Path, known: Sequence[str] = SUFFIXES) -> str:
    """Return the suffix of a file of fields.

    Raises:
        SciflowError: It is none of those known.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise unknown(f"{path}: file type", suffix, known)
    if suffix == ".zarr":
        need("zarr", "zarr")
    return suffix


def read(path: str | Path, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """Open a file of fields, lazily, with the names of its dimensions made uniform.

    Args:
        path: A file or store ending in one of `SUFFIXES`, or an HDF5 file of `hdf5`.
        chunks: Sizes of the pieces by dimension, for dask; None reads through xarray's own lazy arrays.

    Raises:
        SciflowError: The file is missing, truncated, of another kind or without variables.
    """
    path = Path(path)
    suffix = suffix_of(path, (*SUFFIXES, *hdf5.SUFFIXES))
    if suffix in hdf5.SUFFIXES:
        return hdf5.opened(path)
    if not path.exists():
        raise SciflowError(f"{path}: got no such file, expected a file of fields; check the name")
    if chunks is not None and importlib.util.find_spec("dask") is None:
        raise SciflowError(
            "chunks: got no library 'dask', expected it to be installed; do: pip install dask"
        )
    try:
        if suffix == ".zarr":
            data = xr.open_zarr(path, chunks=dict(chunks) if chunks is not None else None)
        else:
            data = xr.open_dataset(path, chunks=dict(chunks) if chunks is not None else None)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise SciflowError(
            f"{path}: cannot be read ({why(error)}), expected a whole {suffix} file; it may be truncated or of "
            "another kind: fetch it again, or look at it with ncdump -h"
        ) from error
    if not data.data_vars:
        raise SciflowError(f"{path}: got no variables, expected at least one field")
    return data.rename(
        {old: new for old, new in _ALIASES.items() if old in data.dims and new not in data}
    )


def load(data: xr.Dataset, names: Sequence[str], path: str | Path = "data") -> xr.Dataset:
    """Read variables into memory.

    Raises:
        SciflowError: One is missing or cannot be read: the message names it.
    """
    found = {}
    for name in names:
        if name not in data.data_vars:
            raise unknown(f"{path}: variable", name, [str(n) for n in data.data_vars])
        try:
            found[name] = data[name].load()
        except (OSError, RuntimeError, ValueError) as error:
            raise SciflowError(
                f"{path}: variable {name} cannot be read ({why(error)}), expected a whole file; fetch it again"
            ) from error
    return xr.Dataset(found, attrs=data.attrs)


# -- checks -----------------------------------------------------------------------------------------------------------


def check_dims(data: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """Return a variable with its dimensions in order.

    Raises:
        SciflowError: They are others.
    """
    if set(data.dims) != set(dims):
        raise expected(
            f"dimensions of {data.name}",
            tuple(map(str, data.dims)),
            f"({', '.join(dims)})",
            "rename or select them with xarray",
        )
    return data.transpose(*dims)


def check_units(data: xr.DataArray, units: str) -> None:
    """Hold a variable to its unit; one without a unit passes.

    Raises:
        SciflowError: It states another one.
    """
    got = str(data.attrs.get("units", ""))
    if got and _plain(got) != _plain(units):
        raise expected(
            f"units of {data.name}", got, repr(units), "convert the values and set the attribute"
        )


def check_coordinate(
    data: xr.Dataset | xr.DataArray, name: str, regular: bool = True
) -> np.ndarray:
    """Return a coordinate that is there, finite, monotonic and, if asked, evenly spaced (months too).

    Raises:
        SciflowError: It is not.
    """
    if name not in data.coords:
        raise expected(
            "coordinates", sorted(map(str, data.coords)), f"one named {name!r}", f"assign {name}"
        )
    values = data[name].values
    bad = np.isnat(values) if np.issubdtype(values.dtype, np.datetime64) else ~np.isfinite(values)
    if bad.any():
        raise SciflowError(
            f"coordinate {name}: got {int(bad.sum())} missing values, the first at position {int(bad.argmax())}, "
            "expected numbers; drop those positions or repair the coordinate"
        )
    steps = np.diff(values)
    if not len(steps):
        return values
    zero = steps.dtype.type(0)
    if not ((steps > zero).all() or (steps < zero).all()):
        raise SciflowError(
            f"coordinate {name}: got values out of order, expected monotonic; sort by {name}"
        )
    if regular and not _calendar_months(values):
        size = (
            np.abs(steps.astype("timedelta64[ns]").astype(float))
            if steps.dtype.kind == "m"
            else np.abs(steps)
        )
        usual = float(np.sort(size)[(len(size) - 1) // 2])  # one that is there
        wrong = np.abs(size - usual) > 1e-3 * usual
        if wrong.any():
            k = int(wrong.argmax())
            raise SciflowError(
                f"coordinate {name}: got the step {_shown(steps[k])} between positions {k} and {k + 1}, expected "
                f"{_shown(steps[int((~wrong).argmax())])} everywhere; interpolate to even steps or fill the gap"
            )
    return values


def check_grid(
    data: xr.Dataset, name: str, wanted: Sequence[float], path: object = "data"
) -> None:
    """Hold a coordinate to the values that are wanted; that of finer cells to their means.

    It may be missing where positions are what is wanted.

    Raises:
        SciflowError: It is missing, irregular, or another one.
    """
    centres = np.asarray(wanted)
    if name not in data.coords and np.array_equal(centres, np.arange(len(centres))):
        return
    got = check_coordinate(data, name)
    if got.dtype.kind in "fiu":
        means = got.reshape(len(centres), -1).mean(1)
        step = abs(centres[-1] - centres[0]) / max(1, len(centres) - 1) or 1.0
        if np.abs(means - centres).max() <= 1e-3 * step:
            return
    shown = [f"{v:g}" if got.dtype.kind in "fiu" else str(v) for v in (got[0], got[-1])]
    raise SciflowError(
        f"{path}: coordinate {name}: got {shown[0]} to {shown[1]}, expected {centres[0]:g} to {centres[-1]:g} in "
        f"{len(centres)} even steps; convert its units, or interpolate to it"
    )


def _calendar_months(values: np.ndarray) -> bool:
    """True where times stand at the same day of evenly spaced months."""
    if values.dtype.kind != "M":
        return False
    months = values.astype("datetime64[M]")
    within = values - months
    return len(set(np.diff(months.astype(int)))) == 1 and bool((within == within[0]).all())


def check_finite(data: xr.DataArray) -> None:
    """Hold a variable to numbers.

    Raises:
        SciflowError: Some are missing.
    """
    bad = ~np.isfinite(data.values)
    if bad.any():
        where = dict(zip(map(str, data.dims), map(int, np.argwhere(bad)[0]), strict=True))
        raise SciflowError(
            f"variable {data.name}: got {int(bad.sum())} values that are missing or not finite, the first at {where}, "
            "expected numbers; fill or mask them"
        )


# -- writing ----------------------------------------------------------------------------------------------------------


def described(data: xr.Dataset) -> xr.Dataset:
    """Return a dataset with the CF attributes that its names imply."""
    data = data.assign_attrs({"Conventions": "CF-1.11", **data.attrs})
    for name, attributes in _CF.items():
        if name in data.coords:
            kept = dict(data[name].attrs)
            wanted = {k: v for k, v in attributes.items() if k not in kept}
            data[name].attrs.update(wanted)
    return data


def write(data: xr.Dataset, path: str | Path) -> None:
    """Write a dataset in one move: the file is there whole, or as it was.

    Raises:
        SciflowError: The suffix is unknown or the path cannot be written.
    """
    path = Path(path)
    suffix = suffix_of(path)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".zarr":
            described(data).to_zarr(part, mode="w", zarr_format=2)
            if path.is_dir():
                shutil.rmtree(path)
        else:
            described(data).to_netcdf(part, engine="netcdf4", encoding=encoding(data))
        os.replace(part, path)
    except OSError as error:
        raise SciflowError(
            f"{path}: cannot be written ({why(error)}), expected a writable file; name another"
        ) from error
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def encoding(data: xr.Dataset) -> dict[str, dict[str, Any]]:
    """How variables of numbers are packed in netCDF."""
    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    return {
        str(n): dict(packed) for n, v in data.data_vars.items() if v.ndim and v.dtype.kind == "f"
    }


def _plain(units: str) -> str:
    """Spell a unit one way: ``m**2 s**-2`` and ``m^2/s^2`` are ``m2s-2``."""
    text = units.replace("**", "").replace("^", "").replace("·", " ")
    first, *below = text.split("/")
    for part in below:
        letters = part.strip().rstrip("0123456789")
        first += f"{letters}-{part.strip()[len(letters) :] or 1}"
    return first.replace(" ", "").lower()


def _shown(step: Any) -> str:
    if isinstance(step, np.timedelta64):
        return f"{step / np.timedelta64(1, 'h'):g} h"
    return f"{float(step):g}"


def why(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]
