r"""Forecasts of the reanalyses by a model, against persistence, climatology and linear-Gaussian forecasts.

    SCIFLOW_DATA=... python benchmarks/weather.py eraint --model erainterim
    SCIFLOW_DATA=... python benchmarks/weather.py era5_t2m --fit runs/t2m --set history=2 window=0 \
        components=10 kept=10 leads=[1,2,3,4,5,6,7,8,9,10,11,12]
    SCIFLOW_DATA=... python benchmarks/weather.py eraint --fit runs/erainterim-linear

writes ``results/weather-<data>.json``: every start of the test part, 16 members of each, areas as weights; fair CRPS,
root mean square error of the ensemble mean, spread-skill ratio; beside them, at the same starts,

    linear-Gaussian   the published baseline: 80 components of the start alone, normal errors (`fields.py weather`)
    base              the model's own linear forecast, normal errors with the deviations that cross-fitting left
    persistence       its mean absolute error, which is its CRPS
    climatology       the fair CRPS of the training days of the season

The ratio of the model's CRPS to the linear-Gaussian's has an interval from 2,000 resamples of blocks of starts (30
days; a day for hours), 5 % to 95 %. With ``--part validate`` the part that chose the settings is measured, and nothing
is written. ``--fit`` writes the linear-Gaussian forecast as a model and measures it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch
from fields import LEADS, MEMBERS, chosen, fitted, law_of, pairs
from record import write
from torch import Tensor

import sciflow
from sciflow import grids, solvers
from sciflow.domains.fields import dataset, metrics, scores
from sciflow.domains.fields.baselines import Climatology
from sciflow.domains.fields.dataset import Record
from sciflow.domains.fields.forecaster import Forecaster, linear_gaussian
from sciflow.model import Model
from sciflow.runtime.config import toml_value
from sciflow.sampling import sample
from sciflow.state import Frame
from sciflow.streams import Streams

CARD = {
    "description": "Linear-Gaussian forecast, what others have to beat: 80 components of the start, normal errors",
    "data": "ERA-Interim daily 12 UTC 2000-2007, 30-60N 20W-14.5E, 1.5 degrees",
    "licence": "MIT (weights); ERA-Interim: Copernicus licence",
}
_CHUNK = 24
_RESAMPLES = 2000


class Judged:
    """Scores of ensembles by start, lead and variable, gathered batch by batch; NaN beyond the end of the record."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.parts: dict[str, list[Tensor]] = {"crps": [], "error": [], "variance": []}

    def add(self, ensemble: Tensor, truth: Tensor) -> None:
        """Take in ``[B, M, K, V, Y, X]`` and ``[B, K, V, Y, X]``."""
        found = {
            "crps": scores.crps_map(ensemble, truth),
            "error": (ensemble.mean(1) - truth).square(),
            "variance": ensemble.var(1),
        }
        for name, value in found.items():
            self.parts[name].append(metrics.average(value, self.weight, 2))

    def __getitem__(self, name: str) -> Tensor:
        return torch.cat(self.parts[name])


def following(whole: Record, part: Record, starts: np.ndarray, leads: tuple[int, ...]) -> Tensor:
    """What followed each start within the part, ``[B, K, V, Y, X]``; NaN beyond its end."""
    place = np.searchsorted(whole.time, starts)
    index = place[:, None] + np.asarray(leads)
    after = index > np.searchsorted(whole.time, part.time[-1])
    values = whole.values[torch.from_numpy(np.minimum(index, len(whole) - 1))]
    return values.masked_fill(torch.from_numpy(after)[:, :, None, None, None], torch.nan)


def ensembles(model: Model, known: dict[str, Tensor], members: int, steps: int | None) -> Any:
    """Ensembles ``[B, M, K, V, Y, X]`` of some starts at a time; member m of start b has stream b M + m."""
    adapter = cast(Forecaster, model.adapter)
    system, network = model.system, model.network.eval()
    solver, grid = solvers.make(model.sampling.solver), grids.make(model.sampling.grid)
    coding = adapter.forecast
    for first in range(0, len(known["time"]), _CHUNK):
        some = {n: v[first : first + _CHUNK] for n, v in known.items()}
        some["base"] = coding.base(some["past"], some["time"])
        condition = adapter._condition(some, whole=False)
        wide = {n: v.repeat_interleave(members, 0) for n, v in condition.items()}
        count = len(some["time"])
        streams = Streams.range(0, first * members, count * members, "benchmark")
        state = sample(
            system, network, Frame(dict(coding.codec.shapes), condition=wide), streams,
            solver=solver, grid=grid, steps=steps or model.sampling.steps,
        )  # fmt: skip
        residual = coding.decode({n: v.clone() for n, v in state.items()}).unflatten(
            0, (count, members)
        )
        start = some["time"].numpy().astype("datetime64[m]")
        times = coding.box.times(start, coding.box.leads)
        base = coding.fields(some["base"], times)
        scale = torch.tensor(coding.scale)[:, None, None] / coding.box.root
        yield first, base.unsqueeze(1) + residual * scale


