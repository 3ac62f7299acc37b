"""GDSS's released weights under the authors' settings: our sampler, and in the same run the authors' own code.

    SCIFLOW_DATA=... python benchmarks/gdss.py gdss_qm9.pth --rival GDSS -n 1000
    SCIFLOW_DATA=... python benchmarks/gdss.py gdss_qm9.pth --rival GDSS -n 1000 --calls --seeds 1 2 3

Both sides draw n graphs in one batch with the same numbers of atoms, 1000 steps, one thread, the same network
evaluations; both are judged by our metrics. The rival is a checkout of the authors' repository (not needed for our
side), from which the two score networks, the SDEs and the predictor-corrector sampler are used as they are. Results go
to ``benchmarks/results/gdss-<data>.json``; a run replaces the rows that it measures and keeps the others.

With ``--calls`` the same weights are sampled in few steps (`QUICK`), every sample by its own norms: quality against
network calls, to ``gdss-<data>-calls.json``. The settings were chosen on seed 77; it is refused here. Of the rival a
few of its 1000 steps are timed in the same run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gdss_speed import rival_networks
from record import COMMIT, RESULTS, write

from sciflow.domains.molecules import Molecules, datasets, gdss_checkpoint
from sciflow.domains.molecules.gdss import import_weights
from sciflow.domains.molecules.reference import Reference
from sciflow.model import Model
from sciflow.runtime.device import keep_memory
from sciflow.runtime.generate import Generation
from sciflow.state import State
from sciflow.streams import Streams

CHOICE = 77
"""Seed on which the settings below were chosen."""
TIMED = 10
"""Steps of the rival that are timed in a run with ``--calls``."""
FLOOR = 20_000
"""Training molecules of ZINC250k from which the floors are drawn (and novelty is looked up)."""
SCALES = {"qm9": 0.7, "zinc250k": 0.8}
"""The authors' scale of the corrector's noise."""


def quick(data: str) -> dict[str, tuple[dict[str, Any], str, int, int]]:
    """Settings with few network calls: name to solver, grid, steps and calls."""
    langevin = {"snr": 0.2, "scale": SCALES[data], "norm": "sample"}
    pair = {"name": "predictor-corrector", "predictor": "reverse-diffusion", **langevin}
    found = {}
    for steps in (25, 50, 100, 200, 400):
        found[f"S4, {steps} steps"] = ({"name": "s4", **langevin}, "uniform", steps, steps)
    for steps in (25, 50, 100):
        title = f"predictor-corrector, {steps} steps"
        found[title] = (pair, "uniform", steps, 2 * steps)
    return found


FIGURES = (
    "valid",
    "connected",
    "valid_and_connected",
    "unique",
    "novel",
    "nspdk",
    "fcd",
    "gdss_valid",
    "gdss_unique",
    "gdss_novel",
    "gdss_nspdk",
    "gdss_fcd",
)


def ours(
    model: Model, n: int, seed: int, solver: Any, steps: int | None, grid: str = "uniform"
) -> tuple[list[Any], float]:
    """Return molecules of our sampler and its CPU seconds."""
    generation = Generation.of(
        model, n, seed, steps, solver, grid, batch_size=n if n <= 1000 else 500, device="cpu"
    )
    start = time.process_time()
    mols = [mol for batch in generation.batches() for mol in batch]
    return mols, time.process_time() - start


def rival(
    folder: Path, path: Path, model: Model, n: int, seed: int, steps: int | None = None
) -> tuple[list[Any], float]:
    """Return molecules of the authors' code and its CPU seconds; fewer steps than theirs are for timing alone."""
    checkpoint = gdss_checkpoint.read(path)
    networks = rival_networks(folder, checkpoint)
    sde = importlib.import_module("sde")
    kinds = {"VP": (sde.VPSDE, "beta"), "VE": (sde.VESDE, "sigma")}

    def process(of: Any) -> Any:
        kind, name = kinds[of["type"]]
        limits = {f"{name}_min": of["beta_min"], f"{name}_max": of["beta_max"]}
        return kind(**limits, N=steps or of["num_scales"])

    authors, adapter = checkpoint.sampler, model.adapter
    frame = adapter.frame(Streams.range(seed, 0, n, "sizes"))
    real = frame.masks["atoms"].shape[1]
    # Their networks want graphs padded to the largest of the data.
    nodes, features = checkpoint.params_adj["max_node_num"], checkpoint.params_x["max_feat_num"]
    mask = torch.nn.functional.pad(frame.masks["atoms"].float(), (0, nodes - real))
    sampler = importlib.import_module("solver").get_pc_sampler(
        process(checkpoint.config["sde"]["x"]),
        process(checkpoint.config["sde"]["adj"]),
        (n, nodes, features),
        (n, nodes, nodes),
        predictor={"reverse": "Reverse", "euler": "Euler"}[authors.predictor],
        corrector="Langevin" if authors.corrector else "None",
        snr=authors.snr,
        scale_eps=authors.scale_eps,
        n_steps=authors.n_steps,
        continuous=True,
        eps=authors.eps,
        device="cpu",
    )
    torch.manual_seed(seed)
    start = time.process_time()
    x, adj, _ = sampler(*networks, mask)
    seconds = time.process_time() - start
    made = {"atoms": x[:, :real], "bonds": adj[:, :real, :real]}
    return adapter.decode(State(made, frame.masks)), seconds


