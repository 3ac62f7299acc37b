r"""What a statistical forecast of ERA-Interim could still gain from this box: kernel regressions, seasons, a third day.

    SCIFLOW_DATA=... python benchmarks/weather_limits.py

writes ``results/weather-eraint-limits.json``: fitted to 2000-2007, measured on 2008, which also chose the settings; the
test years are not touched. All are ridge regressions of the anomalies' components in their dual form, with normal
errors whose deviations, constant or with the season, come from forecasts of the odd years by the even ones and the
other way round. Rows are ratios of the CRPS, by lead and variable, to that of 80 components of the start alone.

    days          the last two days and the newest carried along its wind: the linear part of `erainterim`
    third day     one more
    seasons       slopes that change with the season: kernel z.z' (1 + cos(d - d'))
    kernel        both and a Gaussian kernel of the last two days beside

Reference: Saunders, Gammerman, Vovk, Ridge regression learning algorithm in dual variables, ICML 1998.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from record import write
from torch import Tensor

from sciflow.domains.fields import dataset, metrics, scores
from sciflow.domains.fields.climatology import turn
from sciflow.domains.fields.forecast import ForecastCoding

LEADS, KEPT, HISTORY = (1, 2, 3), 80, 3
RIDGE, SHARE, WIDTH = 3.0, 0.5, 2.0
OPTIONS = {"leads": list(LEADS), "history": HISTORY, "steering": "z500", "shares": [0.3, 0.6, 0.9]}


@dataclass(frozen=True)
class Part:
    """Days of a record: ``past`` and ``carried`` ``[N, F, C]``, ``future`` ``[N, leads, C]``, season ``[N]``."""

    past: Tensor
    carried: Tensor
    future: Tensor
    season: Tensor

    def inputs(self, basis: Tensor, days: int, carried: bool) -> Tensor:
        """Components of the last days, and of what the wind carries."""
        known = [self.past[:, :days], *([self.carried] if carried else [])]
        return (torch.cat(known, 1) @ basis).flatten(1)


def part(coding: ForecastCoding, years: tuple[str, str]) -> tuple[Part, np.ndarray]:
    """Standardised anomalies around each day of some years, and the days."""
    whole = dataset.record("eraint")
    days = whole.time
    place = np.flatnonzero((days >= np.datetime64(years[0])) & (days < np.datetime64(years[1])))
    place = place[(place >= HISTORY - 1) & (place + LEADS[-1] < len(days))]
    place = place[days[np.minimum(place + LEADS[-1], len(days) - 1)] < np.datetime64(years[1])]
    scale = torch.tensor(coding.scale)[:, None, None]
    x = (whole.values - coding.climate.at(days)) / scale * coding.box.root
    past = torch.stack([x[place - j] for j in range(HISTORY)], 1)
    future = torch.stack([x[place + k] for k in LEADS], 1)
    minutes = torch.from_numpy(days[place].astype("datetime64[m]").astype(np.int64))
    carried = coding.carried(past, minutes)
    flat = (v.flatten(2) for v in (past, carried, future))
    return Part(*flat, turn(days[place])), days[place]


def linear(a: Tensor, b: Tensor) -> Tensor:
    """Products of all rows."""
    return (a @ b.T).double()


def forecast(kernel: Tensor, across: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """Dual ridge regression: ``[n, n]``, ``[m, n]``, ``[n, k] -> [m, k]``."""
    mean = targets.mean(0)
    whole = kernel + len(kernel) * ridge * torch.eye(len(kernel), dtype=kernel.dtype)
    return across @ torch.cholesky_solve(targets - mean, torch.linalg.cholesky(whole)) + mean


def main() -> None:
    """Measure all on 2008."""
    torch.set_num_threads(1)
    begin = time.process_time()
    record = dataset.record("erainterim:2000-2007")
    coding, _ = ForecastCoding.fit(record, OPTIONS)
    (train, days), (held, _) = (
        part(coding, years) for years in (("2000-01-01", "2008-01-01"), ("2008-01-01", "2009-01-01"))
    )  # fmt: skip
    first = train.past[:, 0].double()
    basis = torch.linalg.eigh(first.T @ first)[1][:, -120:].flip(1).float()
    coarse = basis[:, :KEPT]
    targets = (train.future @ coarse).flatten(1).double()

    def fine(part: Part) -> Tensor:
        return part.past[:, 0] - part.past[:, 0] @ coarse @ coarse.T

    rest = (fine(train)[:, None] * train.future).sum((0, 2)) / fine(train).square().sum()

    def fields(components: Tensor, beside: Tensor) -> Tensor:
        box = components.unflatten(1, (len(LEADS), KEPT)).float() @ coarse.T
        return box + rest[:, None] * beside[:, None]

    def kernels(days_: int, carried: bool, count: int) -> tuple[Tensor, Tensor]:
        own, other = (p.inputs(basis[:, :count], days_, carried) for p in (train, held))
        return linear(own, own), linear(other, own)

    apart = [p.season[:, None] - train.season[None] for p in (train, held)]
    two = kernels(2, True, 120)
    seasons = tuple(k * (1 + d.cos()) for k, d in zip(two, apart, strict=True))
    near = [p.inputs(basis[:, :60], 2, False) for p in (train, held)]
    squares = [torch.cdist(x, near[0]).double().square() for x in near]
    size = SHARE * seasons[0].diagonal().mean()
    both = tuple(
        k + size * (-q / (WIDTH * squares[0].median())).exp()
        for k, q in zip(seasons, squares, strict=True)
    )
    rows = {
        "start alone": (kernels(1, False, 80), 1.0),
        "days": (two, RIDGE),
        "third day": (kernels(3, True, 120), RIDGE),
        "seasons": (seasons, RIDGE),
        "kernel": (both, RIDGE),
    }
    even = torch.from_numpy(days.astype("datetime64[Y]").astype(int) % 2 == 0)
    waves = [
        torch.stack((torch.ones_like(p.season), p.season.cos(), p.season.sin()), 1)
        for p in (train, held)
    ]
    shape = (len(LEADS), len(coding.box.variables), *coding.box.grid)

    def score(mean: Tensor, variance: Tensor) -> Tensor:
        law = [
            v.unflatten(-1, shape[1:]) / coding.box.root
            for v in (mean, variance.sqrt(), held.future)
        ]
        return metrics.average(scores.crps_gaussian(*law), coding.box.area, 2).mean(0)

    results: dict[str, dict[str, list[list[float]]]] = {}
    level = None
    for name, ((kernel, across), ridge) in rows.items():
        mean = fields(forecast(kernel, across, targets, ridge), fine(held))
        missed = torch.zeros_like(train.future)
        for mine in (even, ~even):
            inside, beside = kernel[~mine][:, ~mine], kernel[mine][:, ~mine]
            made = fields(forecast(inside, beside, targets[~mine], ridge), fine(train)[mine])
            missed[mine] = train.future[mine] - made
        square = missed.square()
        slopes = torch.linalg.lstsq(waves[0], square.flatten(1).double()).solution
        least = 0.05 * square.mean(0)
        turning = (waves[1] @ slopes).float().unflatten(1, least.shape).clamp(min=least)
        found = {"constant": score(mean, square.mean(0)), "seasonal": score(mean, turning)}
        level = found["constant"] if level is None else level
        results[name] = {spread: (one / level).tolist() for spread, one in found.items()}
        print(name, results[name], f"{time.process_time() - begin:.0f} s", flush=True)
    facts = {
        "train": "2000-2007",
        "measured": "2008",
        "leads": LEADS,
        "variables": coding.box.variables,
    }
    settings = {"ridge": RIDGE, "share": SHARE, "width": WIDTH}
    write("weather-eraint-limits", seeds=[0], data={**facts, **settings}, results=results)


if __name__ == "__main__":
    main()
