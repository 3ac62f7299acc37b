"""Tables of the fields domain: forecasts of the reanalysis by the baselines, and the linear baseline of Burgers.

    SCIFLOW_DATA=... python benchmarks/fields.py weather
    python benchmarks/fields.py burgers
    python benchmarks/fields.py model --model runs/burgers
    python benchmarks/fields.py samplings --model burgers
    python benchmarks/fields.py spread --model burgers

`weather` writes ``results/fields_weather.json``: ERA-Interim (train 2000-2007, test 2009-2010) and hourly ERA5 t2m
(train 1 to 21 March 2019, test 25 to 31 March), areas as weights, every start of the test period. CRPS of the
linear-Gaussian forecast is that of its normal law; beside it the fair CRPS and the spread-skill ratio of 16 members
drawn from it. ERA-Interim's forecast is the published one (80 components of the start's anomalies); for the short t2m
record the number of components, and whether the end or the change is regressed, are chosen on the validation days, and
the deviations are calibrated there.
`burgers` writes ``results/fields_burgers_linear.json``: kernel ridge regression from start and force to the trajectory,
and dynamic modes under the force.
`model` writes ``results/fields_<model>.json``: a model of trajectories on 100 held-out ones, 8 samples of each, by its
own solver at 2, 5 and 10 steps.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import xarray as xr
from record import write
from torch import Tensor

import sciflow
from sciflow.domains.fields import Fields, dataset, metrics, scores, simulation
from sciflow.domains.fields.baselines import Climatology, DynamicModes, Forecast, LinearGaussian
from sciflow.domains.fields.physics import Burgers
from sciflow.domains.fields.report import Metrics
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import Generation
from sciflow.streams import Streams

LEADS = {"eraint": (1, 2, 3, 5), "era5_t2m": (1, 3, 6, 12)}
MEMBERS = 16
_SHORT = {"name": "log-snr", "start": 0.02, "stop": 0.98}
SAMPLINGS: tuple[tuple[str | dict[str, Any], str | dict[str, Any]], ...] = (
    ("ddim", {"name": "power", "power": 1.5}),
    ("ddim", "uniform"),
    ("dpm++2m", "uniform"),
    ("dpm++2m", _SHORT),
    ({"name": "dpm++sde", "eta": 0.5}, "uniform"),
    ({"name": "dpm++sde", "eta": 0.5}, _SHORT),
)


def mean(values: Tensor, weight: Tensor) -> float:
    """Mean over samples and area."""
    return float(metrics.average(values, weight).mean())


@dataclass(frozen=True)
class Linear:
    """A linear-Gaussian forecast of anomalies: from `components` of the start to the end, or to the change."""

    components: int = 80
    change: bool = False
    calibrated: bool = False


def fitted(
    how: Linear, train: tuple[Tensor, Tensor], scale: Tensor, held: tuple[Tensor, Tensor] | None
) -> LinearGaussian:
    """Fit to pairs (start, end); calibrate on held-out ones if asked."""
    starts, ends = train
    model = LinearGaussian.fit(
        starts, ends - starts if how.change else ends, how.components, scale
    )
    if how.calibrated and held is not None:
        model = model.calibrated(held[0], held[1] - held[0] if how.change else held[1])
    return model


def law_of(how: Linear, model: LinearGaussian, starts: Tensor) -> Forecast:
    """Forecast of the end."""
    law = model.predict(starts)
    return Forecast(law.mean + starts, law.std) if how.change else law


def pairs(record: dataset.Record, climate: Climatology, lead: int) -> tuple[Tensor, Tensor]:
    """Anomalies at the starts and at the ends."""
    anomalies = record.values - climate.mean(record.time)
    starts, ends = record.pairs(lead)
    return anomalies[starts], anomalies[ends]


def chosen(
    name: str,
    train: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    scale: Tensor,
    weight: Tensor,
) -> Linear:
    """The forecast with the least CRPS in the validation part; for ERA-Interim the published one."""
    if name == "eraint":
        return Linear()
    found = {}
    for how in (Linear(n, change, True) for n in (5, 10, 20, 40, 80) for change in (False, True)):
        law = law_of(how, fitted(how, train, scale, held), held[0])
        found[how] = mean(scores.crps_gaussian(law.mean, law.std, held[1]), weight)
    return min(found, key=lambda how: found[how])


def forecast_rows(
    name: str, lead: int, records: dict[str, dataset.Record], climate: Climatology
) -> list[dict[str, Any]]:
    """One row for each variable at a lead."""
    test, weight = records["test"], records["train"].weight
    train, held, asked = (pairs(records[k], climate, lead) for k in ("train", "validate", "test"))
    scale = weight.sqrt() / train[0].std((0, 2, 3))[:, None, None]
    how = chosen(name, train, held, scale, weight)
    begin = time.process_time()
    model = fitted(how, train, scale, held)
    seconds = time.process_time() - begin
    law = law_of(how, model, asked[0])
    drawn = model.members(asked[0], MEMBERS, Streams.range(0, 0, len(asked[0]), "benchmark"))
    if how.change:
        drawn = drawn + asked[0].unsqueeze(1)
    starts, ends = test.pairs(lead)
    moved = (test.values[starts] - test.values[ends]).abs()
    rows = []
    for k, variable in enumerate(test.variables):
        y, mu = asked[1][:, k], law.mean[:, k]
        spread = scores.spread_skill(drawn[:, :, k], y, weight)
        seasons = [
            scores.crps(climate.members(test.time[j])[:, :, k], test.values[j : j + 1, k], weight)
            for j in ends
        ]
        acc = metrics.anomaly_correlation(mu, y, torch.zeros_like(y), weight)
        rows.append(
            {
                "data": name,
                "variable": variable,
                "units": test.units[k],
                "lead_hours": lead * test.step,
                "starts": len(starts),
                "persistence": {
                    "mae": mean(moved[:, k], weight),
                    "rmse": mean(moved[:, k].square(), weight) ** 0.5,
                },
                "climatology": {
                    "fair_crps": float(torch.cat(seasons).mean()),
                    "rmse": mean(y.square(), weight) ** 0.5,
                },
                "linear_gaussian": {
                    **asdict(how),
                    "crps": mean(scores.crps_gaussian(mu, law.std[k], y), weight),
                    "rmse": mean((mu - y).square(), weight) ** 0.5,
                    "acc": float(acc.mean()),
                    "fair_crps_16": float(scores.crps(drawn[:, :, k], y, weight).mean()),
                    "spread_skill_16": spread.ratio,
                    "fit_cpu_s": seconds,
                },
            }
        )
    return rows


def weather() -> None:
    """Both reanalyses."""
    rows = []
    for name, leads in LEADS.items():
        records = {part: dataset.record(f"{name}:{part}") for part in dataset.SOURCES[name].split}
        # A month has one season: its climatology is the mean of the hour.
        climate = Climatology.fit(records["train"], 7 if name == "eraint" else None)
        for lead in leads:
            rows += (new := forecast_rows(name, lead, records, climate))
            for row in new:
                print(row["variable"], row["lead_hours"], row["linear_gaussian"], flush=True)
                print("    ", row["persistence"], row["climatology"], flush=True)
    splits = {name: dataset.SOURCES[name].split for name in LEADS}
    write("fields_weather", seeds=[0], data=splits, results=rows)


def burgers(count: int = 2000, held: int = 100) -> None:
    """Kernel ridge regression on Burgers."""
    equation = Burgers()
    begin = time.process_time()
    data = equation.simulate(0, count + held)
    simulated = time.process_time() - begin
    u0 = data["u"][:, 0]
    inputs = torch.cat((u0, data["f"].flatten(1)), dim=1)
    targets = data["u"][:, 1:]
    begin = time.process_time()
    model = LinearGaussian.fit(inputs[:count], targets[:count], None)
    fitted = time.process_time() - begin
    truth = targets[count:]
    law = model.predict(inputs[count:])
    modes = DynamicModes.fit(data["u"][:count], data["f"][:count])
    lasting = u0[count:, None].expand_as(truth)
    level = targets[:count].mean(0).expand_as(truth)
    carried = modes.predict(u0[count:], data["f"][count:])
    table = {
        "linear": law.mean,
        "dynamic modes": carried,
        "persistence": lasting,
        "training mean": level,
    }
    results: dict[str, Any] = {
        name: {
            "mse": float(metrics.mse(p, truth).mean()),
            "nrmse": float(metrics.nrmse(p, truth).mean()),
            "l_inf": float(metrics.l_inf(p, truth).mean()),
        }
        for name, p in table.items()
    }
    results["linear"]["crps"] = float(scores.crps_gaussian(law.mean, law.std, truth).mean())
    results |= {"data_std": float(targets.std()), "simulate_cpu_s": simulated, "fit_cpu_s": fitted}
    for name, value in results.items():
        print(name, value, flush=True)
    write(
        "fields_burgers_linear",
        seeds=[0],
        data={"equation": equation.config(), "train": count, "test": held},
        results=results,
    )


def ensembles(
    model: Model, held: xr.Dataset, members: int, steps: int | None = None
) -> tuple[Metrics, float]:
    """Judge some samples of each trajectory; also the CPU seconds of one."""
    truth = [held.isel(sample=k, drop=True) for k in range(held.sizes["sample"])]
    made, seconds = drawn(model, held, members, steps)
    return Fields.metrics(made, truth), seconds


def drawn(
    model: Model, held: xr.Dataset, members: int, steps: int | None = None
) -> tuple[list[xr.Dataset], float]:
    """Samples of each trajectory, the trajectories by turns; and the CPU seconds of one."""
    count = members * held.sizes["sample"]
    plan = Generation.of(model, count, 0, steps, device="cpu", options={"given": held})
    begin = time.process_time()
    made = [one for batch in plan.batches() for one in batch]
    return made, (time.process_time() - begin) / count


def trained(name: str, data: str = "burgers:2000-2100", members: int = 8) -> None:
    """Samples of a model, against what truly followed."""
    model = sciflow.load(name)
    held = simulation.simulated(data)
    results: dict[str, Any] = {}
    for steps in (2, 5, 10):
        judged, seconds = ensembles(model, held, members, steps)
        figures = {name: figure.value for name, figure in judged.figures.items()}
        persistence = {name: figure.reference for name, figure in judged.figures.items()}
        results[f"{steps} steps"] = {**figures, "cpu_s_per_trajectory": seconds}
        results["persistence"] = {k: v for k, v in persistence.items() if v is not None}
        print(f"{steps} steps, {seconds:.4f} CPU s each\n{judged.to_text()}", flush=True)
    facts = {"held_out": data, "members": members, "parameters": model.parameters}
    sampling = asdict(model.sampling)
    write(f"fields_{model.name}", seeds=[0], data={**facts, "sampling": sampling}, results=results)


def samplings(name: str, data: str = "burgers:2200-2600", members: int = 4) -> None:
    """Solvers and grids of ten calls on validation trajectories; see the module."""
    model = sciflow.load(name)
    held = simulation.simulated(data)
    rows: list[dict[str, Any]] = []
    for solver, grid in SAMPLINGS:
        one = Sampling(solver, grid, 10)
        judged, seconds = ensembles(replace(model, sampling=one), held, members)
        kept = ("nrmse", "ensemble_nrmse", "crps", "spread_skill")
        row = {"solver": solver, "grid": grid, **{key: judged[key] for key in kept}}
        rows.append({**row, "cpu_s_per_trajectory": seconds})
        print(rows[-1], flush=True)
    fit = [row for row in rows if 0.9 <= row["spread_skill"] <= 1.1]
    chosen = (
        min(fit, key=lambda row: row["crps"])
        if fit
        else min(rows, key=lambda row: abs(row["spread_skill"] - 1))
    )
    print("chosen:", chosen["solver"], chosen["grid"])
    facts = {"validation": data, "members": members, "calls": 10}
    results = {"rows": rows, "chosen": {key: chosen[key] for key in ("solver", "grid")}}
    write(f"fields_{model.name}_samplings", seeds=[0], data=facts, results=results)


def spread(name: str, members: int = 8) -> None:
    """How sure the spread-skill is; see the module."""
    model = sciflow.load(name)
    results = {}
    for data in ("burgers:2000-2100", "burgers:2200-2600"):
        held = simulation.simulated(data)
        made, _ = drawn(model, held, members)
        box = torch.stack([torch.from_numpy(one["u"].values[1:]) for one in made])
        ensemble = box.unflatten(0, (members, -1)).transpose(0, 1)
        error = ensemble.mean(1) - torch.from_numpy(held["u"].values[:, 1:])
        both = torch.stack((ensemble.var(1).flatten(1).mean(1), error.square().flatten(1).mean(1)))
        count = both.shape[1]
        index = torch.randint(count, (2000, count), generator=torch.Generator().manual_seed(0))
        mean = torch.cat((both.mean(1, keepdim=True), both[:, index].mean(2)), 1)
        ratio = ((members + 1) / members * mean[0] / mean[1]).sqrt()
        low, high = (float(q) for q in ratio[1:].quantile(torch.tensor([0.05, 0.95])))
        results[data] = {"spread_skill": float(ratio[0]), "5_95": [low, high]}
        print(data, results[data], flush=True)
    facts = {"members": members, "sampling": asdict(model.sampling)}
    write(f"fields_{model.name}_spread", seeds=[0], data=facts, results=results)


def main() -> None:
    """Run the tables named."""
    tables: dict[str, Any] = {"weather": weather, "burgers": burgers}
    models = {"model": trained, "samplings": samplings, "spread": spread}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=[*tables, *models])
    parser.add_argument(
        "--model", default="burgers", help="for the last three: a name or a folder"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.table in models:
        models[arguments.table](arguments.model)
    else:
        tables[arguments.table]()


if __name__ == "__main__":
    main()
