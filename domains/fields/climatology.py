r"""Climatology as a formula: for each hour of the day a mean field and a few harmonics of the year.

.. math:: c(t) = m_h + \sum_{k=1}^{K} a_{hk} \cos(2 \pi k d / 366) + b_{hk} \sin(2 \pi k d / 366)

with h the hour and d the day of the year, fitted to the means of the training times within a window of days
(`baselines.Climatology`). Where the record is shorter than a year there is no season: K = 0.

Reference: Narapusetty, DelSole, Tippett, Optimal estimation of the climatological mean, J. Climate 22 (2009).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import expected

from .arrays import packed, unpacked
from .baselines import Climatology
from .dataset import Record

_DAYS = 366


@dataclass(frozen=True)
class Harmonics:
    """Climatology as a formula; see the module.

    Args:
        hours: Hours of the day that are known.
        table: ``[len(hours), 1 + 2 K, ...]``: mean, cosines and sines by turns.
    """

    hours: tuple[int, ...]
    table: Tensor

    @classmethod
    def fit(cls, train: Record, window: int | None = 7, waves: int = 4) -> Harmonics:
        """Fit to training times; pass no others.

        Args:
            train: The training record.
            window: Days of the year on either side that count as the season; None for all, without harmonics.
            waves: Number of harmonics K.

        Raises:
            SciflowError: The record has no times of some season.
        """
        seasons = Climatology.fit(train, window)
        hours = tuple(sorted(set(_hour(train.time).tolist())))
        days = np.arange("2000-01-01", "2001-01-01", dtype="datetime64[D]")
        rows = []
        for hour in hours:
            times = days.astype("datetime64[h]") + np.timedelta64(hour, "h")
            if window is None:
                rows.append(seasons.mean(times[:1]))
                continue
            angles = _angles(times, waves)
            means = seasons.mean(times)
            solved = torch.linalg.lstsq(angles, means.flatten(1).double()).solution
            rows.append(solved.unflatten(1, means.shape[1:]).float())
        return cls(hours, torch.stack(rows))

    @property
    def waves(self) -> int:
        """Number of harmonics."""
        return (self.table.shape[1] - 1) // 2

    def at(self, times: np.ndarray) -> Tensor:
        """Return the climatology of times ``datetime64 [N]``: ``[N, ...]``.

        Raises:
            SciflowError: A time has an hour of the day that was not in training.
        """
        found = _hour(times)
        strange = sorted(set(found.tolist()) - set(self.hours))
        if strange:
            wanted = f"the hours of training, {', '.join(map(str, self.hours))} UTC"
            raise expected("coordinate time: hours of the day", strange, wanted)
        place = torch.from_numpy(np.searchsorted(np.asarray(self.hours), found))
        angles = _angles(times, self.waves)
        out = torch.empty(len(times), *self.table.shape[2:])
        for k in place.unique().tolist():  # one product for each hour
            mine = place == k
            out[mine] = torch.tensordot(angles[mine], self.table[k].double(), 1).float()
        return out

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        return {"hours": list(self.hours), "table": packed(self.table)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Harmonics:
        """Make the climatology that `config` described."""
        return cls(tuple(config["hours"]), unpacked(config["table"]))


def turn(times: np.ndarray) -> Tensor:
    """Angle of the season in radians, ``float64 [N]``."""
    dates = times.astype("datetime64[D]")
    day = (dates - dates.astype("datetime64[Y]")).astype(int)
    return torch.from_numpy(2 * math.pi * day / _DAYS)


def _angles(times: np.ndarray, waves: int) -> Tensor:
    season = turn(times)
    columns = [torch.ones_like(season)]
    for k in range(1, waves + 1):
        columns += [(k * season).cos(), (k * season).sin()]
    return torch.stack(columns, dim=1)


def _hour(times: np.ndarray) -> np.ndarray:
    return (times - times.astype("datetime64[D]")).astype("timedelta64[h]").astype(int)


__all__ = ["Harmonics", "turn"]
