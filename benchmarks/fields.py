"""Tables of the fields domain: forecasts of the reanalysis by the baselines, and the linear baseline of Burgers.

    SCIFLOW_DATA=... python benchmarks/fields.py weather
    python benchmarks/fields.py burgers

`weather` writes ``results/fields_weather.json``: ERA-Interim (train 2000-2007, test 2009-2010) and hourly ERA5 t2m
(train 1 to 21 March 2019, test 25 to 31 March), areas as weights, every start of the test period. CRPS of the
linear-Gaussian forecast is that of its normal law; beside it the fair CRPS and the spread-skill ratio of 16 members
drawn from it.
`burgers` writes ``results/fields_burgers_linear.json``: kernel ridge regression from start and force to the trajectory.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from record import write
from torch import Tensor

from sciflow.domains.fields import dataset, metrics, scores
from sciflow.domains.fields.baselines import Climatology, LinearGaussian
from sciflow.domains.fields.physics import Burgers
from sciflow.streams import Streams

LEADS = {"eraint": (1, 2, 3, 5), "era5_t2m": (1, 3, 6, 12)}
MEMBERS = 16


def mean(values: Tensor, weight: Tensor) -> float:
    """Mean over samples and area."""
    return float(metrics.average(values, weight).mean())


def forecast_row(
    name: str,
    lead: int,
    train: dataset.Record,
    test: dataset.Record,
    climate: Climatology,
    components: int,
) -> list[dict[str, Any]]:
    """One row for each variable at a lead."""
    weight = train.weight
    before, after = (r.values - climate.mean(r.time) for r in (train, test))
    deviation = before.std((0, 2, 3))
    starts, ends = train.pairs(lead)
    begin = time.process_time()
    model = LinearGaussian.fit(
        before[starts], before[ends], components, weight.sqrt() / deviation[:, None, None]
    )
    seconds = time.process_time() - begin
    starts, ends = test.pairs(lead)
    law, truth = model.predict(after[starts]), after[ends]
    drawn = model.members(after[starts], MEMBERS, Streams.range(0, 0, len(starts), "benchmark"))
    moved = (test.values[starts] - test.values[ends]).abs()
    rows = []
    for k, variable in enumerate(test.variables):
        y, mu = truth[:, k], law.mean[:, k]
        spread = scores.spread_skill(drawn[:, :, k], y, weight)
        seasons = [
            scores.crps(climate.members(test.time[j])[:, :, k], test.values[j : j + 1, k], weight)
            for j in ends
        ]
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
                    "components": components,
                    "crps": mean(scores.crps_gaussian(mu, law.std[k], y), weight),
                    "rmse": mean((mu - y).square(), weight) ** 0.5,
                    "acc": float(
                        metrics.anomaly_correlation(mu, y, torch.zeros_like(y), weight).mean()
                    ),
                    "fair_crps_16": float(scores.crps(drawn[:, :, k], y, weight).mean()),
                    "spread_skill_16": spread.ratio,
                    "fit_cpu_s": seconds,
                },
            }
        )
    return rows


def components_of(name: str, climate: Climatology, train: dataset.Record, lead: int) -> int:
    """Number of components with the least CRPS in the validation part; 80 for ERA-Interim, as published."""
    if name == "eraint":
        return 80
    held = dataset.record(f"{name}:validate")
    before, after = (r.values - climate.mean(r.time) for r in (train, held))
    starts, ends = train.pairs(lead)
    begins, finishes = held.pairs(lead)
    found = {}
    for count in (5, 10, 20, 40, 80, 160):
        model = LinearGaussian.fit(before[starts], before[ends], count, train.weight.sqrt())
        law = model.predict(after[begins])
        error = scores.crps_gaussian(law.mean, law.std, after[finishes])
        found[count] = mean(error, train.weight)
    return min(found, key=lambda count: found[count])


def weather() -> None:
    """Both reanalyses."""
    rows = []
    for name, leads in LEADS.items():
        train, test = dataset.record(f"{name}:train"), dataset.record(f"{name}:test")
        # A month has one season: its climatology is the mean of the hour.
        climate = Climatology.fit(train, 7 if name == "eraint" else None)
        for lead in leads:
            count = components_of(name, climate, train, lead)
            rows += forecast_row(name, lead, train, test, climate, count)
            for row in rows[-len(test.variables) :]:
                short = {k: row[k] for k in ("variable", "lead_hours")}
                print(
                    short, {k: round(v, 3) for k, v in row["linear_gaussian"].items()}, flush=True
                )
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
    lasting = u0[count:, None].expand_as(truth)
    level = targets[:count].mean(0).expand_as(truth)
    table = {"linear": law.mean, "persistence": lasting, "training mean": level}
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


def main() -> None:
    """Run the tables named."""
    tables = {"weather": weather, "burgers": burgers}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=list(tables))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables[arguments.table]()


if __name__ == "__main__":
    main()
