"""Files of PDEBench: HDF5, read trajectory by trajectory, so that they need not fit in memory.

Three layouts are in use. One array ``tensor`` ``[N, T, X]`` (advection, Burgers, ...); one array per field,
``density``, ``Vx``, ``pressure`` ... ``[N, T, X(, Y, Z)]`` (compressible flow); and one group per trajectory,
``0000/data`` ``[T, X(, Y), C]`` (diffusion-reaction, shallow water). Coordinates are ``x-coordinate`` and
``t-coordinate``, which has one entry more than there are times; in groups ``grid/x`` and ``grid/t``. Time stands before
space in all of them.

Reference: Takamoto et al., PDEBench, NeurIPS 2022, appendix A; their data loaders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import xarray as xr

from sciflow.errors import SciflowError, expected

SUFFIXES = (".h5", ".hdf5")
_SPACE = ("x", "y", "z")


class PDEBenchFile:
    """An open file; use it in a ``with`` statement.

    Args:
        path: An HDF5 file.

    Raises:
        SciflowError: The file is missing, truncated, no HDF5 file, or has none of the three layouts.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise SciflowError(
                f"{path}: got no such file, expected a PDEBench file; check the name"
            )
        try:
            self._file: Any = h5py.File(self.path, "r")
        except OSError as error:
            raise SciflowError(
                f"{path}: cannot be opened ({' '.join(str(error).split())[:120]}), expected a whole HDF5 file; "
                "it may be truncated: compare its size or md5 with PDEBench's list and fetch it again"
            ) from error
        try:
            self._groups = sorted(k for k in self._file if isinstance(self._file[k], h5py.Group))
            self.variables = self._layout()
        except SciflowError:
            self._file.close()
            raise

    def __len__(self) -> int:
        if self._groups:
            return len(self._groups)
        return int(self._file[next(iter(self.variables))].shape[0])

    def __enter__(self) -> PDEBenchFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, start: int = 0, count: int | None = None) -> xr.Dataset:
        """Return trajectories as a dataset with the dimensions sample, time, x (, y, z).

        Args:
            start: Number of the first.
            count: How many; None for the rest.

        Raises:
            SciflowError: There are not so many, or a part of the file cannot be read.
        """
        count = len(self) - start if count is None else count
        if start < 0 or count < 1 or start + count > len(self):
            raise expected(
                f"{self.path.name}: trajectories",
                f"{start} to {start + count}",
                f"some of 0 to {len(self)}",
            )
        arrays: dict[str, Any] = {}
        for name, dims in self.variables.items():
            try:
                values = self._values(name, start, count)
            except (OSError, KeyError, ValueError) as error:
                raise SciflowError(
                    f"{self.path}: variable {name} cannot be read, expected a whole file; fetch it again"
                ) from error
            arrays[name] = (dims, values)
        shape = dict(zip(dims, values.shape, strict=True))
        coords: dict[str, Any] = {"sample": np.arange(start, start + count)}
        for dim in dims[1:]:
            coords[dim] = self._coordinate(dim, shape[dim])
        return xr.Dataset(arrays, coords, {"source": f"PDEBench {self.path.name}"})

    def batches(self, size: int) -> Iterator[xr.Dataset]:
        """Yield all trajectories, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(start, min(size, len(self) - start))

    # -- inside --------------------------------------------------------------------------------------------------

    def _layout(self) -> dict[str, tuple[str, ...]]:
        """Names and dimensions of the variables."""
        if self._groups:
            first = self._file[self._groups[0]]
            if not isinstance(first.get("data"), h5py.Dataset) or first["data"].ndim < 3:
                raise self._strange()
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
            raise self._strange()
        return found

    def _strange(self) -> SciflowError:
        shapes = {k: getattr(v, "shape", "group") for k, v in list(self._file.items())[:6]}
        return expected(
            f"{self.path}: content",
            shapes,
            "arrays [N, T, X ...] or groups with data [T, X ..., C]",
            "is it of PDEBench?",
        )

    def _values(self, name: str, start: int, count: int) -> np.ndarray:
        if not self._groups:
            return self._file[name][start : start + count]
        channel = int(name.removeprefix("channel")) if name.startswith("channel") else 0
        chosen = self._groups[start : start + count]
        return np.stack([self._file[g]["data"][..., channel] for g in chosen])

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
