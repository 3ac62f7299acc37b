"""Super-resolution of Burgers: a model's trajectories brought to grids that no training data had.

    python benchmarks/fields_superresolution.py --base burgers --model burgers-superresolution

Writes ``results/fields_superresolution.json``. Mean square error (first frame left out) and nRMSE on the fine grid, 50
held-out trajectories (2000 to 2049 of seed 0), solved on 256 points and saved on each grid. Both models were trained on
32 steps x 64 points and coarser ones; 64 x 128 and 128 x 256 are beyond. The models know the start and the force on
the fine grid; interpolations begin with the first frame of the coarse grid.

| row | what |
|---|---|
| linear, spectral | interpolation of the base model's trajectories in time and space |
| zero-shot | the base model on the fine grid itself, with its own statistics |
| model | the model of super-resolution from the base model's trajectories; spread over three seeds |
| ... of the truth | the same from the true coarse trajectory: what the refinement itself costs |
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from record import write
from torch import Tensor

import sciflow
from sciflow.domains.fields import metrics, superresolution
from sciflow.domains.fields.layout import START, Layout
from sciflow.domains.fields.physics import Burgers
from sciflow.domains.fields.trajectories import SAMPLE, to_xarray
from sciflow.runtime.generate import generate

FIRST = 2000


def errors(found: Tensor, truth: Tensor) -> dict[str, float]:
    """Errors of ``[B, time, x]`` without the first frame."""
    return {
        "mse": float(metrics.mse(found, truth).mean()),
        "nrmse": float(metrics.nrmse(found, truth).mean()),
        "l_inf": float(metrics.l_inf(found, truth).mean()),
    }


def boxes(made: list[xr.Dataset]) -> Tensor:
    """Generated frames ``[B, time, x]``."""
    return torch.from_numpy(np.stack([one["u"].values[1:] for one in made]))


def interpolated(coarse: xr.Dataset, times: int, how: Any) -> Tensor:
    """Interpolate `times` levels up."""
    layout = Layout.of(coarse[["u"]], given=(), periodic=())
    values = layout.read(coarse)
    start, fields = values[START], values["fields"]
    for k in range(times):
        if k:  # the first frame of the level before, refined like the others
            start = superresolution.upsampled(layout, start, start.unsqueeze(2))[:, :, 0]
        fields = how(layout, start, fields)
    return fields[:, 0]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="burgers")
    parser.add_argument("--model", default="burgers-superresolution")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--levels", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    base, model = sciflow.load(given.base), sciflow.load(given.model)
    law, count = Burgers(), given.count

    def truth(times: int) -> xr.Dataset:
        fine = replace(law, points=law.points * 2**times, frames=law.frames * 2**times)
        return to_xarray(fine, fine.simulate(0, count, FIRST))

    settings: dict[str, Any] = {"device": "cpu", "batch_size": 50}
    here = truth(0)
    made = generate(base, count, 0, options={"given": here}, **settings).objects
    coarse = xr.concat(made, SAMPLE)
    results: dict[str, Any] = {
        "base grid": {"base model": errors(boxes(made), torch.from_numpy(here["u"].values[:, 1:]))}
    }
    print(results, flush=True)
    data = {
        "equation": law.config(),
        "held_out": [FIRST, FIRST + count],
        "base": {"name": Path(given.base).name, "parameters": base.parameters},
        "model": {"name": Path(given.model).name, "parameters": model.parameters},
    }
    for level in (-1, *range(1, given.levels + 1)):
        rows: dict[str, Any] = {}
        if level < 0:  # a level of training: from every second frame and cell to the base grid
            fine = here
            half = here.isel(time=slice(None, None, 2)).drop_vars(["u0", "f"])
            below = {"the truth": half.coarsen(x=2).mean().drop_vars("interval", errors="ignore")}
        else:
            fine = truth(level)
            below = {"base": coarse, "the truth": here}
        real = torch.from_numpy(fine["u"].values[:, 1:])
        times = abs(level)
        for name, low in below.items():
            of = "" if name == "base" else " of the truth"
            for word, how in (
                ("linear", superresolution.upsampled),
                ("spectral", superresolution.spectral),
            ):
                rows[word + of] = errors(interpolated(low, times, how), real)
            seeds = [0, 1, 2] if name == "base" and level == 1 else [0]
            each, seconds = [], 0.0
            for seed in seeds:
                begin = time.process_time()
                up = superresolution.refine(model, low, fine, times, 1, seed, **settings)
                seconds = time.process_time() - begin
                each.append(errors(boxes(up), real))
            rows["model" + of] = {
                **{k: statistics.mean(e[k] for e in each) for k in each[0]},
                "cpu_s_per_trajectory": seconds / count,
            }
            if len(seeds) > 1:
                rows["model" + of]["mse_spread_over_seeds"] = statistics.stdev(
                    e["mse"] for e in each
                )
        if level == 1:
            grid = {"time": law.frames * 2, "x": law.points * 2}
            shot: Any = replace(base, adapter=base.adapter.on(grid))  # type: ignore[attr-defined]
            zero = generate(shot, count, 0, options={"given": fine}, **settings).objects
            rows["zero-shot"] = errors(boxes(zero), real)
        results[f"{fine.sizes['time'] - 1} x {fine.sizes['x']}"] = rows
        print(level, rows, flush=True)
        write("fields_superresolution", seeds=[0, 1, 2], data=data, results=results)


if __name__ == "__main__":
    main()
