"""Why aromatic rings are rare among samples: what a model of QM9 believes of the bond that a ring lacks.

    SCIFLOW_DATA=... python benchmarks/aromatic.py -n 12000 --repeats 5

Molecules, held out and of the training, are noised to time t; the model says of each pair what it was. Averaged over
pairs that are chosen by the noisy graph alone, belief and truth must agree: a model that sees what makes the group
does so by its training. The groups are pairs without a bond whose ends are joined by alternating bonds, so that a
single one closes an aromatic ring of five (by an N or O) or of six. Results go to
``benchmarks/results/aromatic-qm9.json``.
"""

from __future__ import annotations

import argparse
import math
import random
from typing import Any

import torch
from record import write
from torch import Tensor

import sciflow
from sciflow.domains.molecules import Molecules
from sciflow.domains.molecules.graphs import encode
from sciflow.domains.molecules.networks.ends import sum_of_ends, to_matrix
from sciflow.domains.molecules.networks.transformer import alternation
from sciflow.domains.molecules.training import GraphDataset
from sciflow.state import State
from sciflow.streams import Streams

FIVE, SIX = 3, 5
"""Walks SDSD and DSDSD among the pair features of `alternation`."""
BATCH = 500


def groups(state: State, hetero: Tensor) -> dict[str, Tensor]:
    """Pairs ``[B, P]`` of each group.

    Args:
        state: Noisy labels.
        hetero: Which atom types close a ring of five ``[K]``.
    """
    nodes, bonds = state["atoms"].shape[1], state["bonds"]
    single, double = (to_matrix((bonds == k).float(), nodes) for k in (1, 2))
    walks = alternation(single, double)[1].permute(2, 1, 0) > 0
    ends = sum_of_ends(hetero[state["atoms"]].float().t().unsqueeze(-1))[..., 0].t() > 0
    free = (bonds == 0) & state.masks["bonds"]
    five, six = free & walks[FIVE] & ends, free & walks[SIX]
    return {"closes five": five, "closes six": six, "no bond, others": free & ~five & ~six}


def judge(model: sciflow.Model, data: GraphDataset, hetero: Tensor, t: float, repeats: int) -> Any:
    """Mean belief in a bond, its true share and the standard error of that, for each group."""
    sums: dict[str, list[float]] = {}
    for repeat in range(repeats):
        for start in range(0, len(data), BATCH):
            index = torch.arange(start, min(start + BATCH, len(data)))
            clean, times = data.batch(index), torch.full((len(index),), t)
            streams = Streams(repeat, index, "calibration")
            state = model.system.corrupt(clean, times, streams).state
            with torch.inference_mode():
                believed = model.system.predict(model.network, state, times, t)["bonds"].x1
            for name, chosen in groups(state, hetero).items():
                total = sums.setdefault(name, [0.0, 0.0, 0.0])
                total[0] += int(chosen.sum())
                total[1] += float((1 - believed[..., 0])[chosen].sum())
                total[2] += int((clean["bonds"][chosen] > 0).sum())
    rows = {}
    for name, (count, belief, true) in sums.items():
        share = true / max(count, 1)
        error = math.sqrt(share * (1 - share) / max(count, 1))
        rows[name] = {
            "pairs": int(count),
            "believed": belief / max(count, 1),
            "true": share,
            "standard_error": error,
        }
        print(f"{model.name:20s} t = {t}: {name:16s} {rows[name]}", flush=True)
    return rows


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["qm9"])
    parser.add_argument("--data", nargs="+", default=["qm9:test", "qm9:train"])
    parser.add_argument("-n", type=int, default=4000, help="molecules of each")
    parser.add_argument("--times", type=float, nargs="+", default=[0.5, 0.7, 0.8, 0.9])
    parser.add_argument("--repeats", type=int, default=3, help="noisy graphs of each molecule")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for reference in args.data:
        mols = Molecules.read(reference).objects
        mols = random.Random(0).sample(mols, min(args.n, len(mols)))
        for name in args.models:
            model = sciflow.load(name)
            adapter: Any = model.adapter
            graphs = encode(mols, adapter.vocabulary, adapter.max_atoms, whole=True).graphs
            hetero = torch.tensor([symbol in ("N", "O") for symbol, _ in adapter.vocabulary.kinds])
            data = GraphDataset(graphs, adapter.process)
            model.network.eval()
            print(f"{name} on {reference}")
            results[f"{name}, {reference}"] = {
                str(t): judge(model, data, hetero, t, args.repeats) for t in args.times
            }
    path = write(
        "aromatic-qm9",
        seeds=list(range(args.repeats)),
        data={"references": args.data, "molecules of each": args.n},
        results=results,
    )
    print(f"\nwritten to benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
