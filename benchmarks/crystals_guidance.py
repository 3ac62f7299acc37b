"""A learned energy of crystals: its error beside baselines of the composition, and what guidance by it is worth.

    SCIFLOW_DATA=... python benchmarks/crystals_guidance.py fit --energy runs/perov5-energy/heat_ref.safetensors
    SCIFLOW_DATA=... python benchmarks/crystals_guidance.py guide --energy runs/perov5-energy/heat_ref.safetensors

``fit`` learns the heat of formation of Perov-5 (column ``heat_ref``, eV per atom) from its training file and measures
it on the whole test file: mean absolute error beside the mean, a ridge fit to the shares of the elements, and the same
network without neighbours. Every composition of Perov-5 with A != B occurs twice, A and B swapped; for the pairs that
lie in the test file whole, "order" is the share whose lower member the energy names: a coin has 50 %, and so has
whatever sees the composition alone.

``guide`` samples the model for those compositions, with and without the energy, at equal numbers of network calls for
each structure that is kept. The energy that guides is not the judge: "lower" is the share of compositions whose lower
twin the structure matches at the strict tolerances (.2, .3, 5), by the true energies and the true structures.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import write

from sciflow import grids, hooks, solvers
from sciflow.domains.crystals import Adapter, Crystal, alignment, datasets, duplicates, encode
from sciflow.domains.crystals import property as properties
from sciflow.domains.crystals.validity import structure
from sciflow.learning import Recipe
from sciflow.model import load
from sciflow.sampling import sample
from sciflow.streams import Streams

COLUMN = "heat_ref"


def twins(table: datasets.Table) -> list[tuple[int, int]]:
    """Return pairs of places of equal composition, the lower energy first."""
    groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for place, crystal in enumerate(table.crystals):
        groups[tuple(crystal.composition.items())].append(place)
    energy = table.properties[COLUMN]
    pairs = [sorted(g, key=lambda k: energy[k]) for g in groups.values() if len(g) == 2]
    return [(a, b) for a, b in pairs]


def error(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Mean absolute error with its standard error over crystals."""
    gap = np.abs(found - true)
    return {"mae": float(gap.mean()), "standard_error": float(gap.std() / len(gap) ** 0.5)}


def fit(args: argparse.Namespace) -> None:
    """Fit and measure."""
    train, test = datasets.table("perov5:train"), datasets.table("perov5:test")
    encoded = encode(train.crystals, properties=train.properties).crystals
    true = np.array(test.properties[COLUMN])
    pairs = twins(test)

    def measured(found: np.ndarray) -> dict[str, float]:
        gaps = np.array([found[b] - found[a] for a, b in pairs])
        right = np.where(np.abs(gaps) < 1e-4, 0.5, gaps > 0)  # rounding is no opinion
        return error(found, true) | {"order": float(right.mean())}

    mean = float(encoded.properties[COLUMN].mean())
    numbers = encoded.elements()
    weights = properties.composition_fit(encoded, encoded.properties[COLUMN].double(), numbers)
    shares = properties.composition_shares(encode(test.crystals).crystals, numbers)
    results: dict[str, Any] = {
        "mean of the training set": error(np.full_like(true, mean), true),
        "ridge fit to the composition": error((shares @ weights).numpy(), true),
    }
    data = {"train": "perov5:train", "structures": len(encoded), "test": len(true)}
    data |= {"column": COLUMN, "pairs": len(pairs)}
    for name, options in (
        ("network without neighbours", {"layers": 0}),
        ("e3nn network", {"cutoff": args.cutoff, "channels": args.channels}),
    ):
        recipe = Recipe(
            args.steps, 64, args.rate, 1e-3, warmup=100, ema=0.998, checkpoint_every=250
        )
        folder = Path(args.energy).parent / name.replace(" ", "-")
        start = time.process_time()
        found = properties.fit(encoded, COLUMN, folder, recipe, 0, "cpu", **options)
        seconds = time.process_time() - start
        size = sum(p.numel() for p in found.network.parameters())
        row = measured(found.predict(test.crystals))
        results[name] = row | {
            "parameters": size,
            "cpu_seconds": seconds,
            "steps": args.steps,
            **options,
        }
        print(name, results[name], flush=True)
        write("crystals-property", seeds=[0], data=data, results=results)
    card = {
        "description": "heat of formation of ABX3 perovskites, eV per atom",
        "unit": "eV per atom",
        "data": "Perov-5, training file (11,356 structures)",
        "measured": {"mae": row["mae"], "over": len(true), "order": row["order"]},
    }
    named = {k: getattr(found, k) for k in ("numbers", "weights", "scale", "options", "network")}
    properties.Regressor(
        COLUMN, **named, card={**found.card, **card}
    ).save(args.energy)  # fmt: skip


