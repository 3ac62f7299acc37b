"""Verification of forecasts: scores by variable and lead against what truly followed, areas as weights.

Samples with one start are members of one ensemble. The truth is a record whose times include the valid times, or
forecasts that are the truth; leads beyond its end are left out and counted. Persistence, the start at all leads, stands
beside the CRPS (its mean absolute error, which is its CRPS).

Reference: Rasp et al., WeatherBench 2, JAMES 16 (2024), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import expected, unknown

from . import dataset, files, metrics
from .climatology import Harmonics
from .report import Figure, Metrics, of_ensemble

LEAD = "prediction_timedelta"
_DIMS = (LEAD, "latitude", "longitude")


@dataclass(frozen=True)
class Ensembles:
    """Forecasts by start.

    Args:
        variables: Names.
        starts: Times of the starts ``datetime64 [B]``.
        leads: Leads ``timedelta64 [K]``, those of the past (0 and below) too.
        members: ``[B, M, K, V, Y, X]``.
        latitude: Degrees north ``[Y]``.
        longitude: Degrees east ``[X]``.
    """

    variables: tuple[str, ...]
    starts: np.ndarray
    leads: np.ndarray
    members: Tensor
    latitude: Tensor
    longitude: Tensor

    @classmethod
    def of(cls, objects: Sequence[xr.Dataset], what: str = "sample") -> Ensembles:
        """Gather forecasts by start; ragged ensembles are cut to the smallest.

        Raises:
            SciflowError: One lacks its start, or has other variables, leads or grid than the first.
        """
        first = objects[0]
        variables = tuple(str(n) for n, v in first.data_vars.items() if set(v.dims) == set(_DIMS))
        if not variables:
            shown = {str(n): tuple(map(str, v.dims)) for n, v in first.data_vars.items()}
            raise expected(f"{what} 0: variables", shown, f"one on {_DIMS}")
        for dim in _DIMS[1:]:
            files.check_coordinate(first, dim)
        found: dict[int, list[Tensor]] = {}
        for k, one in enumerate(objects):
            if "time" not in one.coords or one["time"].ndim:
                raise expected(
                    f"{what} {k}: coordinates", sorted(map(str, one.coords)), "'time', the start of the forecast"
                )  # fmt: skip
            boxes = []
            for name in variables:
                if name not in one.data_vars:
                    raise unknown(f"{what} {k}: variable", name, [str(n) for n in one.data_vars])
                array = files.check_dims(one[name], _DIMS)
                wanted = str(first[name].attrs.get("units", ""))
                if wanted:
                    files.check_units(array, wanted)
                boxes.append(torch.from_numpy(np.array(array.values)).float())
            box = torch.stack(boxes, 1)
            for dim in _DIMS:
                if not np.array_equal(one[dim].values, first[dim].values):
                    raise expected(
                        f"{what} {k}: {dim}", f"{one.sizes[dim]} values", f"those of {what} 0"
                    )
            start = one["time"].values.astype("datetime64[ns]").astype(np.int64)
            found.setdefault(int(start), []).append(box)
        fewest = min(len(boxes) for boxes in found.values())
        members = torch.stack([torch.stack(boxes[:fewest]) for boxes in found.values()])
        starts = np.asarray(list(found)).astype("datetime64[ns]")
        place = (torch.tensor(np.asarray(first[d].values, np.float32)) for d in _DIMS[1:])
        return cls(variables, starts, first[LEAD].values, members, *place)

    @property
    def ahead(self) -> list[int]:
        """Positions of the leads above 0."""
        return np.flatnonzero(self.leads > np.timedelta64(0, "ns")).tolist()


def truth(found: Ensembles, reference: Sequence[xr.Dataset]) -> Tensor:
    """What followed each start, ``[B, K, V, Y, X]``; NaN at times that the reference does not have.

    Raises:
        SciflowError: The reference has none of the times, or other variables, units or grid.
    """
    if LEAD in reference[0].dims:
        known = Ensembles.of(reference, "reference")
        places = {int(t): k for k, t in enumerate(known.starts.astype(np.int64))}
        missing = [t for t in found.starts.astype(np.int64) if int(t) not in places]
        if missing or known.variables != found.variables or len(known.leads) != len(found.leads):
            raise expected(
                "reference: forecasts", f"{len(places)} starts of {known.variables}", "those of the samples"
            )  # fmt: skip
        index = [places[int(t)] for t in found.starts.astype(np.int64)]
        return known.members[index, 0]
    whole = reference[0]
    times = files.check_coordinate(whole, "time", regular=False)
    if times.dtype.kind != "M":
        raise expected(
            "reference: coordinate time", str(times.dtype), "dates", "name a record, or simulate the truth"
        )  # fmt: skip
    for dim, wanted in (("latitude", found.latitude), ("longitude", found.longitude)):
        got = files.check_coordinate(whole, dim)
        if len(got) != len(wanted) or np.abs(got - wanted.numpy()).max() > 1e-2 * _apart(wanted):
            raise expected(
                f"reference: coordinate {dim}", f"{len(got)} values from {got[0]:g}",
                f"{len(wanted)} values from {float(wanted[0]):g}", "cut out and interpolate to that grid",
            )  # fmt: skip
    places = {int(t): k for k, t in enumerate(times.astype("datetime64[ns]").astype(np.int64))}
    valid = (found.starts[:, None] + found.leads[None]).astype("datetime64[ns]").astype(np.int64)
    index = np.asarray([[places.get(int(t), -1) for t in row] for row in valid])
    if (index[:, found.ahead] < 0).all():
        raise expected(
            "reference: coordinate time", f"{times[0]:.16} to {times[-1]:.16}",
            f"times such as {found.starts[0] + found.leads[-1]:.16}", "bring what followed the start",
        )  # fmt: skip
    arrays = []
    for name in found.variables:
        array = files.load(whole, (name,), "reference")[name]
        array = files.check_dims(array, ("time", "latitude", "longitude"))
        arrays.append(torch.from_numpy(np.array(array.values)).float())
    values = torch.stack(arrays, 1)[torch.from_numpy(index)]
    gone = torch.from_numpy(index < 0)
    return values.masked_fill(gone[:, :, None, None, None], torch.nan)


def evaluate(
    objects: Sequence[xr.Dataset],
    reference: Sequence[xr.Dataset] | None = None,
    unreadable: int = 0,
    train: Sequence[xr.Dataset] | None = None,
) -> Metrics:
    """Judge forecasts; see the module.

    Args:
        objects: Forecasts.
        reference: A record, or forecasts that are the truth.
        unreadable: Number of samples that could not even be read.
        train: The training record, whose climatology the anomaly correlation departs from.

    Raises:
        SciflowError: The forecasts do not fit together, or the reference does not fit them.
    """
    found = Ensembles.of(objects)
    area = metrics.latitude_weights(found.latitude)[:, None].expand(found.members.shape[-2:])
    figures: dict[str, Figure] = {}
    ranks: dict[str, list[float]] = {}
    climate = None if not train else _climate(found, train[0])
    known = None if not reference else truth(found, reference)
    members, count = found.members, found.members.shape[1]
    if known is not None:
        _same_start(found, known)
    for v, variable in enumerate(found.variables):
        for k in found.ahead:
            hours = float(found.leads[k] / np.timedelta64(1, "h"))
            of = f" of {variable}, {hours:g} h"
            box = members[:, :, k, v]
            weight = area * torch.isfinite(box[0, 0])
            note = f"{count} members"
            if known is None:
                mean = metrics.average(box.flatten(0, 1), weight).mean()
                figures["mean" + of] = Figure(float(mean), len(objects))
                continue
            there = torch.isfinite(known[:, k, v]).flatten(1).any(1)
            if not bool(there.any()):
                figures["crps" + of] = Figure(None, 0, note="beyond the end of the reference")
                continue
            box, y = box[there], known[there, k, v]
            weight = weight * torch.isfinite(y).all(0)
            start = members[there, 0, _start(found), v]
            lasting = float(metrics.average((start - y).abs(), weight).mean())
            over = int(there.sum())
            error = float(metrics.average((box.mean(1) - y).square(), weight).mean().sqrt())
            if count > 1:
                scored, ranks[of[4:]] = of_ensemble(box, y, lasting, weight)
                figures |= {name + of: figure for name, figure in scored.items()}
            else:
                score = float(metrics.average((box[:, 0] - y).abs(), weight).mean())
                figures["mae" + of] = Figure(score, over, lasting)
            if climate is not None:
                valid = (found.starts + found.leads[k])[there.numpy()]
                season = climate.at(valid)[:, v]
                acc = metrics.anomaly_correlation(box.mean(1), y, season, weight)
                figures["acc" + of] = Figure(float(acc.mean()), over, None, note)
            figures["ensemble_rmse" + of] = Figure(error, over, None, note)
    rows = [described(k, one) for k, one in enumerate(objects)]
    over = 0 if known is None else len(found.starts)
    return Metrics(rows, figures, {}, over, unreadable, ranks)


def described(number: int, one: xr.Dataset) -> dict[str, Any]:
    """One row of plain values: the start, and the range of each field over all leads ahead."""
    row: dict[str, Any] = {"sample": number}
    if "time" in one.coords:
        row["start"] = str(one["time"].values)[:16]
    ahead = one[LEAD].values > np.timedelta64(0, "ns")
    for name, array in one.data_vars.items():
        if LEAD in array.dims:
            values = array.isel({LEAD: ahead}).values
            row |= {
                f"{name}_mean": float(np.nanmean(values)),
                f"{name}_min": float(np.nanmin(values)),
                f"{name}_max": float(np.nanmax(values)),
            }
    return row


def _climate(found: Ensembles, train: xr.Dataset) -> Harmonics:
    """Climatology of the training record: by season where it has a year or more."""
    record = dataset.from_xarray(train, found.variables, path="train")
    whole = record.time[-1] - record.time[0] >= np.timedelta64(360, "D")
    return Harmonics.fit(record, 7 if whole else None)


def _start(found: Ensembles) -> int:
    """Position of lead 0."""
    return int(np.abs(found.leads / np.timedelta64(1, "h")).argmin())


def _same_start(found: Ensembles, known: Tensor) -> None:
    """Refuse a truth that starts elsewhere than the forecasts; where it lacks the start, it is trusted."""
    k = _start(found)
    given, true = found.members[:, 0, k], known[:, k]
    off = (given - true).square().nanmean((2, 3)).sqrt()
    spread = (true - true.nanmean((2, 3), keepdim=True)).square().nanmean((2, 3)).sqrt()
    bad = off > 0.05 * spread + 1e-6
    if bool(bad.any()):
        b, v = (int(n) for n in bad.nonzero()[0])
        raise expected(
            f"start {str(found.starts[b])[:16]}: variable {found.variables[v]}",
            "another field than the reference has at that time", "the same",
            "evaluate against the record that was given",
        )  # fmt: skip


def _apart(values: Tensor) -> float:
    return float((values[1] - values[0]).abs()) if len(values) > 1 else 1.0


__all__ = ["Ensembles", "described", "evaluate", "truth"]
