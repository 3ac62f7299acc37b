"""What coverage and stability say of crystals that no model made: the scale on which to read a model's figures.

    SCIFLOW_DATA=... python benchmarks/crystals_stability.py coverage --limit 200
    SCIFLOW_DATA=... python benchmarks/crystals_stability.py stability --limit 30
    SCIFLOW_DATA=... python benchmarks/crystals_stability.py stability --crystals made.extxyz --name mp20-ab-initio

``coverage`` takes COV-R and COV-P of MP-20's test crystals by as many training crystals (the floor of every model), by
training crystals with their coordinates drawn anew, and by those with their elements shuffled among all.

``stability`` relaxes by CHGNet and measures against the hull of all files of MP-20: test crystals, whose energies above
the hull the Materials Project states (the error of the instrument), and what substitution of elements into the nearest
composition of the training file predicts for them. Between compositions of MP-20 its hull lies above that of all known
phases, so energies above it come out too low: the shares are upper bounds, to be read beside those of the other rows.
Reference energies of the elements are fitted to ``--fitted`` training crystals as they are. Novelty is against the
training file.

``--crystals`` adds the first crystals of a file (of what a model generated, see ``crystals_generation.py``) to the rows
that are there: valid or not, they count. "energy" is the Wasserstein-1 distance, in eV per site, of their CHGNet
energies of formation before relaxation to those of the test crystals.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from record import RESULTS, write

from sciflow.domains.crystals import (
    Crystal,
    baselines,
    coverage,
    datasets,
    distances,
    files,
    relaxation,
    stability,
)


def some(table: datasets.Table, count: int, seed: int, known: bool = False) -> list[int]:
    """Return places of a random choice; with `known`, of those with energies."""
    energy = table.properties["formation_energy_per_atom"]
    places = [k for k in range(len(table.crystals)) if not known or math.isfinite(energy[k])]
    rng = np.random.default_rng(seed)
    return [places[k] for k in np.sort(rng.permutation(len(places))[:count])]


def covered(args: argparse.Namespace) -> None:
    """Measure coverage."""
    train, test = (datasets.read(f"mp20:{side}").objects for side in ("train", "test"))
    rng = np.random.default_rng(args.seed)
    reference = [test[k] for k in rng.permutation(len(test))[: args.limit]]
    chosen = [train[k] for k in rng.permutation(len(train))[: args.limit]]
    every = np.concatenate([crystal.species for crystal in chosen])
    rows = {
        "training crystals": chosen,
        "training crystals, coordinates drawn anew": [
            Crystal(c.species, rng.random((len(c), 3)), c.lattice) for c in chosen
        ],
        "training crystals, elements drawn anew": [
            Crystal(rng.choice(every, len(c)), c.coordinates, c.lattice) for c in chosen
        ],
    }
    real = coverage.Prints.of(reference, args.workers)
    data = {"reference": "mp20:test", "used": len(reference), "of": len(test)}
    data |= {"train": "mp20:train", "structures": len(train), "subset": True}
    results: dict[str, Any] = {}
    for name, crystals in rows.items():
        start = time.process_time()
        found = coverage.coverage(coverage.Prints.of(crystals, args.workers), real, "mp20")
        results[name] = asdict(found) | {"cpu_seconds": time.process_time() - start}
        print(name, results[name], flush=True)
        write("crystals-coverage", seeds=[args.seed], data=data, results=results)


def stable(args: argparse.Namespace) -> None:
    """Measure stability."""
    train, val, test = (datasets.table(f"mp20:{side}") for side in ("train", "val", "test"))
    columns = ("formation_energy_per_atom", "e_above_hull")
    formation, above = (
        [x for side in (train, val, test) for x in side.properties[c]] for c in columns
    )
    every = [*train.crystals, *val.crystals, *test.crystals]
    hull = stability.Hull.of(every, formation, above)
    fitted = some(train, args.fitted, args.seed, known=True)
    own = [train.crystals[k] for k in fitted]
    start = time.process_time()
    references = stability.References.fit(
        own, [train.properties[columns[0]][k] for k in fitted], relaxation.energies(own)
    )
    data = {
        "hull": "mp20:train, mp20:val and mp20:test",
        "points": len(hull),
        "novelty": "mp20:train",
    }
    data |= {"references": references.over, "references_mae_ev_per_site": references.error}
    data |= {"references_cpu_seconds": time.process_time() - start, "steps": args.steps}
    print(data, flush=True)
    places = some(test, args.limit, args.seed + 1, known=True)
    targets = [test.crystals[k] for k in places]
    stated = np.array([test.properties[columns[1]][k] for k in places])
    path = RESULTS / "crystals-stability.json"
    results: dict[str, Any] = {}
    if args.crystals:
        if path.exists():
            results = json.loads(path.read_text())["results"]
        own = files.read(args.crystals).objects
        sets = [(args.name, own[: args.limit])]
        real = unrelaxed(chosen(test.crystals, args.energies), references)
        row = {"energy": distances.wasserstein(unrelaxed(own[: args.energies], references), real)}
        again = unrelaxed(chosen(train.crystals, args.energies), references)
        row |= {"energy_floor": distances.wasserstein(again, real), "energies": args.energies}
        results[args.name] = row
        print(row, flush=True)
    else:
        made = [found[0] for found in baselines.substitution(targets, train.crystals, 1) if found]
        sets = [("test crystals", targets), ("substitution", made)]
    for name, crystals in sets:
        start = time.process_time()
        found = stability.evaluate(
            crystals, hull, references, train.crystals, steps=args.steps, workers=1
        )
        row: dict[str, Any] = {**results.get(name, {}), **found.figures}
        row["cpu_seconds_each"] = (time.process_time() - start) / len(crystals)
        row["problems"] = sorted({r.problem for r in found.table if r.problem})
        if name == "test crystals":
            known = np.array(
                [math.nan if r.above_hull is None else r.above_hull for r in found.table]
            )
            row["error_of_above_hull"] = float(np.nanmean(np.abs(known - stated)))
            row["stated_above_hull"] = float(stated.mean())
        results[name] = row
        print(name, row, flush=True)
        write("crystals-stability", seeds=[args.seed], data=data, results=results)


def chosen(crystals: list[Crystal], count: int) -> list[Crystal]:
    """A random choice, always the same."""
    return [crystals[k] for k in np.random.default_rng(7).permutation(len(crystals))[:count]]


def unrelaxed(crystals: list[Crystal], references: stability.References) -> list[float]:
    """Energies of formation in eV per site of crystals as they are; those without one are left out."""
    energies = relaxation.energies(crystals)
    found = [references.formation(c, e) for c, e in zip(crystals, energies, strict=True)]
    return [value for value in found if math.isfinite(value)]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["coverage", "stability"])
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--fitted", type=int, default=500)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--crystals", help="file of generated crystals, instead of the baselines")
    parser.add_argument("--name", default="generated", help="name of their row")
    parser.add_argument("--energies", type=int, default=200, help="crystals for W1 of the energy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    (covered if args.what == "coverage" else stable)(args)


if __name__ == "__main__":
    main()
