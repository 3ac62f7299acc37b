r"""Widths of forecasts: factors of a model's residuals about its linear forecast, fitted to the validation part alone.

    SCIFLOW_DATA=... python benchmarks/weather_widths.py eraint --model erainterim -o runs/erainterim-widths
    SCIFLOW_DATA=... python benchmarks/weather_widths.py era5_t2m --model runs/gaussian/t2m -o runs/t2m-widths

Every start of the validation part, 16 members each as the model made them before it had widths. A factor of each
variable, or of each variable and lead, is fitted to one half of the part (blocks of 30 days by turns; of a day, for
hours) and judged on the other, by the ratio of its fair CRPS to that without a factor. The kind of the lower mean is
fitted to the whole part and stored in the model, if it gains on both halves: else the gain is noise, and no model is
written. ``results/weather-widths-<data>.json`` has the ratios and the factors; the test part is not touched
(`weather.py` measures the model on it).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, cast

import torch
from fields import LEADS, MEMBERS
from record import write
from torch import Tensor
from weather import ensembles, following

import sciflow
from sciflow.domains.fields import dataset, metrics, scores
from sciflow.domains.fields.forecaster import Forecaster
from sciflow.model import Model


def with_widths(model: Model, widths: Tensor | None) -> Model:
    """The model with other factors, ``[leads, V]``."""
    old = cast(Forecaster, model.adapter)
    rows = (
        None if widths is None else tuple(tuple(round(w, 4) for w in r) for r in widths.tolist())
    )
    network = {"name": old.network_name, **old.network_options}
    coding = replace(old.forecast, widths=rows)
    return replace(model, adapter=Forecaster(coding, old.process.config(), network))


def deviations(model: Model, name: str, part: str, members: int) -> tuple[Tensor, Tensor]:
    """Members ``[B, M, K, V, Y, X]`` and truth ``[B, K, V, Y, X]`` less the linear forecast, NaN beyond the part."""
    adapter = cast(Forecaster, model.adapter)
    coding, box = adapter.forecast, adapter.forecast.box
    whole, here = dataset.record(name), dataset.record(f"{name}:{part}")
    known = adapter.given(whole, f"{str(here.time[0])[:10]}/{str(here.time[-1])[:10]}")
    known = {n: v[:-1] for n, v in known.items()}
    starts = known["time"].numpy().astype("datetime64[m]")
    base = coding.fields(coding.base(known["past"], known["time"]), box.times(starts, box.leads))
    truth = following(whole, here, starts.astype("datetime64[ns]"), box.leads)
    made = torch.cat([ensemble for _, ensemble in ensembles(model, known, members, None)])
    return made - base.unsqueeze(1), truth - base


def by_kind(deviation: Tensor, miss: Tensor, area: Tensor) -> dict[str, Tensor]:
    """Factors ``[K, V]`` of both kinds; that of a variable is the mean over its leads."""
    each = scores.width(deviation, miss, area)
    return {"variable and lead": each, "variable": each.mean(0).expand_as(each)}


def crps(deviation: Tensor, miss: Tensor, area: Tensor, widths: Tensor) -> Tensor:
    """Fair CRPS by lead and variable."""
    there = torch.isfinite(miss).flatten(2).any(2).all(1)  # the same starts at every lead
    wide = deviation[there] * widths[:, :, None, None]
    return metrics.average(scores.crps_map(wide, miss[there]), area, 2).mean(0)


def main() -> None:
    """Fit the widths of a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=list(LEADS))
    parser.add_argument("--model", default="erainterim", help="a name or a folder")
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("-o", "--output", required=True, help="folder of the model with widths")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = with_widths(sciflow.load(arguments.model), None)
    box = cast(Forecaster, model.adapter).forecast.box
    found = deviations(model, arguments.data, "validate", arguments.members)
    place = torch.arange(len(found[0]))
    second = place // (30 if box.step == 24 else 24) % 2 == 1
    ratios: dict[str, list[float]] = {}
    for fitted, judged in ((~second, second), (second, ~second)):
        one, other = ([x[half] for x in found] for half in (fitted, judged))
        plain = crps(*other, box.area, torch.ones(len(box.leads), len(box.variables)))
        for kind, widths in by_kind(*one, box.area).items():
            ratio = crps(*other, box.area, widths) / plain
            ratios.setdefault(kind, []).append(float(ratio.mean()))
    means = {kind: sum(values) / len(values) for kind, values in ratios.items()}
    kind = min(means, key=means.__getitem__)
    widths = by_kind(*found, box.area)[kind]
    for k, lead in enumerate(box.leads):
        print(
            f"{lead * box.step:4g} h ",
            {v: round(float(w), 3) for v, w in zip(box.variables, widths[k], strict=True)},
        )
    print(f"ratio of fair CRPS on the other half: {ratios}; a factor by {kind}")
    rows: list[dict[str, Any]] = [
        {"variable": v, "lead_hours": lead * box.step, "width": round(float(widths[k, j]), 4)}
        for k, lead in enumerate(box.leads)
        for j, v in enumerate(box.variables)
    ]
    facts = {"data": arguments.data, "part": dataset.SOURCES[arguments.data].split["validate"]}
    gains = max(ratios[kind]) < 1
    facts |= {"members": arguments.members, "halves": ratios, "by": kind, "kept": gains}
    write(f"weather-widths-{arguments.data}", seeds=[0], data=facts, results=rows)
    if gains:
        with_widths(model, widths).save(arguments.output)


if __name__ == "__main__":
    main()
