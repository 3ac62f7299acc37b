"""Rollouts and ensembles on the Kuramoto-Sivashinsky equation: how far a small model goes, and whether it knows.

    python benchmarks/fields_rollout.py

Writes ``results/fields_rollout.json``. Length 64, 64 points, saved at each unit of time; the first 32 units of every
trajectory are left out, since they are not on the attractor. Training on 200 trajectories (seed 0), test on the first
64 units of 32 others (seed 1). A Lyapunov time is about 11 units.

| row | what |
|---|---|
| blocks | a model of 8 units, rolled out 8 times: 8 draws of the sampler |
| whole | a model of all 64 units at once, of about the same seconds of training: 8 draws |
| deep | models of 8 units of three seeds, one step of the solver each |
| dropout | the first of them with a tenth of its channels left out, 8 times, one step each |

Correlation time: last time up to which the correlation with the truth stays above 0.8, of the ensemble mean, and of one
member. CRPS is the fair one, by time; spread-skill is right at 1.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from record import write
from torch import Tensor

from sciflow.domains.fields import files, metrics, scores
from sciflow.domains.fields.physics import KuramotoSivashinsky
from sciflow.domains.fields.rollout import ensemble, rollout, thinned
from sciflow.domains.fields.trajectories import to_xarray
from sciflow.model import Model
from sciflow.runtime.config import load
from sciflow.runtime.training import run

CONFIG = Path(__file__).parent / "configs" / "kuramoto.toml"
SPIN, BLOCK, BLOCKS = 32, 8, 8
LEADS = (4, 8, 16, 32, 64)


def pieces(seed: int, count: int, frames: int, each: int, long: int) -> xr.Dataset:
    """Pieces of trajectories on the attractor, `each` from every one."""
    law = KuramotoSivashinsky(frames=SPIN + long, horizon=float(SPIN + long))
    u = law.simulate(seed, count)["u"][:, SPIN:]
    cut = torch.cat([u[:, k * frames : (k + 1) * frames + 1] for k in range(each)])
    return to_xarray(replace(law, frames=frames, horizon=float(frames)), {"u": cut})


def trained(data: Path, folder: Path, seed: int, steps: int) -> Model:
    """Train the model of a file."""
    settings = [
        f"data.train={data}",
        f"folder={folder}",
        f"seed={seed}",
        f"recipe.steps={steps}",
        f"recipe.checkpoint_every={steps}",
    ]
    return run(load(CONFIG, settings))


def figures(made: list[xr.Dataset], truth: Tensor) -> dict[str, Any]:
    """Scores of an ensemble, number i of trajectory i modulo their number."""
    count = len(truth)
    box = torch.from_numpy(np.stack([one["u"].values for one in made]))
    members = box.unflatten(0, (-1, count)).transpose(0, 1)[:, :, 1:]
    times = torch.arange(1, truth.shape[1], dtype=torch.float64)
    real = truth[:, 1:]
    mean = members.mean(1)
    found: dict[str, Any] = {
        "members": members.shape[1],
        "correlation_time_of_mean": float(metrics.correlation_time(mean, real, times, 1).mean()),
        "correlation_time_of_one": float(
            metrics.correlation_time(members[:, 0], real, times, 1).mean()
        ),
        "deviation_at_the_end": float(members[:, :, -8:].std()),
    }
    for lead in LEADS:
        at, there = members[:, :, lead - 1], real[:, lead - 1]
        found[f"at {lead}"] = {
            "fair_crps": float(scores.crps(at, there).mean()),
            "rmse_of_mean": float((at.mean(1) - there).square().mean().sqrt()),
            "spread_skill": scores.spread_skill(at, there).ratio,
        }
    return found


def main() -> None:
    """Train, roll out, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500, help="of the models of 8 units")
    parser.add_argument("--whole", type=int, default=500, help="steps of the model of 64 units")
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--test", type=int, default=32)
    parser.add_argument("--keep", help="folder for the models")
    given = parser.parse_args()
    torch.set_num_threads(1)
    held = pieces(1, given.test, BLOCK * BLOCKS, 1, BLOCK * BLOCKS)
    truth = torch.from_numpy(held["u"].values)
    results: dict[str, Any] = {"deviation_of_the_data": float(truth.std())}
    still = truth[:, :1].expand_as(truth)
    times = torch.arange(1, truth.shape[1], dtype=torch.float64)
    results["persistence"] = {
        "correlation_time": float(metrics.correlation_time(still[:, 1:], truth[:, 1:], times, 1).mean())
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = Path(given.keep or place)
        folder.mkdir(parents=True, exist_ok=True)
        seconds = {}

        def model(name: str, frames: int, each: int, seed: int, steps: int) -> Model:
            data = folder / f"kuramoto{frames}.nc"
            if not data.exists():
                files.write(pieces(0, given.train, frames, each, 96), data)
            begin = time.process_time()
            found = trained(data, folder / name, seed, steps)
            seconds[name] = time.process_time() - begin
            return found

        blocks = [model(f"blocks{k}", BLOCK, 12, k, given.steps) for k in range(3)]
        whole = model("whole", BLOCK * BLOCKS, 1, 0, given.whole)
        settings: dict[str, Any] = {"device": "cpu"}
        mean = {**settings, "steps": 1, "solver": "ddim"}
        made = {
            "blocks": lambda: rollout(blocks[0], held, BLOCKS, 8, **settings),
            "whole": lambda: rollout(whole, held, 1, 8, **settings),
            "deep": lambda: ensemble(blocks, held, BLOCKS, **mean),
            "dropout": lambda: ensemble(
                [thinned(blocks[0], 0.1, k) for k in range(8)], held, BLOCKS, **mean
            ),
        }
        for name, make in made.items():
            begin = time.process_time()
            results[name] = figures(make(), truth)
            results[name]["cpu_s"] = time.process_time() - begin
            print(name, results[name], flush=True)
            if name == "blocks":
                files.write(held, folder / "truth.nc")
    facts = {
        "equation": KuramotoSivashinsky().config(),
        "train": given.train,
        "test": given.test,
        "steps": given.steps,
        "steps_whole": given.whole,
        "train_cpu_s": seconds,
        "parameters": blocks[0].parameters,
    }
    write("fields_rollout", seeds=[0, 1, 2], data=facts, results=results)


if __name__ == "__main__":
    main()
