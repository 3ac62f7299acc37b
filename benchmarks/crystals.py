"""The structure-prediction tables: models, what training-free baselines reach, and what matching costs.

    SCIFLOW_DATA=... python benchmarks/crystals.py --data perov5
    SCIFLOW_DATA=... python benchmarks/crystals.py --data mp20 --limit 2000
    SCIFLOW_DATA=... python benchmarks/crystals.py --data perov5 --model perov5 --steps 10 20 50 100
    SCIFLOW_DATA=... python benchmarks/crystals.py --speed 200

Match rate and RMSE at the tolerances of DiffCSP and CrysBFN (ltol .3, stol .5, 10 degrees); "charges" counts
references as missed whose composition fails the test of charges, as DiffCSP and FlowMM do; cRMSE counts the unmatched
with stol; strict is (.2, .3, 5). Standard errors are over test structures. The library of the baselines is the
training file, or the validation file. Results go to ``benchmarks/results/crystals-baselines-<data>.json`` after each
baseline.

``--model`` samples a model, which is told the composition of each test structure and nothing else, with each number of
``--steps``; structures with an element that it does not know count as missed. The result file sets it beside the
baselines of the same data set.

``--speed n`` compares our matcher with pymatgen's on n perturbed and n random structures of each data set: CPU seconds
in one process, and the number of different verdicts.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from record import RESULTS, write

from sciflow import grids, solvers
from sciflow.domains.crystals import Adapter, alignment, baselines, datasets, matching, validity
from sciflow.domains.crystals.crystal import Crystal
from sciflow.hooks import Hook
from sciflow.model import Model, load
from sciflow.paths.base import Ends
from sciflow.runtime.config import toml_value
from sciflow.sampling import sample
from sciflow.state import State
from sciflow.streams import Streams
from sciflow.system import System

HEAD = (
    f"{'':42}{'match':>8}{'+-':>6}{'charges':>9}{'RMSE':>8}{'cRMSE':>8}{'strict':>8}{'CPU s':>8}"
)


def cpu() -> float:
    """CPU seconds of this process and its children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def some(crystals: list[Crystal], limit: int | None, seed: int = 0) -> list[Crystal]:
    """Return a random choice of crystals, in order."""
    if limit is None or limit >= len(crystals):
        return crystals
    chosen = np.sort(np.random.default_rng(seed).choice(len(crystals), limit, replace=False))
    return [crystals[k] for k in chosen]


def rows(
    targets: list[Crystal], library: list[Crystal], k: int, seed: int
) -> dict[str, Callable[[], list[baselines.Prediction]]]:
    """Return the baselines by name."""
    return {
        "scatter: true lattice, random coordinates": lambda: baselines.scatter(targets, k, seed),
        "copy: random crystal, species shuffled": lambda: baselines.copy(
            targets, library, k, seed
        ),
        "prototype: cubic perovskite, a coin": lambda: baselines.prototype(
            targets, library, k, seed
        ),
        "substitution": lambda: baselines.substitution(targets, library, k),
        "substitution, other compositions": lambda: baselines.substitution(
            targets, library, k, equal=False
        ),
    }


def measured(found: matching.Match, targets: list[Crystal], seconds: float) -> dict[str, Any]:
    """Return the figures of one baseline, with the match rate that counts invalid compositions as missed."""
    valid = [validity.composition(target.composition) for target in targets]
    both = sum(row.matched and ok for row, ok in zip(found.table, valid, strict=True)) / len(
        targets
    )
    return found.summary() | {"match_rate_charges": both, "cpu_seconds_matching": seconds}


def line(name: str, row: dict[str, Any]) -> str:
    """Return one line of the table."""
    rmse = "-" if row["rmse"] is None else f"{row['rmse']:.4f}"
    error = row["standard_errors"]["rate"]
    return (
        f"{name:42}{100 * row['match_rate']:8.2f}{100 * error:6.2f}{100 * row['match_rate_charges']:9.2f}{rmse:>8}"
        f"{row['crmse']:8.4f}{100 * row['strict_match_rate']:8.2f}{row['cpu_seconds_matching']:8.1f}"
    )