def judged(
    name: str, run: Callable[[], tuple[list[Any], float]], n: int, seed: int, data: Data
) -> dict[str, Any]:
    """Run one side and judge it."""
    mols, seconds = run()
    metrics = Molecules.metrics(mols, data.reference, data.train)
    cost = seconds / n * 1000
    print(f"\n{name}, seed {seed}: {cost:.1f} CPU s per 1000\n{metrics.to_text()}", flush=True)
    figures = metrics.summary()["figures"]
    return {
        "sampler": name,
        "seed": seed,
        "n": n,
        "cpu_seconds_per_1000": cost,
        "figures": {key: figures[key] for key in FIGURES if key in figures},
        "commit": COMMIT,
    }


@dataclass(frozen=True)
class Data:
    """The data of a checkpoint: held-out and training molecules."""

    name: str
    reference: Reference
    train: Reference | None

    @classmethod
    def of(cls, model: Model, train_too: bool = True) -> Data:
        name = str(model.card["data"]).partition(",")[0].lower()
        reference = Molecules.read(f"{name}:test").objects
        if not train_too:
            return cls(name, Reference(reference), None)
        # Nothing generated is ever found among those of ZINC250k: a part is enough for the floors.
        train = datasets.molecules(f"{name}:train", None if name == "qm9" else FLOOR)
        return cls(name, Reference(reference), Reference(train))


def full(args: argparse.Namespace, model: Model, data: Data) -> dict[str, Any]:
    """Measure the authors' settings on both sides; rows of earlier runs that are not measured again stay."""
    authors = dict(model.sampling.solver)  # type: ignore[arg-type]
    seed = args.seeds[0]
    rows = []
    for norm in args.norms:
        solver = authors | {"norm": norm}
        rows.append(
            judged(
                f"ours, {norm} norms",
                partial(ours, model, args.n, seed, solver, args.steps),
                args.n,
                seed,
                data,
            )
        )
    if args.rival:
        rows.append(
            judged(
                "authors' code",
                partial(rival, args.rival, args.checkpoint, model, args.n, seed),
                args.n,
                seed,
                data,
            )
        )
    path = RESULTS / f"gdss-{data.name}.json"
    before = json.loads(path.read_text())["results"]["rows"] if path.is_file() else []
    now = {row["sampler"] for row in rows}
    kept = [row for row in before if row["sampler"] not in now]
    return {"steps": args.steps or model.sampling.steps, "rows": [*rows, *kept]}


def calls(args: argparse.Namespace, model: Model, data: Data) -> dict[str, Any]:
    """Measure quality against network calls."""
    theirs = None
    if args.rival:
        n, steps = min(args.n, 1000 if data.name == "qm9" else 64), model.sampling.steps
        _, seconds = rival(args.rival, args.checkpoint, model, n, args.seeds[0], TIMED)
        theirs = seconds / TIMED * steps / n * 1000
        print(f"authors' code: {theirs:.0f} CPU s per 1000, of {TIMED} steps of {n}", flush=True)
    path = RESULTS / f"gdss-{data.name}-calls.json"
    before = json.loads(path.read_text())["results"] if path.is_file() else {"rows": []}
    earlier = {row["sampler"]: row for row in before["rows"]}
    theirs = theirs or before.get("authors_cpu_seconds_per_1000")
    rows = []
    for name, (solver, grid, steps, count) in quick(data.name).items():
        if args.only and name not in args.only:
            rows += [earlier[name]] if name in earlier else []
            continue
        kept = earlier[name]["runs"] if name in earlier else []
        runs = [run for run in kept if run["seed"] not in args.seeds and run["n"] == args.n]
        runs += [
            judged(
                name,
                partial(ours, model, args.n, seed, solver, steps, grid),
                args.n,
                seed,
                data,
            )
            for seed in args.seeds
        ]
        cost = statistics.fmean(run["cpu_seconds_per_1000"] for run in runs)
        mean, spread = {}, {}
        for key in FIGURES:
            found = [run["figures"].get(key, {}).get("value") for run in runs]
            values = [value for value in found if value is not None]
            mean[key] = statistics.fmean(values) if values else None
            spread[key] = max(values) - min(values) if len(values) > 1 else None
        rows.append(
            {
                "sampler": name,
                "solver": solver,
                "grid": grid,
                "calls": count,
                "cpu_seconds_per_1000": cost,
                "share_of_authors": cost / theirs if theirs else None,
                "mean": mean,
                "spread": spread,
                "runs": runs,
            }
        )
    return {"n": args.n, "authors_cpu_seconds_per_1000": theirs, "rows": rows}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rival", type=Path)
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--norms",
        nargs="*",
        default=["sample", "batch"],
        help="norms of the Langevin step: of the sample, or means over the batch as in the authors' code",
    )
    parser.add_argument("--steps", type=int, help="steps of our sampler, for a quick look")
    parser.add_argument("--calls", action="store_true", help="few steps: quality against calls")
    parser.add_argument("--no-train", action="store_true", help="without novelty and floors")
    parser.add_argument("--only", nargs="+", help="names of settings of --calls; all without")
    args = parser.parse_args()
    if args.calls and CHOICE in args.seeds:
        parser.error(f"seed {CHOICE} chose the settings: take others")
    torch.set_num_threads(1)
    keep_memory()
    model = import_weights(args.checkpoint)
    data = Data.of(model, not args.no_train)
    path = write(
        f"gdss-{data.name}" + ("-calls" if args.calls else ""),
        seeds=args.seeds,
        data={
            "weights": args.checkpoint.name,
            "reference": f"{data.name}:test",
            "molecules": len(data.reference),
        },
        results=(calls if args.calls else full)(args, model, data),
    )
    print(f"\nwritten to benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
