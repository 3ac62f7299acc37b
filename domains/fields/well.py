"""Files of The Well: HDF5, read trajectory by trajectory, so that they need not fit in memory.

Groups ``t0_fields``, ``t1_fields`` (scalars, vectors; tensors are left out) hold ``[n_traj, n_time, *space(, D)]``,
where an axis is missing or of length 1 if the field does not vary along it; ``dimensions`` holds the coordinates and
names the axes of space; ``scalars`` holds parameters. Components of a vector become variables ``<name>_x``,
``<name>_y``, ...

Reference: Ohana et al., The Well, NeurIPS 2024, appendix on the data format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from sciflow.errors import expected

from .hdf5 import TrajectoryFile

_NEEDED = ("dimensions", "t0_fields")


def is_well(path: str | Path) -> bool:
    """True for an HDF5 file with the groups of The Well."""
    if not Path(path).is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return all(name in file for name in _NEEDED)
    except OSError:
        return False


class WellFile(TrajectoryFile):
    """An open file of The Well; see `TrajectoryFile`."""

    def _arrange(self) -> None:
        if any(name not in self._file for name in _NEEDED):
            wanted = "groups dimensions, t0_fields, t1_fields, ..."
            raise self._strange(sorted(self._file), wanted, "is it a file of The Well?")
        named = self._file["dimensions"].attrs.get("spatial_dims", ["x", "y", "z"])
        self.space = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in named)

    def __len__(self) -> int:
        return int(self._file.attrs.get("n_trajectories", 1))

    def dataset(self) -> xr.Dataset:
        """All trajectories, lazily: dimensions sample, time and those of space."""
        dimensions = self._file["dimensions"]
        sizes = {name: int(dimensions[name].shape[-1]) for name in ("time", *self.space)}
        arrays: dict[str, Any] = {}
        for order, group in enumerate(("t0_fields", "t1_fields")):
            for name, field in self._file.get(group, {}).items():
                for k in range(field.shape[-1] if order else 1):
                    whole = f"{name}_{self.space[k]}" if order else name
                    arrays[whole] = self._field(whole, field, k if order else None, sizes)
        for name, scalar in self._file.get("scalars", {}).items():
            if scalar.ndim == 0:
                arrays[name] = ((), scalar[()])
        coords: dict[str, Any] = {"sample": np.arange(len(self))}
        for name in ("time", *self.space):
            if dimensions[name].ndim == 1:
                coords[name] = dimensions[name][:]
        title = str(self._file.attrs.get("dataset_name", self.path.name))
        return xr.Dataset(arrays, coords, {"source": f"The Well {title}"})

    def _field(
        self, name: str, field: h5py.Dataset, component: int | None, sizes: dict[str, int]
    ) -> tuple[tuple[str, ...], Any]:
        """Dimensions along which a field, or a component of a vector, varies, and its values."""
        by_sample = bool(field.attrs.get("sample_varying", True))
        by_time = bool(field.attrs.get("time_varying", True))
        dims = [*(["sample"] if by_sample else []), *(["time"] if by_time else []), *self.space]
        shape = field.shape if component is None else field.shape[:-1]
        if len(shape) != len(dims):
            got, wanted = list(field.shape), f"({', '.join(dims)})"
            raise expected(f"{self.path}: dimensions of {field.name}", got, wanted)
        # Length 1 stands for an axis along which nothing varies.
        flat = [k for k, d in enumerate(dims) if shape[k] == 1 and sizes.get(d, 1) != 1]

        def rows(start: int, count: int) -> np.ndarray:
            values = field[start : start + count] if by_sample else field[...]
            return (values if component is None else values[..., component]).squeeze(tuple(flat))

        kept = tuple(d for k, d in enumerate(dims) if k not in flat)
        if not by_sample:
            return kept, rows(0, 0)
        shape = tuple(n for k, n in enumerate(shape) if k not in flat)
        return kept, self._lazy(name, rows, shape, field.dtype)
