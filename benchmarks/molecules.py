"""The molecules tables: a model's samples under every metric, with the data's own figures and the noise floor beside.

    SCIFLOW_DATA=... python benchmarks/molecules.py --model qm9 -n 10000 --seeds 0 1 2
    SCIFLOW_DATA=... python benchmarks/molecules.py --model qm9 -n 2000 --calls 10 20 50 100
    SCIFLOW_DATA=... python benchmarks/molecules.py --peers grum_qm9.smi --data qm9
    python benchmarks/molecules.py --table qm9

For each seed n molecules are generated with the model's default settings (or --steps, --solver) and judged against
the held-out molecules. CPU seconds are those of the generating process, all threads together. Results go to
``benchmarks/results/molecules-<model>.json``. With ``--calls`` the same for several numbers of steps, to
``molecules-<model>-calls.json``; with ``--peers`` files of molecules that others released, to
``molecules-<data>-peers.json``. ``--table`` prints the table of the field: ours, theirs under our metrics, the data's
own figures, the noise floor, and what was published (`published`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import published
import torch
from record import RESULTS, write
from tables_molecules import field

import sciflow
from sciflow.domains.molecules import Molecules, datasets
from sciflow.domains.molecules.reference import Reference
from sciflow.runtime import words
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
    parser.add_argument("--train", type=int, help="draw so many training molecules; default all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--option", nargs="*", default=[], metavar="KEY=VALUE", help="wishes")
    parser.add_argument("--name", help="name of the result file")
    parser.add_argument("--no-invariance", action="store_true", help="without the batch sizes")
    parser.add_argument("--calls", type=int, nargs="+", help="numbers of steps: a curve")
    parser.add_argument("--peers", type=Path, nargs="+", help="files of molecules of others")
    parser.add_argument("--table", choices=sorted(published.PAPERS), help="print the table")
    args = parser.parse_args()
    if args.table:
        print(field(args.table))
        return
    torch.set_num_threads(args.threads)
    keep_memory()
    reference = Reference(Molecules.read(f"{args.data}:test").objects)
    train = Reference(datasets.molecules(f"{args.data}:train", args.train))
    if args.peers:
        print(f"\nwritten to benchmarks/results/{peers(args, reference, train).name}")
        return
    model = sciflow.load(args.model)
    if args.calls:
        print(f"\nwritten to benchmarks/results/{calls(args, model, reference, train).name}")
        return
    runs: list[dict[str, Any]] = []
    for seed in args.seeds:
        runs.append(run(args, model, seed, args.steps, reference, train))
        save(args, model, reference, train, runs)
    if not args.no_invariance:
        runs[0]["batch_invariance"] = batch_invariance(model)
    path = save(args, model, reference, train, runs)
    print(f"\nwritten to benchmarks/results/{path.name}")


def run(
    args: argparse.Namespace,
    model: sciflow.Model,
    seed: int,
    steps: int | None,
    reference: Reference,
    train: Reference,
) -> dict[str, Any]:
    """Generate with one seed, and judge."""
    options = words.wishes((), args.option, ())
    generation = Generation.of(
        model, args.n, seed, steps, args.solver, device="cpu", options=options
    )
    wall, cpu = time.perf_counter(), time.process_time()
    mols = [mol for batch in generation.batches() for mol in batch]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    metrics = Molecules.metrics(mols, reference, train)
    each = f"{cpu / args.n * 1000:.1f} CPU s, {wall / args.n * 1000:.1f} s per 1000"
    print(f"\nseed {seed}, {generation.steps} steps: {each}\n")
    print(metrics.to_text(), flush=True)
    return {
        "seed": seed,
        "settings": generation.settings(),
        **metrics.summary(),
        "cpu_seconds_per_1000": cpu / args.n * 1000,
        "seconds_per_1000": wall / args.n * 1000,
    }


def calls(
    args: argparse.Namespace, model: sciflow.Model, reference: Reference, train: Reference
) -> Path:
    """Quality against network calls: one call per step."""
    rows = []
    for steps in args.calls:
        runs = [run(args, model, seed, steps, reference, train) for seed in args.seeds]
        cost = statistics.fmean(run["cpu_seconds_per_1000"] for run in runs)
        kept = [{k: v for k, v in run.items() if k != "histograms"} for run in runs]
        rows.append(
            {
                "calls": steps * generation_calls(args, model),
                "cpu_seconds_per_1000": cost,
                "figures": figures_of(runs),
                "runs": kept,
            }
        )
    return write(
        args.name or f"molecules-{model.name}-calls",
        seeds=args.seeds,
        data=data_of(args, reference, train),
        results={"model": model.name, "n": args.n, "threads": args.threads, "rows": rows},
    )


def generation_calls(args: argparse.Namespace, model: sciflow.Model) -> int:
    """Network calls per step."""
    return int(Generation.of(model, 1, solver=args.solver, device="cpu").solver.calls)


def peers(args: argparse.Namespace, reference: Reference, train: Reference) -> Path:
    """Judge what others released; files that were judged before stay in the result."""
    name = f"molecules-{args.data}-peers"
    before = RESULTS / f"{name}.json"
    rows = json.loads(before.read_text())["results"] if before.is_file() else {}
    for file in args.peers:
        read = Molecules.read(file, raw=True)
        metrics = Molecules.metrics(read.objects, reference, train, unreadable=len(read.skipped))
        print(f"\n{file.name}\n{metrics.to_text()}", flush=True)
        rows[file.stem] = {k: v for k, v in metrics.summary().items() if k != "histograms"}
    return write(name, seeds=[], data=data_of(args, reference, train), results=rows)


def data_of(args: argparse.Namespace, reference: Reference, train: Reference) -> dict[str, Any]:
    """What was compared with."""
    return {"reference": f"{args.data}:test", "molecules": len(reference), "train": len(train)}


def figures_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of each figure over runs."""
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
    return figures


def save(
    args: argparse.Namespace,
    model: sciflow.Model,
    reference: Reference,
    train: Reference,
    runs: list[dict[str, Any]],
) -> Path:
    """Write the runs so far, with the mean and the spread of each figure."""
    cost = [run["cpu_seconds_per_1000"] for run in runs]
    return write(
        args.name or f"molecules-{model.name}",
        seeds=[run["seed"] for run in runs],
        data=data_of(args, reference, train),
        results={
            "model": model.name,
            "n": args.n,
            "threads": args.threads,
            "ceiling": reference.ceiling,
            "figures": figures_of(runs),
            "cpu_seconds_per_1000": {"mean": statistics.fmean(cost), "min": min(cost)},
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