def normal(coding: Any, residual: Tensor) -> Tensor:
    """Deviation of the base's errors by lead, variable and cell, from cross-fitted residuals."""
    scale = torch.tensor(coding.scale)[:, None, None] / coding.box.root
    return residual.square().mean(0).sqrt() * scale


def published(name: str, lead: int, records: dict[str, Record], climate: Climatology) -> Tensor:
    """CRPS ``[starts, V]`` of the linear-Gaussian baseline, as `fields.py` has it."""
    weight = records["train"].weight
    train, held, asked = (pairs(records[k], climate, lead) for k in ("train", "validate", "test"))
    scale = weight.sqrt() / train[0].std((0, 2, 3))[:, None, None]
    how = chosen(name, train, held, scale, weight)
    law = law_of(how, fitted(how, train, scale, held), asked[0])
    return metrics.average(scores.crps_gaussian(law.mean, law.std, asked[1]), weight, 2)


def interval(own: Tensor, other: Tensor, block: int) -> list[float]:
    """5 and 95 % of the ratio of two mean scores, resampling blocks of starts: ``[B]`` each."""
    count = -(-len(own) // block)
    pad = count * block - len(own)
    sums = [
        torch.nn.functional.pad(v.double(), (0, pad)).reshape(count, block).sum(1)
        for v in (own, other)
    ]
    drawn = torch.randint(count, (_RESAMPLES, count), generator=torch.Generator().manual_seed(0))
    ratios = sums[0][drawn].sum(1) / sums[1][drawn].sum(1)
    return [float(q) for q in ratios.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))]


def measured(
    name: str, model: Model, part: str, members: int, steps: int | None
) -> list[dict[str, Any]]:
    """One row for each variable and lead."""
    adapter = cast(Forecaster, model.adapter)
    coding, box = adapter.forecast, adapter.forecast.box
    whole = dataset.record(name)
    records = {p: dataset.record(f"{name}:{p}") for p in dataset.SOURCES[name].split}
    here = records[part]
    known = adapter.given(whole, f"{str(here.time[0])[:10]}/{str(here.time[-1])[:10]}")
    known = {n: v[:-1] for n, v in known.items()}
    starts = known["time"].numpy().astype("datetime64[m]").astype("datetime64[ns]")
    truth = following(whole, here, starts, box.leads)
    weight = box.area
    judged = Judged(weight)
    begin = time.process_time()
    for first, ensemble in ensembles(model, known, members, steps):
        judged.add(ensemble, truth[first : first + len(ensemble)])
    seconds = (time.process_time() - begin) / (len(starts) * members)
    _, values = type(coding).fit(records["train"], _options(coding), _codec(coding))
    std = normal(coding, values["residual"])
    base = torch.cat([
        coding.fields(
            coding.base(known["past"][k : k + 64], known["time"][k : k + 64]),
            box.times(starts[k : k + 64].astype("datetime64[m]"), box.leads),
        )
        for k in range(0, len(starts), 64)
    ])  # fmt: skip
    laid = metrics.average(scores.crps_gaussian(base, std, truth), weight, 2)
    missed = metrics.average((base - truth).square(), weight, 2)
    window = 7 if name == "eraint" else None
    climate = Climatology.fit(records["train"], window)
    block = 30 if here.step == 24 else 24
    rows = []
    for k, lead in enumerate(box.leads):
        if lead not in LEADS[name] and part == "test":
            continue
        there = torch.isfinite(judged["crps"][:, k, 0])
        rival = published(name, lead, records, climate) if part == "test" else None
        ends = np.flatnonzero(there.numpy())
        for v, variable in enumerate(box.variables):
            own = judged["crps"][there, k, v]
            error, variance = (float(judged[n][there, k, v].mean()) for n in ("error", "variance"))
            row: dict[str, Any] = {
                "variable": variable,
                "units": box.units[v],
                "lead_hours": lead * box.step,
                "starts": int(there.sum()),
                "model": {
                    "fair_crps": float(own.mean()),
                    "rmse": error**0.5,
                    "spread_skill": ((members + 1) / members * variance / error) ** 0.5,
                },
                "base": {
                    "crps": float(laid[there, k, v].mean()),
                    "rmse": float(missed[there, k, v].mean()) ** 0.5,
                },
            }
            if rival is not None:
                other = rival[:, v]
                if len(other) != len(own):
                    raise AssertionError(
                        f"{len(other)} starts of the baseline, {len(own)} of the model"
                    )
                valid = starts[ends].astype("datetime64[m]") + np.timedelta64(
                    int(60 * lead * box.step), "m"
                )
                season = [
                    scores.crps(climate.members(t)[:, :, v], truth[b : b + 1, k, v], weight)
                    for b, t in zip(ends.tolist(), valid, strict=True)
                ]
                lasting = whole.values[
                    torch.from_numpy(np.searchsorted(whole.time, starts[ends])), v
                ]
                moved = (lasting - truth[there, k, v]).abs()
                row |= {
                    "linear_gaussian": {"crps": float(other.mean())},
                    "persistence": {"mae": float(metrics.average(moved, weight).mean())},
                    "climatology": {"fair_crps": float(torch.cat(season).mean())},
                    "ratio_to_linear_gaussian": float(own.mean() / other.mean()),
                    "ratio_5_95": interval(own, other, block),
                }
            row["cpu_s_per_member"] = seconds
            rows.append(row)
            print(_line(row), flush=True)
    return rows


