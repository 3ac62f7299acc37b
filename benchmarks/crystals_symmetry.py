"""Generation of a given space group: how often it is found, and what knowing it is worth.

    SCIFLOW_DATA=... python benchmarks/crystals_symmetry.py prediction --limit 1000
    SCIFLOW_DATA=... python benchmarks/crystals_symmetry.py prediction --limit 100 -k 20
    SCIFLOW_DATA=... python benchmarks/crystals_symmetry.py generation --limit 500

``prediction`` gives a model of structure prediction the composition of test structures of MP-20, with and without their
space group as the file states it, and matches what it makes with them. Wyckoff positions are not given: they are drawn.
Where no orbits of the group hold the sites of the cell, which is then no primitive one, the structure is predicted
without the group, and counted.

``generation`` asks a model that makes the species, too, for the groups and numbers of sites of test structures.

"exact" is the share whose space group, found by spglib at 0.001 angstrom, is the one that was asked for; "higher" that
of those with more. Results go to ``benchmarks/results/crystals-symmetry.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from crystals import measured
from record import RESULTS, write

from sciflow import grids, solvers
from sciflow.domains.crystals import Adapter, Crystal, datasets, matching, metrics, symmetry
from sciflow.domains.crystals.occupation import possible
from sciflow.domains.crystals.symmetric import Symmetric
from sciflow.domains.crystals.wyckoff import group
from sciflow.model import Model, load
from sciflow.sampling import sample
from sciflow.state import Frame
from sciflow.streams import Streams

_BATCH = 128
TOLERANCE = 1e-3
"""In angstrom, for spglib."""


def made(
    model: Model, targets: list[Crystal], groups: list[int] | None, steps: int, seed: int
) -> list[Crystal]:
    """Make one crystal for each target, of its composition or its number of sites; group 0 is any."""
    adapter, found = model.adapter, []
    assert isinstance(adapter, Adapter)
    for start in range(0, len(targets), _BATCH):
        part = targets[start : start + _BATCH]
        if adapter.process.given:
            frame = adapter.frame_of([target.composition for target in part])
        else:
            state = adapter.encode(part)  # its condition says how many sites there are and no more
            shapes = {name: tuple(x.shape[1:]) for name, x in state.items()}
            frame = Frame(shapes, state.masks, state.condition)
        hooks = []
        if groups is not None:
            own = torch.tensor(groups[start : start + _BATCH])
            lots = Streams.range(seed, start, len(part), "orbits").bits(1)[:, 0]
            condition = {**frame.condition, "symmetry": torch.stack((own, lots), 1)}
            hooks = [Symmetric.of(adapter.process, adapter.cells.standard, condition)]
        settings = model.sampling
        state = sample(
            model.system,
            model.network,
            frame,
            Streams.range(seed, start, len(part), "sampling"),
            solver=solvers.make(settings.solver),
            grid=grids.make(settings.grid),
            steps=steps,
            hooks=hooks,
        )
        found += adapter.decode(state)
    return found


def held(crystals: list[Crystal], groups: list[int]) -> dict[str, Any]:
    """Shares of crystals with the group that was asked for, exactly and at least."""
    exact = higher = 0
    for crystal, asked in zip(crystals, groups, strict=True):
        found = symmetry.space_group(crystal, TOLERANCE)
        exact += found is not None and found[1] == asked
        # More operations in the same cell: of a higher class, or by lattice translations that are finer.
        higher += symmetry.operations(crystal, TOLERANCE) > len(group(asked).operations)
    return {
        "exact": exact / len(crystals),
        "higher": higher / len(crystals),
        "asked": len(crystals),
    }


def chosen(model: Model, limit: int, choice: int) -> tuple[list[Crystal], list[int], int]:
    """A random choice of test structures of the model's elements, their space groups, and how many there are."""
    table = datasets.table("mp20:test")
    stated = table.properties["spacegroup.number"]
    numbers = set(model.adapter.numbers)  # pyright: ignore[reportAttributeAccessIssue]
    known = [k for k, crystal in enumerate(table.crystals) if set(crystal.composition) <= numbers]
    order = np.sort(np.random.default_rng(choice).permutation(known)[:limit])
    return [table.crystals[k] for k in order], [int(stated[k]) for k in order], len(known)


