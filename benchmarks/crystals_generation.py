"""Generation from nothing: validity, distances to real crystals, novelty and coverage of what a model makes.

    SCIFLOW_DATA=... python benchmarks/crystals_generation.py --model mp20-ab-initio -n 1000 --steps 50
    SCIFLOW_DATA=... python benchmarks/crystals_generation.py --model runs/mp20-ab-initio --split val -n 200 --covered 0

Figures are those of `metrics.evaluate` over all that was generated, against one side of MP-20, novelty against its
training file (58 % of the training set of the published split). Beside distances stands the floor, the same for
training crystals; beside shares what the reference has. ``--covered`` crystals are set against as many of the reference
for COV-R and COV-P, and as many training crystals as the floor of both. Settings are chosen on ``--split val``.

``--save`` keeps the crystals, for ``crystals_stability.py generated``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from record import RESULTS, write

from sciflow.domains.crystals import Crystal, coverage, datasets, files, metrics
from sciflow.model import load
from sciflow.runtime.config import toml_value
from sciflow.runtime.generate import generate


def chosen(crystals: list[Crystal], count: int, seed: int) -> list[Crystal]:
    """A random choice."""
    return [crystals[k] for k in np.random.default_rng(seed).permutation(len(crystals))[:count]]


def covered(
    made: list[Crystal], reference: list[Crystal], train: list[Crystal], count: int
) -> dict[str, Any]:
    """Coverage of some of the reference by some of what was made, and by training crystals."""
    real = coverage.Prints.of(chosen(reference, count, 0), 1)
    found = {}
    for name, crystals in (
        ("model", made[:count]),
        ("training crystals", chosen(train, count, 1)),
    ):
        found[name] = asdict(coverage.coverage(coverage.Prints.of(crystals, 1), real, "mp20"))
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mp20-ab-initio", help="a name or a folder")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="*", help="numbers of steps; the model's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--covered", type=int, default=300, help="crystals for the coverage")
    parser.add_argument("--solver", help="instead of the model's own")
    parser.add_argument("--grid", help="instead of the model's own")
    parser.add_argument("--elements", help="nothing beyond these elements")
    parser.add_argument("--save", help="file for the crystals of the last number of steps")
    parser.add_argument("--out", help="name of the result file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    reference = datasets.read(f"mp20:{args.split}").objects
    train = datasets.read("mp20:train").objects
    solver = toml_value(args.solver) if args.solver else None
    grid = toml_value(args.grid) if args.grid else None
    options = {"elements": args.elements} if args.elements else None
    name = args.out or f"crystals-{model.name}"
    data = {"reference": f"mp20:{args.split}", "structures": len(reference)}
    data |= {"train": "mp20:train", "train_structures": len(train), "train_is_subset": True}
    results: dict[str, Any] = {}
    if (RESULTS / f"{name}.json").exists():
        results = json.loads((RESULTS / f"{name}.json").read_text())["results"]
    for steps in args.steps or [model.sampling.steps]:
        start = time.process_time()
        made: list[Crystal] = generate(
            model,
            args.n,
            args.seed,
            steps,
            solver=solver,
            grid=grid,
            device="cpu",
            options=options,
        ).objects
        seconds = time.process_time() - start
        found = metrics.evaluate(made, reference, train, workers=1)
        row = found.summary()
        row.pop("histograms")
        row |= {"steps": steps, "cpu_seconds_sampling": seconds}
        row |= {"solver": solver or model.sampling.solver, "grid": grid or model.sampling.grid}
        label = f"{steps} steps" + f", {args.split}" * (args.split != "test")
        label += f", {args.solver}" * bool(args.solver) + f", {args.grid}" * bool(args.grid)
        label += f", of {args.elements}" * bool(args.elements)
        label += f", seed {args.seed}" * bool(args.seed)
        print(f"{label}: {seconds:.0f} CPU s of sampling\n{found.to_text()}\n", flush=True)
        results[label] = row
        if args.save:
            files.write(made, args.save)
        write(name, seeds=[args.seed], data=data, results=results)
        if args.covered and steps == (args.steps or [steps])[-1]:
            row["coverage"] = covered(made, reference, train, args.covered)
            print(row["coverage"], flush=True)
            write(name, seeds=[args.seed], data=data, results=results)


if __name__ == "__main__":
    main()
