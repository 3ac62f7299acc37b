"""Files of The Well: HDF5, read trajectory by trajectory, so that they need not fit in memory.

Groups ``t0_fields``, ``t1_fields`` (scalars, vectors; tensors are left out) hold ``[n_traj, n_time, *space(, D)]``,
where an axis is missing or of length 1 if the field does not vary along it; ``dimensions`` holds the coordinates and
names the axes of space; ``scalars`` holds parameters. Components of a vector become variables ``<name>_x``,
``<name>_y``, ...

Reference: Ohana et al., The Well, NeurIPS 2024, appendix on the data format.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import xarray as xr

from sciflow.errors import SciflowError, expected


class WellFile:
    """An open file; use it in a ``with`` statement.

    Args:
        path: An HDF5 file.

    Raises:
        SciflowError: The file is missing, truncated, no HDF5 file, or not of The Well.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise SciflowError(
                f"{path}: got no such file, expected a file of The Well; check the name"
            )
        try:
            self._file: Any = h5py.File(self.path, "r")
        except OSError as error:
            raise SciflowError(
                f"{path}: cannot be opened ({' '.join(str(error).split())[:120]}), expected a whole HDF5 file; "
                "it may be truncated: fetch it again"
            ) from error
        if "dimensions" not in self._file or "t0_fields" not in self._file:
            got = sorted(self._file)
            self._file.close()
            raise expected(
                f"{path}: groups",
                got,
                "dimensions, t0_fields, t1_fields, ...",
                "is it a file of The Well?",
            )
        named = self._file["dimensions"].attrs.get("spatial_dims", ["x", "y", "z"])
        self.space = tuple(n.decode() if isinstance(n, bytes) else str(n) for n in named)

    def __len__(self) -> int:
        return int(self._file.attrs.get("n_trajectories", 1))

    def __enter__(self) -> WellFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, start: int = 0, count: int | None = None) -> xr.Dataset:
        """Return trajectories as a dataset with the dimensions sample, time and those of space.

        Args:
            start: Number of the first.
            count: How many; None for the rest.

        Raises:
            SciflowError: There are not so many.
        """
        count = len(self) - start if count is None else count
        if start < 0 or count < 1 or start + count > len(self):
            raise expected(
                f"{self.path.name}: trajectories",
                f"{start} to {start + count}",
                f"some of 0 to {len(self)}",
            )
        dimensions = self._file["dimensions"]
        sizes = {name: int(dimensions[name].shape[-1]) for name in ("time", *self.space)}
        arrays: dict[str, Any] = {}
        for order, group in enumerate(("t0_fields", "t1_fields")):
            for name, field in self._file.get(group, {}).items():
                dims, values = self._field(field, order, start, count, sizes)
                if not order:
                    arrays[name] = (dims, values)
                    continue
                for k in range(values.shape[-1]):
                    arrays[f"{name}_{self.space[k]}"] = (dims, values[..., k])
        for name, scalar in self._file.get("scalars", {}).items():
            if scalar.ndim == 0:
                arrays[name] = ((), scalar[()])
        coords: dict[str, Any] = {"sample": np.arange(start, start + count)}
        for name in ("time", *self.space):
            if dimensions[name].ndim == 1:
                coords[name] = dimensions[name][:]
        title = str(self._file.attrs.get("dataset_name", self.path.name))
        return xr.Dataset(arrays, coords, {"source": f"The Well {title}"})

    def _field(
        self, field: h5py.Dataset, order: int, start: int, count: int, sizes: dict[str, int]
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """Dimensions along which a field varies, and its values."""
        by_sample = bool(field.attrs.get("sample_varying", True))
        by_time = bool(field.attrs.get("time_varying", True))
        values = field[start : start + count] if by_sample else field[...]
        dims = [*(["sample"] if by_sample else []), *(["time"] if by_time else []), *self.space]
        if values.ndim != len(dims) + order:
            raise expected(
                f"{self.path}: dimensions of {field.name}",
                list(field.shape),
                f"({', '.join(dims)})",
            )
        for k in reversed(range(len(dims))):
            # Length 1 stands for an axis along which nothing varies.
            if values.shape[k] == 1 and sizes.get(dims[k], 1) != 1:
                values = values.squeeze(k)
                del dims[k]
        return tuple(dims), values
