"""Records of the atmosphere: fields on a regular latitude-longitude grid at regular times, and their split by date.

Two public data sets are known by name; their files are not part of the package. Put them into the folder named by the
environment variable SCIFLOW_DATA (or its subfolder ``fields``):

* eraint: ERA-Interim, daily at 12 UTC, 30-60N 20W-14.5E, 1.5 degrees: mean sea-level pressure, geopotential at 500 hPa,
  temperature at 850 hPa. Train 2000-2007, validate 2008, test 2009-2010. Copernicus licence.
* era5_t2m: ERA5 2 m temperature, hourly, March 2019, 50-58N 10W-2E, 0.25 degrees. Test: the last week. Copernicus
  licence.

``eraint:train`` names a part, ``erainterim:2000-2007`` some years. Any other file with the dimensions time, latitude,
longitude is read by its path; with a dimension level too, as in WeatherBench 2, a variable is asked for as
``geopotential@500``.

Reference: Dee et al., The ERA-Interim reanalysis, Q. J. R. Meteorol. Soc. 137 (2011); Hersbach et al., The ERA5 global
reanalysis, Q. J. R. Meteorol. Soc. 146 (2020).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown
from sciflow.runtime import downloads

from . import files
from .metrics import latitude_weights

DIMS = ("time", "latitude", "longitude")


@dataclass(frozen=True)
class Source:
    """Where a data set lies and how it is split.

    Args:
        files: Accepted file names.
        units: Unit of each variable; its order is that of the channels.
        split: First and last date of each part, both included.
        url: Where the original comes from.
    """

    files: tuple[str, ...]
    units: dict[str, str]
    split: dict[str, tuple[str, str]]
    url: str


SOURCES = {
    "eraint": Source(
        ("eraint_msl_z500_t850_daily_2000-2010.nc",),
        {"msl": "Pa", "z500": "m2 s-2", "t850": "K"},
        {
            "train": ("2000-01-01", "2007-12-31"),
            "validate": ("2008-01-01", "2008-12-31"),
            "test": ("2009-01-01", "2010-12-31"),
        },
        "https://apps.ecmwf.int/datasets/data/interim-full-daily",
    ),
    "era5_t2m": Source(
        ("era5_t2m_uk_hourly_2019-03.nc",),
        {"t2m": "K"},
        {
            "train": ("2019-03-01", "2019-03-21"),
            "validate": ("2019-03-22", "2019-03-24"),
            "test": ("2019-03-25", "2019-03-31"),
        },
        "https://cds.climate.copernicus.eu/datasets/reanalysis-era5-single-levels",
    ),
}


@dataclass(frozen=True)
class Record:
    """Fields at regular times.

    Args:
        values: ``[time, variable, latitude, longitude]``, 0 where the mask is False.
        variables: Names.
        units: Their units.
        time: Times, ``datetime64[ns] [time]``.
        latitude: Degrees north ``[latitude]``.
        longitude: Degrees east ``[longitude]``.
        mask: Where every variable has a value at all times, bool ``[latitude, longitude]``.
    """

    values: Tensor
    variables: tuple[str, ...]
    units: tuple[str, ...]
    time: np.ndarray
    latitude: Tensor
    longitude: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.time)

    @property
    def step(self) -> float:
        """Hours between two times."""
        if len(self) < 2:
            raise expected("times of a record", len(self), "two or more, to know the step")
        return float((self.time[1] - self.time[0]) / np.timedelta64(1, "h"))

    @property
    def weight(self) -> Tensor:
        """Areas, 0 where the mask is False: ``[latitude, longitude]``."""
        return latitude_weights(self.latitude)[:, None] * self.mask

    def during(self, first: str, last: str) -> Record:
        """The times from one date to another, both included.

        Raises:
            SciflowError: There are none, or one is no date.
        """
        try:
            begin, after = np.datetime64(first), np.datetime64(last, "D") + np.timedelta64(1, "D")
        except ValueError as error:
            raise expected("dates", f"{first} to {last}", "dates such as 2009-01-31") from error
        chosen = (self.time >= begin) & (self.time < after)
        if not chosen.any():
            shown = f"{self.time[0]:.10} to {self.time[-1]:.10}" if len(self) else "nothing"
            raise expected("dates", f"{first} to {last}", f"some of {shown}")
        return replace(self, values=self.values[torch.from_numpy(chosen)], time=self.time[chosen])

    def pairs(self, lead: int, history: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the starts and of the times `lead` steps later.

        Args:
            lead: Steps ahead.
            history: Times known at the start: no start stands before position ``history - 1``.

        Raises:
            SciflowError: The record is too short.
        """
        starts = np.arange(history - 1, len(self) - lead)
        if lead < 0 or history < 1 or not len(starts):
            raise expected(
                "lead and history", (lead, history), f"a lead of 0 to {len(self) - history} steps"
            )
        return starts, starts + lead

    def to_xarray(self) -> xr.Dataset:
        """Return the record as a dataset with CF attributes; masked cells are NaN."""
        values = self.values.masked_fill(~self.mask, torch.nan).numpy()
        coords = {
            "time": self.time,
            "latitude": self.latitude.numpy(),
            "longitude": self.longitude.numpy(),
        }
        arrays = {
            name: (DIMS, values[:, k], {"units": self.units[k]})
            for k, name in enumerate(self.variables)
        }
        return files.described(xr.Dataset(arrays, coords))