def table(args: argparse.Namespace) -> None:
    """Measure the baselines of one data set."""
    library = datasets.read(f"{args.data}:{args.library}").objects
    whole = datasets.read(f"{args.data}:{args.split}").objects
    targets = some(whole, args.limit)
    data = {
        "targets": f"{args.data}:{args.split}",
        "structures": len(whole),
        "used": len(targets),
        "library": f"{args.data}:{args.library}",
        "library_structures": len(library),
        "library_is_subset": datasets.is_subset(f"{args.data}:{args.library}"),
        "k": args.k,
    }
    name = f"crystals-baselines-{args.data}"
    name += f"-{args.library}" * (args.library != "train") + f"-k{args.k}" * (args.k > 1)
    print(
        f"{len(targets)} of {len(whole)} structures, library {len(library)}, k = {args.k}\n\n{HEAD}",
        flush=True,
    )
    results: dict[str, Any] = {}
    for label, make in rows(targets, library, args.k, args.seed).items():
        if args.only and not label.startswith(args.only):
            continue
        start = cpu()
        predictions = make()
        made = cpu() - start
        if sum(map(bool, predictions)) < len(targets) / 10:
            continue  # no prototype for most of them
        start = cpu()
        found = matching.match(predictions, targets, workers=args.workers)
        results[label] = measured(found, targets, cpu() - start) | {"cpu_seconds_predicting": made}
        print(line(label, results[label]), flush=True)
        write(name, seeds=[args.seed], data=data, results=results)


@dataclass(frozen=True)
class Anneal(Hook):
    """Velocities of the coordinates times 1 + rate t, as far as no step goes beyond the believed data.

    Reference: Miller et al. (FlowMM), arXiv:2406.04713, appendix (anti-annealing of the velocity).
    """

    rate: float
    steps: int

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        """Stretch the way from noise to data."""
        own = ends["coordinates"]
        if own.x0 is None:
            return ends
        factor = max(1.0, min(1 + self.rate * t, (1 - t) * self.steps))
        return {**ends, "coordinates": Ends(own.x0 + factor * (own.x1 - own.x0), own.x0)}


def predicted(
    model: Model,
    targets: list[Crystal],
    steps: int,
    k: int,
    seed: int,
    solver: Any = None,
    grid: Any = None,
    batch: int = 256,
    anneal: float = 0.0,
) -> list[baselines.Prediction]:
    """Return k structures for each target, made from its composition alone; none where the model lacks an element."""
    adapter, settings = model.adapter, model.sampling
    assert isinstance(adapter, Adapter)
    known = [set(adapter.numbers).issuperset(target.composition) for target in targets]
    wanted = [t.composition for t, ok in zip(targets, known, strict=True) if ok for _ in range(k)]
    made: list[Crystal] = []
    for start in range(0, len(wanted), batch):
        part = wanted[start : start + batch]
        state = sample(
            model.system,
            model.network,
            adapter.frame_of(part),
            Streams.range(seed, start, len(part), "sampling"),
            solver=solvers.make(solver or settings.solver),
            grid=grids.make(grid or settings.grid),
            steps=steps,
            hooks=[Anneal(anneal, steps)] if anneal else [],
        )
        made += adapter.decode(state)
    rows = (made[start : start + k] for start in range(0, len(made), k))
    return [next(rows) if ok else [] for ok in known]


def model_rows(args: argparse.Namespace) -> None:
    """Measure a model beside the baselines."""
    torch.set_num_threads(1)
    model = load(args.model)
    whole = datasets.read(f"{args.data}:{args.split}").objects
    targets = some(whole, args.limit, args.choice)
    data = {
        "targets": f"{args.data}:{args.split}",
        "structures": len(whole),
        "used": len(targets),
        "choice": args.choice if args.limit else None,
        "k": args.k,
    }
    solver = toml_value(args.solver) if args.solver else None
    grid = toml_value(args.grid) if args.grid else None
    name = args.out or f"crystals-{model.name}"
    kept: dict[str, Any] = {}
    if (RESULTS / f"{name}.json").exists():
        kept = json.loads((RESULTS / f"{name}.json").read_text())["results"]
    print(f"{len(targets)} of {len(whole)} structures, k = {args.k}\n\n{HEAD}", flush=True)
    for steps in args.steps or [model.sampling.steps]:
        start = cpu()
        predictions = predicted(
            model, targets, steps, args.k, args.seed, solver, grid, anneal=args.anneal
        )
        made = cpu() - start
        start = cpu()
        found = matching.match(predictions, targets, workers=args.workers)
        row = measured(found, targets, cpu() - start) | {"cpu_seconds_predicting": made}
        row["targets with unknown elements"] = sum(not p for p in predictions)
        row |= data | {"steps": steps, "solver": solver or model.sampling.solver}
        row |= {
            "grid": grid or model.sampling.grid,
            "length_error": lengths(predictions, found, targets),
        }
        label = f"{steps} steps" + f", best of {args.k}" * (args.k > 1)
        label += f", {args.split}" * (args.split != "test")
        label += f", {args.solver}" * bool(args.solver) + f", {args.grid}" * bool(args.grid)
        label += f", anneal {args.anneal:g}" * bool(args.anneal)
        label += f", seed {args.seed}" * bool(args.seed)
        label = f"{args.label}: {label}" if args.label else label
        kept[label] = row
        print(
            line(label, row),
            f" {made:.0f} s of sampling; lengths {row['length_error']}",
            flush=True,
        )
        baseline = RESULTS / f"crystals-baselines-{args.data}.json"
        if args.split == "test" and baseline.exists() and not args.label:
            other = json.loads(baseline.read_text())
            kept["baselines, whole test set"] = other["results"]
        write(name, seeds=[args.seed], data=data, results=kept)


