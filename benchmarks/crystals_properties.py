"""Crystals by their properties: how far what is made lies from what was asked for.

    SCIFLOW_DATA=... python benchmarks/crystals_properties.py -n 250

Targets are the properties of random test structures of MP-20 whose energy is known, one for each crystal. Energies of
formation are judged by CHGNet (one evaluation of the crystal as it was made, reference energies of the elements fitted
to training structures), band gaps and, once more, energies by networks that see the composition alone, fitted to the
other half of the test structures, whose labels no model has seen; density and number of elements are computed. Errors
are means over valid structures. Beside them stand the same figures for crystals of which nothing was asked, for the
crystals against the targets of others (``shuffled``), and the judge's own error on the structures that the targets were
taken from (``floor``). Results go to ``benchmarks/results/crystals-properties.json``.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import write

from sciflow.domains.crystals import (
    Crystal,
    datasets,
    encode,
    property,
    relaxation,
    stability,
    validity,
)
from sciflow.domains.crystals.training import COMPUTED
from sciflow.learning import Recipe
from sciflow.model import Model, load
from sciflow.runtime.generate import generate

ENERGY, GAP = "formation_energy_per_atom", "band_gap"
JUDGES = Path("runs/composition-judges")
Judge = Any
"""From crystals to numbers, NaN where there is none."""


def halves() -> tuple[list[Crystal], dict[str, np.ndarray], list[Crystal], dict[str, np.ndarray]]:
    """Test structures with an energy: those for the judges, and those of the targets."""
    table = datasets.table("mp20:test")
    known = np.isfinite(table.properties[ENERGY]).nonzero()[0]
    order = np.random.default_rng(0).permutation(known)
    parts: list[Any] = []
    for chosen in (order[::2], order[1::2]):
        crystals = [table.crystals[k] for k in chosen]
        values = {k: np.array(table.properties[k])[chosen] for k in (ENERGY, GAP)}
        values |= {k: np.array([f(c) for c in crystals]) for k, f in COMPUTED.items()}
        parts += [crystals, values]
    return tuple(parts)  # type: ignore[return-value]


def judges(crystals: list[Crystal], values: dict[str, np.ndarray], steps: int) -> dict[str, Judge]:
    """Judges by name."""
    found: dict[str, Judge] = {}
    for name in (ENERGY, GAP):
        encoded = encode(crystals, properties={name: values[name].tolist()}).crystals
        recipe = Recipe(steps, 128, 5e-3, 1e-3, warmup=50, ema=0.995, checkpoint_every=500)
        network = property.fit(
            encoded, name, JUDGES / f"{name}-{steps}", recipe, 0, "cpu", layers=0
        )
        found[f"{name}, by composition"] = network.predict
    train = datasets.table("mp20:train")
    formation = train.properties[ENERGY]
    chosen = [k for k in range(len(formation)) if math.isfinite(formation[k])]
    chosen = np.random.default_rng(0).permutation(chosen)[:300].tolist()
    own = [train.crystals[k] for k in chosen]
    references = stability.References.fit(
        own, [formation[k] for k in chosen], relaxation.energies(own)
    )
    print(f"references: {references.error:.4f} eV on {references.over}", flush=True)

    def energy(made: list[Crystal]) -> np.ndarray:
        pairs = zip(made, relaxation.energies(made), strict=True)
        return np.array([references.formation(c, e) for c, e in pairs])

    found[f"{ENERGY}, by CHGNet"] = energy
    for name, function in COMPUTED.items():
        found[name] = lambda made, f=function: np.array([f(c) for c in made])
    return found


def errors(found: np.ndarray, wanted: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Figures of one property; crystals that the judge cannot see are left out."""
    seen = np.isfinite(found)
    found, wanted = found[seen], wanted[seen]
    other = np.random.default_rng(seed).permutation(wanted)
    away = np.abs(found - wanted)
    return {
        "error": float(away.mean()),
        "standard_error": float(away.std() / math.sqrt(len(away))),
        "median": float(np.median(away)),
        "shuffled": float(np.abs(found - other).mean()),
        "correlation": float(np.corrcoef(found, wanted)[0, 1]),
        "mean": float(found.mean()),
        "over": len(away),
    }


def measure(
    model: Model,
    asked: list[str],
    guidance: float | None,
    n: int,
    seed: int,
    values: dict[str, np.ndarray],
    known: dict[str, Judge],
) -> dict[str, Any]:
    """Generate n crystals for n targets and judge them; `guidance` None asks for nothing."""
    wanted = {name: values[name][:n] for name in model.adapter.null()}
    options = {} if guidance is None else {name: wanted[name].tolist() for name in asked}
    start = time.process_time()
    made = generate(model, n, seed, options=options, guidance=guidance, device="cpu").objects
    row: dict[str, Any] = {"asked": asked, "guidance": guidance, "n": n, "seed": seed}
    row["cpu_seconds_sampling"] = time.process_time() - start
    fit = [k for k, crystal in enumerate(made) if not validity.problem(crystal)]
    row["valid structure"] = len(fit) / n
    row["charges balance"] = sum(validity.composition(c.composition) for c in made) / n
    valid = [made[k] for k in fit]
    row["figures"] = {
        name: errors(judge(valid), wanted[name.split(",")[0]][fit])
        for name, judge in known.items()
    }
    return row


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mp20-properties", help="a name or a folder")
    parser.add_argument("-n", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--judge", type=int, default=1500, help="steps of training of a judge")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    own, labels, targets, values = halves()
    known = judges(own, labels, args.judge)
    # A wish has to lie within the values of the training data.
    scales = model.adapter.conditions.scales  # pyright: ignore[reportAttributeAccessIssue]
    inside = [
        k
        for k in range(len(targets))
        if all(s.low <= values[name][k] <= s.high for name, s in scales.items())
    ]
    values = {name: v[inside] for name, v in values.items()}
    targets = [targets[k] for k in inside]
    floor = {
        name: errors(judge(targets[: args.n]), values[name.split(",")[0]][: args.n])
        for name, judge in known.items()
    }
    print("floor", {k: round(v["error"], 4) for k, v in floor.items()}, flush=True)
    names = list(scales)
    plan: list[tuple[list[str], float | None]] = [([], None)]
    plan += [([ENERGY], w) for w in args.guidance] + [(names, w) for w in args.guidance]
    plan += [([name], args.guidance[-1]) for name in names if name != ENERGY]
    rows: list[dict[str, Any]] = []
    for asked, guidance in plan:
        rows.append(measure(model, asked, guidance, args.n, args.seed, values, known))
        shown = {k: round(v["error"], 3) for k, v in rows[-1]["figures"].items()}
        shares = {
            k: rows[-1][k] for k in ("valid structure", "charges balance", "cpu_seconds_sampling")
        }
        print(asked, guidance, shares, shown, flush=True)
        write(
            "crystals-properties",
            seeds=[args.seed],
            data={"targets": "mp20:test", "judges": len(own), "of": len(targets)},
            results={"model": model.name, "floor": floor, "rows": rows},
        )


if __name__ == "__main__":
    main()