_ALSO = {"erainterim": "eraint", "era5": "era5_t2m"}
_YEARS = re.compile(r"(\d{4})(?:-(\d{4}))?")


def is_name(text: str) -> bool:
    """True for ``eraint``, ``eraint:train``, ``erainterim:2000-2007`` and the like."""
    kind = text.partition(":")[0]
    return kind in SOURCES or kind in _ALSO


def record(name: str) -> Record:
    """Return a known data set, or a part of it.

    Args:
        name: ``<set>``, ``<set>:<train|validate|test>``, ``<set>:<first year>-<last year>`` or ``<set>:<year>``.

    Raises:
        SciflowError: The name is unknown, the file is missing, or its content is not what it should be.
    """
    kind, _, part = name.partition(":")
    kind = _ALSO.get(kind, kind)
    if kind not in SOURCES:
        raise unknown("data set", kind, SOURCES)
    source = SOURCES[kind]
    years = _YEARS.fullmatch(part)
    if part and not years and part not in source.split:
        raise unknown(f"split of {kind}", part, source.split)
    path = downloads.find(source.files, "fields", page=source.url)
    whole = from_xarray(files.read(path), tuple(source.units), source.units, path)
    if years:
        return whole.during(f"{years[1]}-01-01", f"{years[2] or years[1]}-12-31")
    return whole.during(*source.split[part]) if part else whole


def read(path: str | Path, variables: Sequence[str] | None = None) -> Record:
    """Return the record in a file.

    Args:
        path: A netCDF or Zarr file.
        variables: Names; None for all that have the dimensions time, latitude, longitude.

    Raises:
        SciflowError: The file or one of its variables or coordinates is not what it should be.
    """
    data = files.read(path)
    if variables is None:
        variables = [str(n) for n, v in data.data_vars.items() if set(v.dims) == set(DIMS)]
        if not variables:
            shown = {str(n): tuple(map(str, v.dims)) for n, v in data.data_vars.items()}
            raise expected(f"{path}: variables", shown, f"one with the dimensions {DIMS}")
    return from_xarray(data, variables, {}, path)