def lengths(
    predictions: list[baselines.Prediction], found: matching.Match, targets: list[Crystal]
) -> dict[str, float]:
    """Return the mean absolute error of the lengths in angstrom, of the matched and of the others."""
    errors: dict[bool, list[float]] = {True: [], False: []}
    for own, row, target in zip(predictions, found.table, targets, strict=True):
        if not own:
            continue
        gap = np.abs(np.sort(own[0].lengths) - np.sort(target.lengths)).mean()
        errors[row.matched].append(float(gap))
    return {
        name: round(float(np.mean(errors[key])), 4)
        for name, key in (("matched", True), ("others", False))
        if errors[key]
    }


def disturbed(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """Return a crystal strained and its sites moved by 3 % or so."""
    lattice = crystal.lattice * (1 + 0.03 * rng.normal(size=(3, 3)))
    return Crystal(
        crystal.species, crystal.coordinates + 0.03 * rng.normal(size=(len(crystal), 3)), lattice
    )


def speed(args: argparse.Namespace) -> None:
    """Compare our matcher with pymatgen's, in one process."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    tolerances = alignment.LOOSE
    matcher = StructureMatcher(tolerances.ltol, tolerances.stol, tolerances.angle_tol)
    rng = np.random.default_rng(0)
    results: dict[str, Any] = {}
    for name in ("perov5", "mp20", "carbon24"):
        targets = some(datasets.read(f"{name}:test").objects, args.speed)
        for kind in ("disturbed", "random"):
            made = (
                [disturbed(c, rng) for c in targets]
                if kind == "disturbed"
                else [Crystal(c.species, rng.random((len(c), 3)), c.lattice) for c in targets]
            )
            structures = [
                (a.to_structure(), b.to_structure()) for a, b in zip(made, targets, strict=True)
            ]
            start = time.process_time()
            theirs = [matcher.get_rms_dist(a, b) for a, b in structures]
            their_time = time.process_time() - start
            start = time.process_time()
            reduced = [alignment.reduce(c) for c in (*made, *targets)]
            reducing = time.process_time() - start
            pairs = zip(reduced[: len(made)], reduced[len(made) :], strict=True)
            ours = [alignment.displacement(a, b) for a, b in pairs]
            our_time = time.process_time() - start
            other = sum((a is None) != (b is None) for a, b in zip(ours, theirs, strict=True))
            gaps = [
                abs(a - float(b[0]))
                for a, b in zip(ours, theirs, strict=True)
                if a is not None and b is not None
            ]
            n = len(targets)
            results[f"{name}, {kind}"] = row = {
                "pairs": n,
                "pymatgen_ms": 1000 * their_time / n,
                "ours_ms": 1000 * our_time / n,
                "of_it_reducing_ms": 1000 * reducing / n,
                "ratio": their_time / our_time,
                "matched": sum(b is not None for b in theirs),
                "different_verdicts": other,
                "largest_difference_of_rms": max(gaps, default=0.0),
            }
            print(
                f"{name:10}{kind:10} " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()),
                flush=True,
            )
            write("crystals-matching-speed", seeds=[0], data={"pairs": n}, results=results)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="perov5", choices=sorted(datasets.NAMES))
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--library", default="train", choices=["train", "val"])
    parser.add_argument("--only", help="baselines whose name begins so")
    parser.add_argument("--limit", type=int, help="a random choice of so many test structures")
    parser.add_argument("-k", type=int, default=1, help="candidates for each structure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="processes; the processors at hand by default")
    parser.add_argument("--speed", type=int, help="measure the matcher on so many pairs instead")
    parser.add_argument("--model", help="measure a model: a name or a folder")
    parser.add_argument("--steps", type=int, nargs="*", help="numbers of steps; the model's own")
    parser.add_argument("--solver", help="instead of the model's own, e.g. bayesian-update")
    parser.add_argument("--grid", help="instead of the model's own")
    parser.add_argument(
        "--anneal", type=float, default=0.0, help="see Anneal; straight paths only"
    )
    parser.add_argument("--choice", type=int, default=0, help="seed of the choice of --limit")
    parser.add_argument("--out", help="name of the result file")
    parser.add_argument("--label", help="what to call the model in it")
    args = parser.parse_args()
    (model_rows if args.model else speed if args.speed else table)(args)


if __name__ == "__main__":
    main()
