"""Files that grow along one dimension: whatever ends the process, what was appended can be read.

netCDF-4 is changed in place by its library, which a kill in the middle may leave unreadable: so more is written to a
copy, which then takes the place of the file in one move. From `_COPIED` bytes on, where copies would be slow, it grows
in place, open only while more is written. Of a Zarr store, the consolidated metadata is what readers follow, and it is
written last.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciflow.errors import SciflowError, expected

from .files import described, encoding, read, suffix_of, why

_COPIED = 2**28


class Growing:
    """A file that grows along one dimension; what was appended stays, whatever happens after.

    Opening asks whether the file may be written; one already there is replaced by the first batch, not sooner.

    Args:
        path: A file ending in one of `files.SUFFIXES`.
        along: The dimension that grows, e.g. ``"sample"``.

    Raises:
        SciflowError: The suffix is unknown or the path cannot be written.
    """

    def __init__(self, path: str | Path, along: str = "sample") -> None:
        self.path, self.along = Path(path), along
        self.count = 0
        self._zarr = suffix_of(path) == ".zarr"
        self._part = self.path.with_name(f".{self.path.name}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            raise SciflowError(
                f"{self.path}: cannot be written, expected a writable file; name another"
            )

    def append(self, data: xr.Dataset) -> None:
        """Write more along the growing dimension; on disk when this returns.

        Raises:
            SciflowError: The dimension or a variable is missing, or the disk refuses.
        """
        if self.along not in data.dims:
            raise expected("dimensions", tuple(map(str, data.dims)), f"one named {self.along!r}")
        try:
            if not self.count:
                self._begin(data)
            elif self._zarr:
                grown = data.drop_vars(
                    [n for n in data.variables if self.along not in data[n].dims]
                )
                grown.to_zarr(self.path, append_dim=self.along)
            elif self.path.stat().st_size < _COPIED:
                shutil.copyfile(self.path, self._part)
                self._extend(self._part, data)
                self._replace()
            else:
                self._extend(self.path, data)
        except OSError as error:
            raise self._refused(error) from error
        self.count += data.sizes[self.along]

    def go_on(self, count: int) -> None:
        """Keep the first `count` along the growing dimension; the next batch comes behind them.

        Raises:
            SciflowError: The file cannot be read, or has fewer.
        """
        with read(self.path) as there:
            size = there.sizes.get(self.along, 0)
        if size < count:
            raise expected(
                f"{self.path}: {self.along}", size, f"at least the {count} of its record"
            )
        try:
            if self._zarr:
                self._cut(count)
            elif size > count:
                whole = xr.load_dataset(self.path, decode_cf=False)
                self._begin(whole.isel({self.along: slice(count)}))
        except OSError as error:
            raise self._refused(error) from error
        self.count = count

    def close(self) -> None:
        """Remove what a failure may have left beside the file."""
        if self._part.is_dir():
            shutil.rmtree(self._part)
        else:
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, data: xr.Dataset) -> None:
        self.close()
        data, dates = described(data), _dates(data, self.along)
        if self._zarr:
            data.to_zarr(self._part, mode="w", zarr_format=2, encoding=dates)
        else:
            data.to_netcdf(
                self._part,
                engine="netcdf4",
                encoding=encoding(data) | dates,
                unlimited_dims=[self.along],
            )
        self._replace()

    def _replace(self) -> None:
        if not self._zarr:
            with open(self._part, "rb+") as file:
                os.fsync(file.fileno())
        elif self.path.is_dir():
            shutil.rmtree(self.path)
        os.replace(self._part, self.path)

    def _extend(self, path: Path, data: xr.Dataset) -> None:
        import netCDF4

        with netCDF4.Dataset(path, "a") as file:
            for name, variable in file.variables.items():
                if self.along not in variable.dimensions:
                    continue
                if name not in data:
                    raise expected(
                        "variables", sorted(map(str, data.data_vars)), f"{name} among them"
                    )
                place = tuple(
                    slice(self.count, self.count + data.sizes[self.along])
                    if dim == self.along
                    else slice(None)
                    for dim in variable.dimensions
                )
                values = data[name].transpose(*variable.dimensions).values
                if values.dtype.kind == "M":
                    values = (values - np.datetime64(0, "m")) // np.timedelta64(1, "m")
                variable[place] = values

    def _cut(self, count: int) -> None:
        """Cut the arrays of a store, those that an interrupted batch had grown without telling too."""
        import zarr

        store = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        for _, array in store.arrays():
            dims = array.attrs.get("_ARRAY_DIMENSIONS", [])
            if self.along in dims:
                place = dims.index(self.along)
                array.resize((*array.shape[:place], count, *array.shape[place + 1 :]))
        zarr.consolidate_metadata(self.path)

    def _refused(self, error: OSError) -> SciflowError:
        return SciflowError(
            f"{self.path}: cannot be written ({why(error)}), expected a writable file; name another"
        )


def _dates(data: xr.Dataset, along: str) -> dict[str, dict[str, Any]]:
    """One way to count for dates that grow with the file, whatever the first of them are."""
    unit = {"units": "minutes since 1970-01-01 00:00:00", "calendar": "standard", "dtype": "int64"}
    growing = (n for n, v in data.coords.items() if along in v.dims and v.dtype.kind == "M")
    return {str(n): dict(unit) for n in growing}


__all__ = ["Growing"]