def _options(coding: Any) -> dict[str, Any]:
    box = coding.box
    waves = coding.climate.waves
    return {
        "leads": list(box.leads),
        "history": box.history,
        "window": 7 if waves else 0,
        "components": coding.regression.basis.shape[1],
        "kept": coding.regression.slope.shape[2],
        "steering": box.steering,
        "shares": list(box.shares),
    }


def _codec(coding: Any) -> dict[str, Any]:
    transform = coding.codec.transform
    return {
        "wavelet": transform.axes[0].wavelet,
        "level": transform.level,
        "packing": coding.codec.packing,
    }


def _line(row: dict[str, Any]) -> str:
    model, base = row["model"], row["base"]
    text = f"{row['variable']:5} {row['lead_hours']:4g} h  CRPS {model['fair_crps']:.4g}  rmse {model['rmse']:.4g}"
    text += (
        f"  spread-skill {model['spread_skill']:.3f}  base {base['crps']:.4g} ({base['rmse']:.4g})"
    )
    if "linear_gaussian" in row:
        low, high = row["ratio_5_95"]
        text += f"  linear {row['linear_gaussian']['crps']:.4g}"
        text += f"  ratio {row['ratio_to_linear_gaussian']:.3f} [{low:.3f}, {high:.3f}]"
        text += f"  persistence {row['persistence']['mae']:.4g}  climate {row['climatology']['fair_crps']:.4g}"
    return text


def main() -> None:
    """Measure a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=list(LEADS))
    parser.add_argument("--model", default="erainterim", help="a name or a folder")
    parser.add_argument("--part", default="test", choices=["validate", "test"])
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--fit", default=None, help="folder of a linear-Gaussian model to be made")
    parser.add_argument("--set", nargs="*", default=[], help="of --fit: KEY=VALUE of [data]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.fit:
        data = {
            key: toml_value(value)
            for key, _, value in (text.partition("=") for text in arguments.set)
        }
        card = CARD if arguments.data == "eraint" else None
        linear_gaussian(f"{arguments.data}:train", card, **data).save(arguments.fit)
    model = sciflow.load(arguments.fit or arguments.model)
    rows = measured(arguments.data, model, arguments.part, arguments.members, arguments.steps)
    if arguments.part == "test":
        facts = {
            "data": arguments.data,
            "split": dataset.SOURCES[arguments.data].split,
            "members": arguments.members,
            "sampling": asdict(model.sampling),
            "parameters": model.parameters,
        }
        name = arguments.data if model.name in ("erainterim", "t2m") else model.name
        write(f"weather-{name}", seeds=[0], data=facts, results=rows)


if __name__ == "__main__":
    main()