def prediction(args: argparse.Namespace, results: dict[str, Any]) -> dict[str, Any]:
    """Match rates with and without the space group."""
    model = load(args.model or "mp20")
    steps = args.steps or model.sampling.steps
    targets, groups, whole = chosen(model, args.limit, args.choice)
    fits = [
        possible(number, sorted(target.composition.values()))
        for number, target in zip(groups, targets, strict=True)
    ]
    again = [target for target in targets for _ in range(args.k)]
    held_to = [
        number for number, fit in zip(groups, fits, strict=True) for _ in range(args.k) if fit
    ]
    places = [k for k, fit in enumerate(np.repeat(fits, args.k)) if fit]
    for seed in args.seeds:
        start = time.process_time()
        free = made(model, again, None, steps, seed)
        seconds = [time.process_time() - start]
        start = time.process_time()
        own = made(model, [again[k] for k in places], held_to, steps, seed)
        seconds.append(time.process_time() - start)
        bound = list(free)
        for place, crystal in zip(places, own, strict=True):
            bound[place] = crystal
        for name, crystals, spent in zip(
            ("composition", "and space group"), (free, bound), seconds, strict=True
        ):
            start = time.process_time()
            sets = [crystals[args.k * n : args.k * (n + 1)] for n in range(len(targets))]
            found = matching.match(sets, targets, workers=1)
            row = measured(found, targets, time.process_time() - start)
            row |= {
                "cpu_seconds_sampling": spent,
                "steps": steps,
                "k": args.k,
                "without orbits": fits.count(False),
            }
            if crystals is bound:
                row |= held(own, held_to)
            label = f"{model.name}, {name}, k = {args.k}, seed {seed}"
            results[label] = row
            print(label, {k: v for k, v in row.items() if not isinstance(v, dict)}, flush=True)
    return {"targets": "mp20:test", "structures": whole, "choice": args.choice}


def generation(args: argparse.Namespace, results: dict[str, Any]) -> dict[str, Any]:
    """Space groups, validity and numbers of elements from nothing."""
    model = load(args.model or "mp20-ab-initio")
    steps = args.steps or model.sampling.steps
    targets, groups, whole = chosen(model, args.limit, args.choice)
    both = [
        (target, number)
        for target, number in zip(targets, groups, strict=True)
        if possible(number, [len(target)])
    ]
    targets, groups = [target for target, _ in both], [number for _, number in both]
    for name, own in (("any group", None), ("space group", groups)):
        crystals = made(model, targets, own, steps, args.seeds[0])
        figures = metrics.evaluate(crystals, targets, workers=1).summary()["figures"]
        row: dict[str, Any] = {"figures": figures, "steps": steps, **held(crystals, groups)}
        results[f"{model.name}, {name}"] = row
        shown = {k: v["value"] for k, v in figures.items()}
        print(model.name, name, {k: row[k] for k in ("exact", "higher")}, shown, flush=True)
    return {"targets": "mp20:test", "structures": whole, "choice": args.choice}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["prediction", "generation"])
    parser.add_argument("--model", help="a name or a folder")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--choice", type=int, default=11, help="seed of the choice of structures")
    parser.add_argument("-k", type=int, default=1)
    parser.add_argument("--steps", type=int, help="the model's own")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "crystals-symmetry.json"
    results = json.loads(path.read_text())["results"] if path.exists() else {}
    data = (prediction if args.what == "prediction" else generation)(args, results)
    write("crystals-symmetry", seeds=args.seeds, data=data, results=results)


if __name__ == "__main__":
    main()
