"""Scaffolds held and rewards climbed: what constraints and steering do to molecules, and what they cost.

    SCIFLOW_DATA=... python benchmarks/steering.py --seeds 0 1

Scaffolds: the share of samples that hold the scaffold, kekulised, atom by atom (which is by construction) and as RDKit
finds it once rings are aromatic, and the share that is valid and connected; beside it the share of samples without a
wish that hold it. Rewards: the mean of n samples, each of COUNT times the network calls, beside the mean of plain
samples and the best of COUNT plain ones, which costs the same. Results go to
``benchmarks/results/steering-<model>.json``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rdkit import Chem
from record import write

import sciflow
from sciflow.runtime.device import keep_memory
from sciflow.runtime.generate import Generated

SCAFFOLDS = ("c1ccccc1", "C1CCCC1", "C(=O)N", "c1ccoc1", "*C1CC1")
REWARDS = ("logp", "qed")
COUNT = 8
BEST = {"threshold": 0.0, "keep": "best"}
WAYS: dict[str, Mapping[str, Any]] = {
    f"best of {COUNT}": BEST,
    "particles from t = .5": {"low": 0.5, "keep": "best"},
    "particles from t = .8": {"low": 0.8, "keep": "best"},
    "candidates from t = .5": {"method": "candidates", "low": 0.5},
}


def shares(made: Generated, patterns: Sequence[Chem.Mol] = ()) -> dict[str, Any]:
    """Validity, uniqueness and, among the valid ones, the share that holds each pattern."""
    adapter = made.model.adapter
    fit = [mol for mol in map(adapter.judged, made.objects) if mol is not None]
    smiles = {Chem.MolToSmiles(mol) for mol in fit}
    return {
        "n": len(made),
        "valid_and_connected": len(fit) / len(made),
        "unique": len(smiles) / max(len(fit), 1),
        "seconds": made.seconds,
        "holds": [
            sum(mol.HasSubstructMatch(query) for mol in fit) / max(len(fit), 1)
            for query in patterns
        ],
    }


def kekulised(made: Generated, scaffold: str) -> float:
    """Share of all samples, valid or not, whose graph holds the kekulised scaffold in its first atoms."""
    query = Chem.MolFromSmiles(scaffold)
    Chem.Kekulize(query, clearAromaticFlags=True)
    bare = Chem.RWMol(query)
    for atom in [a.GetIdx() for a in reversed(list(query.GetAtoms())) if not a.GetAtomicNum()]:
        bare.RemoveAtom(atom)
    first = list(range(bare.GetNumAtoms()))

    def holds(mol: Chem.Mol) -> bool:
        same = all(
            mol.GetAtomWithIdx(k).GetSymbol() == bare.GetAtomWithIdx(k).GetSymbol() for k in first
        )
        bonds = [(mol.GetBondBetweenAtoms(i, j), bare.GetBondBetweenAtoms(i, j))
                 for i in first for j in first if i < j]  # fmt: skip
        return same and all(
            (a is None) == (b is None) and (a is None or a.GetBondType() == b.GetBondType())
            for a, b in bonds
        )

    return sum(map(holds, made.objects)) / len(made)


def rewarded(made: Generated, name: str) -> dict[str, Any]:
    """Mean and spread of a reward among the samples that are fit to be judged."""
    adapter = made.model.adapter
    function = adapter.rewards()[name]
    values = [function(mol) for mol in map(adapter.judged, made.objects) if mol is not None]
    own = {"mean": statistics.fmean(values), "std": statistics.pstdev(values)}
    return {**shares(made), **own, "values": values}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="qm9")
    parser.add_argument("-n", type=int, default=30, help="samples per way and seed")
    parser.add_argument("--scaffolded", type=int, default=100, help="samples per scaffold")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    model = sciflow.load(args.model)
    first = args.seeds[0]
    plain = [sciflow.generate(model, args.n * COUNT, seed, device="cpu") for seed in args.seeds]
    queries = [Chem.MolFromSmiles(text.replace("*", "")) for text in SCAFFOLDS]
    without = shares(plain[0], queries)
    print("plain", without, flush=True)
    scaffolds = []
    for text, query, share in zip(SCAFFOLDS, queries, without["holds"], strict=True):
        for repeats in (1, 3):
            options = {"scaffold": text, "repeats": repeats}
            made = sciflow.generate(model, args.scaffolded, first, options=options, device="cpu")
            row = shares(made, [query])
            row |= {"scaffold": text, "repeats": repeats, "without": share}
            row |= {"holds": row["holds"][0], "kekulised": kekulised(made, text)}
            scaffolds.append(row)
            print(row, flush=True)
    rewards: list[dict[str, Any]] = []
    save(args, model, without, scaffolds, rewards)
    for name in REWARDS:
        for way, options in {"plain": None, **WAYS}.items():
            runs = []
            for seed, known in zip(args.seeds, plain, strict=True):
                made = known
                if options is not None:
                    reward = {"name": name, "count": COUNT, **options}
                    made = sciflow.generate(model, args.n, seed, reward=reward, device="cpu")
                run = rewarded(made, name)
                run.pop("values")
                runs.append(run)
            means = [run["mean"] for run in runs]
            row = {
                "reward": name,
                "way": way,
                "calls": 1 if options is None else COUNT,
                "mean": statistics.fmean(means),
                "spread": max(means) - min(means),
                "runs": runs,
            }
            rewards.append(row)
            print({k: v for k, v in row.items() if k != "runs"}, flush=True)
            save(args, model, without, scaffolds, rewards)


def save(
    args: argparse.Namespace,
    model: sciflow.Model,
    without: dict[str, Any],
    scaffolds: list[dict[str, Any]],
    rewards: list[dict[str, Any]],
) -> None:
    """Write the rows so far."""
    write(
        f"steering-{model.name}",
        seeds=args.seeds,
        data={"model": model.name},
        results={
            "model": model.name,
            "count": COUNT,
            "n": args.n,
            "plain": without,
            "scaffolds": scaffolds,
            "rewards": rewards,
        },
    )


if __name__ == "__main__":
    main()
