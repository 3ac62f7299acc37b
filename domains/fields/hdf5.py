"""Files of trajectories in HDF5, read lazily, so that they need not fit in memory: PDEBench's and The Well's.

`opened` tells them apart by their content. What is asked of the dataset is read from the file then, and only that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from sciflow.errors import SciflowError, expected

SUFFIXES = (".h5", ".hdf5")
Rows = Callable[[int, int], np.ndarray]
"""Reads so many samples from one on: ``(start, count) -> [count, ...]``."""


class TrajectoryFile(ABC):
    """Abstract open file; use it in a ``with`` statement, or leave it open for a lazy dataset.

    Args:
        path: An HDF5 file.

    Raises:
        SciflowError: The file is missing, truncated, no HDF5 file, or of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise SciflowError(f"{path}: got no such file, expected an HDF5 file; check the name")
        try:
            self._file: Any = h5py.File(self.path, "r")
        except OSError as error:
            raise SciflowError(
                f"{path}: cannot be opened ({' '.join(str(error).split())[:120]}), expected a whole HDF5 file; "
                "it may be truncated: compare its size with that of the source and fetch it again"
            ) from error
        try:
            self._arrange()
        except SciflowError:
            self._file.close()
            raise

    @abstractmethod
    def _arrange(self) -> None:
        """Look at the content, or refuse it."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of trajectories."""

    @abstractmethod
    def dataset(self) -> xr.Dataset:
        """All trajectories, lazily: dimensions sample, time and those of space."""

    def read(self, start: int = 0, count: int | None = None) -> xr.Dataset:
        """Return trajectories in memory.

        Args:
            start: Number of the first.
            count: How many; None for the rest.

        Raises:
            SciflowError: There are not so many, or a part of the file cannot be read.
        """
        count = len(self) - start if count is None else count
        if start < 0 or count < 1 or start + count > len(self):
            wanted = f"some of 0 to {len(self)}"
            raise expected(
                f"{self.path.name}: trajectories", f"{start} to {start + count}", wanted
            )
        return self.dataset().isel(sample=slice(start, start + count)).load()

    def batches(self, size: int) -> Iterator[xr.Dataset]:
        """Yield all trajectories, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(start, min(size, len(self) - start))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _strange(self, got: object, wanted: str, remedy: str) -> SciflowError:
        return expected(f"{self.path}: content", got, wanted, remedy)

    def _lazy(self, name: str, rows: Rows, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        """An array that is read when it is used."""

        def told(start: int, count: int) -> np.ndarray:
            try:
                return rows(start, count)
            except (OSError, KeyError, ValueError) as error:
                raise SciflowError(
                    f"{self.path}: variable {name} cannot be read, expected a whole file; fetch it again"
                ) from error

        return indexing.LazilyIndexedArray(_Rows(told, shape, dtype))


class _Rows(BackendArray):
    """An array of a file, read by ranges of its first dimension."""

    def __init__(self, rows: Rows, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.rows, self.shape, self.dtype = rows, shape, dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self._take)

    def _take(self, key: tuple[int | slice, ...]) -> np.ndarray:
        first, *others = key
        if isinstance(first, slice):
            wanted = range(self.shape[0])[first]
            if not len(wanted):
                return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *others)]
            low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
            place = slice(wanted[0] - low, None, wanted.step)
            return self.rows(low, high - low + 1)[place][(slice(None), *others)]
        return self.rows(int(first), 1)[(0, *others)]


def opened(path: str | Path) -> xr.Dataset:
    """Open a file of trajectories of either kind, lazily; it stays open with the dataset.

    Raises:
        SciflowError: The file is missing, truncated, or of neither kind.
    """
    from .pdebench import PDEBenchFile
    from .well import WellFile, is_well

    kinds: Mapping[bool, type[TrajectoryFile]] = {True: WellFile, False: PDEBenchFile}
    return kinds[is_well(path)](path).dataset()


__all__ = ["SUFFIXES", "TrajectoryFile", "opened"]
