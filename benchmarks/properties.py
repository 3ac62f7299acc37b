"""Molecules by their properties: how far what is made lies from what was asked for.

    SCIFLOW_DATA=... python benchmarks/properties.py judge                     # trains the judge of gap and mu
    SCIFLOW_DATA=... python benchmarks/properties.py measure -n 1000 --seeds 0 1 2

Targets are the properties of random held-out molecules, one for each sample. gap and mu are judged by a network that
has learnt from the half of the data whose labels the model has not seen (`property_judge`), logp and qed by RDKit.
Errors are means over valid and connected samples; beside them stand the same figure for samples without a wish (nothing
asked), for the samples against the targets of others (``shuffled``), and the judge's own error on held-out molecules
(``floor``). Results go to ``benchmarks/results/properties-<model>.json``.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import property_judge
import torch
from record import write

import sciflow
from sciflow.domains.molecules.properties import COMPUTED, compute
from sciflow.runtime.device import keep_memory

JUDGE = Path("runs/property-judge.safetensors")


def targets(names: list[str], n: int, seed: int) -> dict[str, list[float]]:
    """Properties of n random held-out molecules, those of one molecule together."""
    mols, values = property_judge.known(property_judge.HELD_OUT)
    order = np.random.default_rng(seed + 1).choice(len(mols), n, replace=False)
    found = {}
    for name in names:
        if name in property_judge.PROPERTIES:
            column = values[order, property_judge.PROPERTIES.index(name)].tolist()
        else:
            column = [compute(name, mols[k]) for k in order]
        found[name] = [float(value) for value in column]
    return found


def judge(names: list[str], mols: list[Any]) -> dict[str, np.ndarray]:
    """The properties of sanitised molecules."""
    seen = property_judge.predict(JUDGE, mols).numpy()
    return {
        name: np.array([compute(name, mol) for mol in mols])
        if name in COMPUTED
        else seen[:, property_judge.PROPERTIES.index(name)]
        for name in names
    }


def measure(
    model: sciflow.Model,
    asked: list[str],
    n: int,
    seed: int,
    guidance: float | None,
    names: list[str],
) -> dict[str, Any]:
    """Generate n molecules for n targets and measure all properties; `guidance` None asks for nothing."""
    wanted = targets(names, n, seed)
    options = {} if guidance is None else {name: wanted[name] for name in asked}
    made = sciflow.generate(model, n, seed, options=options, guidance=guidance, device="cpu")
    shown = [model.adapter.judged(mol) for mol in made.objects]
    fit = [k for k, mol in enumerate(shown) if mol is not None]
    found = judge(names, [shown[k] for k in fit])
    figures = {}
    for name in names:
        want = np.array(wanted[name])[fit]
        other = np.random.default_rng(seed).permutation(want)
        figures[name] = {
            "error": float(np.abs(found[name] - want).mean()),
            "shuffled": float(np.abs(found[name] - other).mean()),
            "correlation": float(np.corrcoef(found[name], want)[0, 1]),
        }
    rows = [model.adapter.describe([made.objects[k]])[0]["smiles"] for k in fit]
    return {
        "asked": asked if guidance is not None else [],
        "guidance": guidance,
        "seed": seed,
        "n": n,
        "valid_and_connected": len(fit) / n,
        "unique": len(set(rows)) / max(len(rows), 1),
        "seconds": made.seconds,
        "figures": figures,
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and spread over the seeds of each setting."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(f"{run['asked']} {run['guidance']}", []).append(run)
    rows = []
    for group in groups.values():
        row: dict[str, Any] = {"asked": group[0]["asked"], "guidance": group[0]["guidance"]}
        row |= {"seeds": len(group), "n": group[0]["n"]}
        for key in ("valid_and_connected", "unique"):
            row[key] = _spread([run[key] for run in group])
        row["figures"] = {
            name: {key: _spread([run["figures"][name][key] for run in group]) for key in figure}
            for name, figure in group[0]["figures"].items()
            if all(name in run["figures"] for run in group)
        }
        rows.append(row)
    return rows


def _spread(values: list[float]) -> dict[str, float | None]:
    spread = max(values) - min(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("judge", "measure"))
    parser.add_argument("--model", default="qm9-properties")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument(
        "--curve", type=float, nargs="*", default=[1.5, 3.0], help="first seed alone"
    )
    parser.add_argument("--few", type=int, default=400, help="samples of what one seed measures")
    parser.add_argument("--epochs", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    if args.part == "judge":
        print(property_judge.train(JUDGE, args.epochs))
        return
    model = sciflow.load(args.model)
    names = list(model.adapter.null())
    first = args.seeds[0]
    plan: list[tuple[list[str], int, float | None]] = []
    for seed in args.seeds:
        plan += [(names, seed, None), *((["gap"], seed, w) for w in args.guidance)]
    whole = len(plan)
    plan += [(["gap"], first, w) for w in args.curve]
    plan += [([name], first, args.guidance[-1]) for name in names if name != "gap"]
    plan += [(["gap", "logp"], first, args.guidance[-1]), (names, first, args.guidance[-1])]
    runs: list[dict[str, Any]] = []
    for number, (asked, seed, guidance) in enumerate(plan):
        n = args.n if number < whole else args.few
        runs.append(measure(model, asked, n, seed, guidance, names))
        shares = {k: round(runs[-1][k], 4) for k in ("valid_and_connected", "unique", "seconds")}
        print(asked, guidance, seed, shares, runs[-1]["figures"], flush=True)
        save(model, args.seeds, runs)


def save(model: sciflow.Model, seeds: list[int], runs: list[dict[str, Any]]) -> None:
    """Write the runs so far."""
    _, facts = sciflow.checkpoint.load(JUDGE)
    write(
        f"properties-{model.name}",
        seeds=seeds,
        data={
            "targets": property_judge.HELD_OUT,
            "held out": facts["held_out"],
            "model": "qm9:train-even",
            "judge": facts["data"],
        },
        results={
            "model": model.name,
            "units": {"gap": "hartree", "mu": "debye"},
            "judge": facts,
            "floor": {**facts["error"], **dict.fromkeys(COMPUTED, 0.0)},
            "rows": summary(runs),
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