def guide(args: argparse.Namespace) -> None:
    """Sample with and without the energy."""
    torch.set_num_threads(1)
    model, energy = load(args.model), properties.load(args.energy)
    test = datasets.table("perov5:test")
    adapter = model.adapter
    assert isinstance(adapter, Adapter)
    judge = energy.on(adapter)
    pairs = twins(test)
    rng = np.random.default_rng(args.seed)
    pairs = [pairs[k] for k in np.sort(rng.permutation(len(pairs))[: args.limit])]
    targets = [test.crystals[a].composition for a, _ in pairs]
    true = np.array(test.properties[COLUMN])
    scale = args.scale
    steer = [
        (
            f"{args.steps} steps, steered at rate {rate:g}",
            args.steps,
            [hooks.Steer(lambda data: 5 * judge(data), rate=rate, low=args.low)],
        )
        for rate in args.rates
    ]
    rows: list[tuple[str, int, list[hooks.Hook]]] = [
        (f"{args.steps} steps", args.steps, []),
        *steer,
        (f"{4 * args.steps} steps", 4 * args.steps, []),
        (
            f"{args.steps} steps, best of 4",
            args.steps,
            [hooks.Particles(lambda data: -judge(data), 4, threshold=0.0, keep="best")],
        ),
        (
            f"{args.steps} steps, 4 particles",
            args.steps,
            [hooks.Particles(lambda data: -judge(data), 4, scale, low=args.low)],
        ),
    ]
    data = {"targets": "perov5:test", "compositions": len(pairs), "model": model.name}
    data |= {"scale of the particles, atoms per eV": scale, "low": args.low}
    results: dict[str, Any] = {}
    kept = [[duplicates.reduced(test.crystals[k]) for k in pair] for pair in pairs]
    for label, steps, used in rows:
        start = time.process_time()
        state = sample(
            model.system,
            model.network,
            adapter.frame_of(targets),
            Streams.range(args.seed, 0, len(targets), "sampling"),
            solver=solvers.make(model.sampling.solver),
            grid=grids.make(model.sampling.grid),
            steps=steps,
            hooks=used,
        )
        seconds = time.process_time() - start
        made = adapter.decode(state)
        results[label] = row = verdict(made, kept, pairs, true, energy)
        row["network_calls_per_structure"] = steps * (4 if "4" in label.split(",")[-1] else 1)
        if not used:
            row["network_calls_per_structure"] = steps
        row["cpu_seconds"] = seconds
        print(f"{label:34}", row, flush=True)
        write("crystals-guidance", seeds=[args.seed], data=data, results=results)


def verdict(
    made: list[Crystal],
    kept: list[list[Any]],
    pairs: list[tuple[int, int]],
    true: np.ndarray,
    energy: properties.Regressor,
) -> dict[str, Any]:
    """Which twins the structures match, and their energies."""
    lower, upper, gain = [], [], []
    for crystal, twin, (a, b) in zip(made, kept, pairs, strict=True):
        own = duplicates.reduced(crystal)
        hits = [
            own is not None
            and other is not None
            and alignment.displacement(own, other, alignment.STRICT) is not None
            for other in twin
        ]
        lower.append(hits[0])
        upper.append(hits[1] and not hits[0])
        if any(hits):
            gain.append(true[a if hits[0] else b] - (true[a] + true[b]) / 2)
    found = energy.predict(made)
    n = len(made)
    share = float(np.mean(lower))
    return {
        "lower": share,
        "lower_standard_error": (share * (1 - share) / n) ** 0.5,
        "upper": float(np.mean(upper)),
        "lower_of_matched": float(np.sum(lower) / max(1, np.sum(lower) + np.sum(upper))),
        "true_energy_against_mean_of_twins": float(np.mean(gain)) if gain else None,
        "predicted_energy": float(np.nanmean(found)),
        "predicted_energy_standard_error": float(np.nanstd(found) / n**0.5),
        "valid": float(np.mean([structure(c) for c in made])),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["fit", "guide"])
    parser.add_argument("--energy", required=True, help="file of the regressor")
    parser.add_argument("--model", default="perov5")
    parser.add_argument("--steps", type=int, help="of training (3500), of sampling (20)")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate")
    parser.add_argument("--cutoff", type=float, default=4.0)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--limit", type=int, default=200, help="compositions")
    parser.add_argument("--rates", type=float, nargs="*", default=[0.3, 1.0, 3.0])
    parser.add_argument("--scale", type=float, default=20.0)
    parser.add_argument("--low", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.steps = args.steps or (3500 if args.what == "fit" else 20)
    (fit if args.what == "fit" else guide)(args)


if __name__ == "__main__":
    main()