def from_xarray(
    data: xr.Dataset,
    variables: Sequence[str],
    units: dict[str, str] | None = None,
    path: str | Path = "data",
) -> Record:
    """Return variables of a dataset as a record.

    Args:
        data: Dimensions time, latitude, longitude; NaN at the same places at all times is a mask.
        variables: Names.
        units: Units that variables must have.
        path: What the messages call it.

    Raises:
        SciflowError: A coordinate, a dimension, a unit or a value is not what it should be: the message names it.
    """
    loaded = files.load(_levels(data, variables, path), variables, path)
    arrays = []
    for name in variables:
        array = files.check_dims(loaded[name], DIMS)
        if units and name in units:
            files.check_units(array, units[name])
        arrays.append(array)
    coords = {dim: files.check_coordinate(loaded, dim) for dim in DIMS}
    if coords["time"].dtype.kind != "M":
        raise expected(
            f"{path}: coordinate time",
            str(coords["time"].dtype),
            "dates of the standard calendar",
            "set its units to 'hours since ...' and its calendar, as the CF conventions have it",
        )
    values = np.stack([array.values for array in arrays], axis=1).astype(np.float32, copy=False)
    there = np.isfinite(values)
    for k, name in enumerate(variables):
        holed = there[:, k].any(axis=0) & ~there[:, k].all(axis=0)
        if holed.any():
            gaps = int((~there[:, k][:, holed]).any(axis=1).sum())
            raise SciflowError(
                f"{path}: variable {name} has values that are missing at {gaps} of {len(values)} times only, expected "
                "the same mask at all times; fill them or drop those times"
            )
    mask = there.all(axis=(0, 1))
    shown_units = tuple(
        str(a.attrs.get("units", (units or {}).get(str(a.name), "1"))) for a in arrays
    )
    return Record(
        torch.from_numpy(np.where(mask, values, 0)),
        tuple(variables),
        shown_units,
        coords["time"].astype("datetime64[ns]"),
        torch.tensor(np.asarray(coords["latitude"], dtype=np.float32)),
        torch.tensor(np.asarray(coords["longitude"], dtype=np.float32)),
        torch.from_numpy(mask),
    )


def _levels(data: xr.Dataset, variables: Sequence[str], path: str | Path) -> xr.Dataset:
    """Cut the levels that are asked for out of variables with a dimension level."""
    for name in variables:
        whole, mark, level = name.partition("@")
        if not mark:
            continue
        if whole not in data.data_vars or "level" not in data[whole].dims:
            has = [str(n) for n, v in data.data_vars.items() if "level" in v.dims]
            raise unknown(f"{path}: variable with levels", whole, has)
        levels = data["level"].values.tolist()
        if not level.isdigit() or int(level) not in levels:
            raise expected(f"{path}: level of {whole}", level, f"one of {levels}")
        data = data.assign({name: data[whole].sel(level=int(level)).drop_vars("level")})
    return data


def forecasts(
    record: Record, values: Tensor, starts: np.ndarray, leads: Sequence[int]
) -> xr.Dataset:
    """Return forecasts as a dataset by the conventions of WeatherBench 2.

    Args:
        record: Variables, units and grid.
        values: ``[starts, leads, members, variable, latitude, longitude]``.
        starts: Times at which they start, ``datetime64 [starts]``.
        leads: Steps of the record ahead, ``[leads]``.

    Raises:
        SciflowError: The shape does not fit.
    """
    grid = (len(record.latitude), len(record.longitude))
    wanted = (len(starts), len(leads), values.shape[2], len(record.variables), *grid)
    if tuple(values.shape) != wanted:
        names = "starts, leads, members, variable, latitude, longitude"
        raise expected("forecasts", list(values.shape), f"{list(wanted)} ({names})")
    step = record.time[1] - record.time[0]
    filled = values.masked_fill(~record.mask.to(values.device), torch.nan).cpu().numpy()
    dims = ("time", "prediction_timedelta", "number", "latitude", "longitude")
    arrays = {
        name: (dims, filled[:, :, :, k], {"units": record.units[k]})
        for k, name in enumerate(record.variables)
    }
    coords = {
        "time": starts,
        "prediction_timedelta": np.asarray(leads) * step,
        "number": ("number", np.arange(values.shape[2]), {"standard_name": "realization"}),
        "latitude": record.latitude.numpy(),
        "longitude": record.longitude.numpy(),
    }
    return files.described(xr.Dataset(arrays, coords))
