"""GDSS's released weights under the authors' settings: our sampler, and in the same run the authors' own code.

    SCIFLOW_DATA=... python benchmarks/gdss.py gdss_qm9.pth --rival GDSS -n 1000

Both sides draw n graphs in one batch with the same numbers of atoms, 1000 steps, one thread, the same network
evaluations; both are judged by our metrics. The rival is a checkout of the authors' repository (not needed for our
side), from which the two score networks, the SDEs and the predictor-corrector sampler are used as they are. Results go
to ``benchmarks/results/gdss-<file>.json``.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path
from typing import Any

import torch
from gdss_speed import rival_networks
from record import write

from sciflow.domains.molecules import Molecules, gdss_checkpoint
from sciflow.domains.molecules.gdss import import_weights
from sciflow.domains.molecules.reference import Reference
from sciflow.model import Model
from sciflow.runtime.generate import Generation
from sciflow.state import State
from sciflow.streams import Streams

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
    model: Model, n: int, seed: int, solver: Any, steps: int | None
) -> tuple[list[Any], float]:
    """Return molecules of our sampler and its CPU seconds."""
    generation = Generation.of(
        model, n, seed, steps, solver, batch_size=n if n <= 1000 else 500, device="cpu"
    )
    start = time.process_time()
    mols = [mol for batch in generation.batches() for mol in batch]
    return mols, time.process_time() - start


def rival(folder: Path, path: Path, model: Model, n: int, seed: int) -> tuple[list[Any], float]:
    """Return molecules of the authors' code and its CPU seconds."""
    checkpoint = gdss_checkpoint.read(path)
    networks = rival_networks(folder, checkpoint)
    sde = importlib.import_module("sde")
    kinds = {"VP": (sde.VPSDE, "beta"), "VE": (sde.VESDE, "sigma")}

    def process(of: Any) -> Any:
        kind, name = kinds[of["type"]]
        limits = {f"{name}_min": of["beta_min"], f"{name}_max": of["beta_max"]}
        return kind(**limits, N=of["num_scales"])

    authors, adapter = checkpoint.sampler, model.adapter
    frame = adapter.frame(Streams.range(seed, 0, n, "sizes"))
    mask = frame.masks["atoms"].float()
    nodes, features = mask.shape[1], len(adapter.vocabulary)  # type: ignore[attr-defined]
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
    return adapter.decode(State({"atoms": x, "bonds": adj}, frame.masks)), seconds


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rival", type=Path)
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--norms",
        nargs="+",
        default=["sample", "batch"],
        help="norms of the Langevin step: of the sample, or means over the batch as in the authors' code",
    )
    parser.add_argument("--steps", type=int, help="steps of our sampler, for a quick look")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = import_weights(args.checkpoint)
    data = str(model.card["data"]).partition(",")[0].lower()
    reference = Reference(Molecules.read(f"{data}:test").objects)
    train = Reference(Molecules.read(f"{data}:train").objects)
    authors = dict(model.sampling.solver)  # type: ignore[arg-type]
    sides = {
        f"ours, norm {norm}": lambda norm=norm: ours(
            model, args.n, args.seed, authors | {"norm": norm}, args.steps
        )
        for norm in args.norms
    }
    if args.rival:
        sides["authors' code"] = lambda: rival(
            args.rival, args.checkpoint, model, args.n, args.seed
        )
    rows = []
    for name, run in sides.items():
        mols, seconds = run()
        metrics = Molecules.metrics(mols, reference, train)
        print(
            f"\n{name}: {seconds / args.n * 1000:.0f} CPU s per 1000\n{metrics.to_text()}",
            flush=True,
        )
        figures = metrics.summary()["figures"]
        rows.append(
            {
                "sampler": name,
                "cpu_seconds_per_1000": seconds / args.n * 1000,
                "figures": {key: figures[key] for key in FIGURES},
            }
        )
    result: dict[str, Any] = {
        "n": args.n,
        "steps": args.steps or model.sampling.steps,
        "rows": rows,
    }
    if args.rival:
        result["ratio"] = rows[0]["cpu_seconds_per_1000"] / rows[-1]["cpu_seconds_per_1000"]
    path = write(
        f"gdss-{args.checkpoint.stem.removeprefix('gdss_')}",
        seeds=[args.seed],
        data={
            "weights": args.checkpoint.name,
            "reference": f"{data}:test",
            "molecules": len(reference),
        },
        results=result,
    )
    print(f"\nwritten to benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
