"""The table of generic graphs: samples under every metric, beside published figures, the noise floor and the copies.

    SCIFLOW_DATA=... python benchmarks/graphs.py --model community-small -n 400
    SCIFLOW_DATA=... python benchmarks/graphs.py --model gdss_community_small.pth -n 120

A model is a shipped one, the folder of a run, or a checkpoint of GDSS's authors, which is imported and sampled as they
do. The graphs are judged against the test set in draws of its size (the published figures are of one such draw), one
seed after the other; --calls adds the figures by number of steps.
Results go to ``benchmarks/results/graphs-<model>.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from record import write

import sciflow
from sciflow.domains.molecules.gdss import import_weights
from sciflow.domains.molecules.generic import Graphs
from sciflow.domains.molecules.generic.metrics import DISTANCES
from sciflow.runtime.device import keep_memory
from sciflow.runtime.generate import Generation

SHARES = ("connected", "unique", "copies", "valid", "valid_unique_novel")

# Degree, clustering, orbit MMD of one draw as large as the test set: table 1 of arXiv:2202.02514.
PUBLISHED = {
    "ego_small": {
        "GraphRNN": (0.090, 0.220, 0.003),
        "EDP-GNN": (0.052, 0.093, 0.007),
        "GDSS": (0.021, 0.024, 0.007),
    },
    "community_small": {
        "GraphRNN": (0.080, 0.120, 0.040),
        "EDP-GNN": (0.053, 0.144, 0.026),
        "GDSS": (0.045, 0.086, 0.007),
    },
    "enzymes": {
        "GraphRNN": (0.017, 0.062, 0.046),
        "EDP-GNN": (0.023, 0.268, 0.082),
        "GDSS": (0.026, 0.061, 0.009),
    },
    "grid": {
        "GraphRNN": (0.064, 0.043, 0.021),
        "EDP-GNN": (0.455, 0.238, 0.328),
        "GDSS": (0.111, 0.005, 0.070),
    },
}


def published(data: str) -> dict[str, dict[str, float]]:
    """Published rows of a data set, with their mean."""
    rows = {}
    for name, values in PUBLISHED.get(data, {}).items():
        rows[name] = dict(zip(("degree", "clustering", "orbit"), values, strict=True))
        rows[name]["average"] = round(statistics.fmean(values), 4)
    return rows


def load(name: str) -> sciflow.Model:
    """Load a model, or import a checkpoint of GDSS's authors."""
    return import_weights(name) if name.endswith(".pth") else sciflow.load(name)


def judged(generation: Generation, data: str) -> dict[str, Any]:
    """Generate and judge; returns settings, figures and CPU seconds."""
    start = time.process_time()
    graphs = [graph for batch in generation.batches() for graph in batch]
    seconds = time.process_time() - start
    metrics = Graphs.metrics(
        graphs, Graphs.read(f"{data}:test").objects, Graphs.read(f"{data}:train").objects
    )
    print(
        f"\nseed {generation.seed}: {seconds:.0f} CPU s for {len(graphs)}\n{metrics.to_text()}",
        flush=True,
    )
    return {
        "seed": generation.seed,
        "settings": generation.settings(),
        "cpu_seconds_per_1000": seconds / len(graphs) * 1000,
        **metrics.summary(),
    }


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the runs of each figure, and lowest and highest draw."""
    figures = {}
    for name in (*SHARES, *DISTANCES):
        found = [run["figures"][name] for run in runs]
        values = [figure["value"] for figure in found if figure["value"] is not None]
        spreads = [end for figure in found for end in figure["spread"] or ()]
        figures[name] = {
            "mean": statistics.fmean(values) if values else None,
            "lowest": min(spreads, default=None),
            "highest": max(spreads, default=None),
            **{key: found[0][key] for key in ("reference", "floor", "floor_spread", "note")},
        }
    return figures


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="community-small")
    parser.add_argument("--data", default="community_small")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--norm", help="norm of the Langevin step: sample, batch or path")
    parser.add_argument(
        "--calls", type=int, nargs="*", default=[], help="numbers of steps to compare"
    )
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--name", help="name of the result file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    model = load(args.model)
    solver = model.sampling.solver
    if args.norm and isinstance(solver, dict):
        solver = solver | {"norm": args.norm}

    def run(seed: int, steps: int | None) -> dict[str, Any]:
        plan = Generation.of(
            model, args.n, seed, steps, solver, batch_size=args.batch_size, device="cpu"
        )
        return judged(plan, args.data)

    runs: list[dict[str, Any]] = []
    results: dict[str, Any] = {"model": model.name, "n": args.n, "parameters": model.parameters}
    for seed in args.seeds:
        runs.append(run(seed, args.steps))
        results |= {
            "figures": over_seeds(runs),
            "published": published(args.data),
            "cpu_seconds_per_1000": min(r["cpu_seconds_per_1000"] for r in runs),
            "runs": runs,
        }
        path = save(args, model, results)
    results["by_steps"] = {}
    for steps in args.calls:
        results["by_steps"][str(steps)] = over_seeds([run(args.seeds[0], steps)])
        path = save(args, model, results)
    print(f"\nwritten to benchmarks/results/{path.name}")


def save(args: argparse.Namespace, model: sciflow.Model, results: dict[str, Any]) -> Path:
    """Write what there is so far."""
    return write(
        args.name or f"graphs-{model.name.replace('_', '-')}",
        seeds=args.seeds,
        data={
            "reference": f"{args.data}:test",
            "graphs": len(Graphs.read(f"{args.data}:test").objects),
            "train": len(Graphs.read(f"{args.data}:train").objects),
        },
        results=results,
    )


if __name__ == "__main__":
    main()
