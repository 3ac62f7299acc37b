"""Files of PDEBench: HDF5, read trajectory by trajectory, so that they need not fit in memory.

Three layouts are in use. One array ``tensor`` ``[N, T, X]`` (advection, Burgers, ...); one array per field,
``density``, ``Vx``, ``pressure`` ... ``[N, T, X(, Y, Z)]`` (compressible flow); and one group per trajectory,
``0000/data`` ``[T, X(, Y), C]`` (diffusion-reaction, shallow water). Coordinates are ``x-coordinate`` and
``t-coordinate``, which has one entry more than there are times; in groups ``grid/x`` and ``grid/t``. Time stands before
space in all of them.

Reference: Takamoto et al., PDEBench, NeurIPS 2022, appendix A; their data loaders.
"""

from __future__ import annotations

import h5py
import numpy as np
import xarray as xr

from sciflow.errors import SciflowError, expected

from .hdf5 import Rows, TrajectoryFile

_SPACE = ("x", "y", "z")


class PDEBenchFile(TrajectoryFile):
    """An open file of PDEBench; see `TrajectoryFile`."""

    def _arrange(self) -> None:
        self._groups = sorted(k for k in self._file if isinstance(self._file[k], h5py.Group))
        self.variables = self._layout()

    def __len__(self) -> int:
        if self._groups:
            return len(self._groups)
        return int(self._file[next(iter(self.variables))].shape[0])

    def dataset(self) -> xr.Dataset:
        """All trajectories, lazily: dimensions sample, time, x (, y, z)."""
        shape, dtype = self._first
        arrays = {
            name: (dims, self._lazy(name, self._rows(name), (len(self), *shape), dtype))
            for name, dims in self.variables.items()
        }
        (dims, *_) = self.variables.values()
        coords = {dim: self._coordinate(dim, n) for dim, n in zip(dims[1:], shape, strict=True)}
        coords["sample"] = np.arange(len(self))
        return xr.Dataset(arrays, coords, {"source": f"PDEBench {self.path.name}"})

    # -- inside --------------------------------------------------------------------------------------------------

    def _layout(self) -> dict[str, tuple[str, ...]]:
        """Names and dimensions of the variables."""
        if self._groups:
            first = self._file[self._groups[0]]
            if not isinstance(first.get("data"), h5py.Dataset) or first["data"].ndim < 3:
                raise self._other()
            dims = ("sample", "time", *_SPACE[: first["data"].ndim - 2])
            channels = first["data"].shape[-1]
            names = [f"channel{k}" for k in range(channels)] if channels > 1 else ["data"]
            return {name: dims for name in names}
        found = {
            name: ("sample", "time", *_SPACE[: value.ndim - 2])
            for name, value in self._file.items()
            if isinstance(value, h5py.Dataset) and 3 <= value.ndim <= 5
        }
        if not found or len({self._file[name].shape for name in found}) > 1:
            raise self._other()
        return found

    def _other(self) -> SciflowError:
        shapes = {k: getattr(v, "shape", "group") for k, v in list(self._file.items())[:6]}
        wanted = "arrays [N, T, X ...] or groups with data [T, X ..., C]"
        return self._strange(shapes, wanted, "is it of PDEBench?")

    @property
    def _first(self) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of one trajectory of one variable."""
        if self._groups:
            data = self._file[self._groups[0]]["data"]
            return data.shape[:-1], data.dtype
        data = self._file[next(iter(self.variables))]
        return data.shape[1:], data.dtype

    def _rows(self, name: str) -> Rows:
        """How samples of a variable are read."""
        if not self._groups:
            return lambda start, count: self._file[name][start : start + count]
        channel = int(name.removeprefix("channel")) if name.startswith("channel") else 0
        return lambda start, count: np.stack(
            [self._file[g]["data"][..., channel] for g in self._groups[start : start + count]]
        )

    def _coordinate(self, dim: str, size: int) -> np.ndarray:
        short = "t" if dim == "time" else dim
        if self._groups:
            values = self._file[self._groups[0]].get(f"grid/{short}")
        else:
            values = self._file.get(f"{short}-coordinate")
        if values is None:
            return np.arange(size, dtype=np.float64)
        values = np.asarray(values)
        # t-coordinate ends one interval after the last time.
        if dim == "time" and len(values) == size + 1:
            values = values[:size]
        if len(values) != size:
            raise expected(f"{self.path}: length of {short}-coordinate", len(values), f"{size}")
        return values
