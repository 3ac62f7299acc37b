"""The molecules tables: a model's samples under every metric, with the data's own figures and the noise floor beside.

    SCIFLOW_DATA=... python benchmarks/molecules.py --model qm9 -n 10000 --seeds 0 1 2

For each seed n molecules are generated with the model's default settings (or --steps, --solver) and judged against
the held-out molecules. CPU seconds are those of the generating process, all threads together. Results go to
``benchmarks/results/molecules-<model>.json``.
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
from sciflow.domains.molecules import Molecules
from sciflow.domains.molecules.reference import Reference
from sciflow.runtime.device import keep_memory
from sciflow.runtime.generate import Generation

SHARES = (
    "valid",
    "connected",
    "valid_and_connected",
    "unique",
    "novel",
    "aromatic",
    "large_rings",
    "gdss_valid",
    "gdss_unique",
    "gdss_novel",
)
DISTANCES = ("nspdk", "fcd", "gdss_nspdk", "gdss_fcd")


def batch_invariance(model: sciflow.Model, n: int = 100) -> dict[str, int]:
    """Number of molecules of n that are the same for batch sizes 1, 7 and 100."""
    rows = {}
    for size in (1, 7, 100):
        made = sciflow.generate(model, n=n, seed=0, batch_size=size, device="cpu")
        rows[size] = [row["smiles"] for row in Molecules.describe(made.objects)]
    return {f"100 and {size}": sum(map(str.__eq__, rows[100], rows[size])) for size in (1, 7)}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="qm9")
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--solver")
    parser.add_argument("--data", default="qm9", help="data set whose test side is the reference")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", help="name of the result file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()
    model = sciflow.load(args.model)
    reference = Reference(Molecules.read(f"{args.data}:test").objects)
    train = Reference(Molecules.read(f"{args.data}:train").objects)
    runs: list[dict[str, Any]] = []
    for seed in args.seeds:
        generation = Generation.of(model, args.n, seed, args.steps, args.solver, device="cpu")
        wall, cpu = time.perf_counter(), time.process_time()
        mols = [mol for batch in generation.batches() for mol in batch]
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        metrics = Molecules.metrics(mols, reference, train)
        print(
            f"\nseed {seed}: {cpu / args.n * 1000:.1f} CPU s, {wall / args.n * 1000:.1f} s per 1000\n"
        )
        print(metrics.to_text(), flush=True)
        run = {"seed": seed, "settings": generation.settings(), **metrics.summary()}
        runs.append(
            run
            | {
                "cpu_seconds_per_1000": cpu / args.n * 1000,
                "seconds_per_1000": wall / args.n * 1000,
            }
        )
        save(args, model, reference, train, runs)
    runs[0]["batch_invariance"] = batch_invariance(model)
    path = save(args, model, reference, train, runs)
    print(f"\nwritten to benchmarks/results/{path.name}")


def save(
    args: argparse.Namespace,
    model: sciflow.Model,
    reference: Reference,
    train: Reference,
    runs: list[dict[str, Any]],
) -> Path:
    """Write the runs so far, with the mean and the spread of each figure."""
    figures = {}
    for name in (*SHARES, *DISTANCES):
        found = [run["figures"][name] for run in runs]
        values = [figure["value"] for figure in found if figure["value"] is not None]
        figures[name] = {
            "mean": statistics.fmean(values) if values else None,
            "spread": max(values) - min(values) if len(values) > 1 else None,
            "reference": found[0]["reference"],
            "floor": found[0]["floor"],
        }
    cost = [run["cpu_seconds_per_1000"] for run in runs]
    return write(
        args.name or f"molecules-{model.name}",
        seeds=[run["seed"] for run in runs],
        data={
            "reference": f"{args.data}:test",
            "molecules": len(reference),
            "train": len(train),
        },
        results={
            "model": model.name,
            "n": args.n,
            "threads": args.threads,
            "ceiling": reference.ceiling,
            "figures": figures,
            "cpu_seconds_per_1000": {"mean": statistics.fmean(cost), "min": min(cost)},
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
