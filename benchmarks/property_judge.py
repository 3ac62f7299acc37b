"""A judge of properties that no program at hand computes: a small message-passing network on the graph.

It learns from one half of the training data, the odd one; what it judges is guided by the labels of the even half. Its
own error on held-out molecules is the floor of every figure that it gives.

Reference: Gilmer et al., Neural message passing for quantum chemistry, arXiv:1704.01212; the two halves as in Hoogeboom
et al., arXiv:2203.17003, section 5.3.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor, nn

from sciflow import checkpoint
from sciflow.domains.molecules import datasets, validity
from sciflow.domains.molecules.properties import column

PROPERTIES = ("gap", "mu")
DATA = "qm9:train-odd"
HELD_OUT = "qm9:test"
LARGEST = 9
_ELEMENTS = (6, 7, 8, 9)
_BONDS = (1.0, 2.0, 3.0, 1.5)
_NODE, _PAIR = len(_ELEMENTS) + 9, len(_BONDS) + 2


def features(mols: Sequence[Chem.Mol]) -> tuple[Tensor, Tensor]:
    """Return what the judge sees of sanitised molecules: nodes ``[M, 9, 13]`` and pairs ``[M, 9, 9, 6]``."""
    nodes = np.zeros((len(mols), LARGEST, _NODE), np.float32)
    pairs = np.zeros((len(mols), LARGEST, LARGEST, _PAIR), np.float32)
    for k, mol in enumerate(mols):
        rings = mol.GetRingInfo()
        for atom in mol.GetAtoms():
            i = atom.GetIdx()
            one_hot = [atom.GetAtomicNum() == z for z in _ELEMENTS]
            sizes = [rings.IsAtomInRingOfSize(i, size) for size in (3, 4, 5, 6)]
            rest = (
                1.0,
                atom.GetTotalNumHs() / 3,
                atom.GetDegree() / 4,
                atom.GetIsAromatic(),
                atom.GetFormalCharge(),
            )
            nodes[k, i] = [*one_hot, *sizes, *rest]
        for bond in mol.GetBonds():
            i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            kind = [bond.GetBondTypeAsDouble() == order for order in _BONDS]
            pairs[k, i, j] = pairs[k, j, i] = [*kind, bond.GetIsConjugated(), bond.IsInRing()]
    return torch.from_numpy(nodes), torch.from_numpy(pairs)


class Judge(nn.Module):
    """Rounds of messages along bonds, and a sum over atoms.

    Args:
        width: Width of the nodes.
        rounds: Number of rounds.
    """

    def __init__(self, width: int = 64, rounds: int = 4) -> None:
        super().__init__()
        self.start = nn.Linear(_NODE, width)
        self.update = nn.ModuleList(
            nn.Sequential(
                nn.Linear((_PAIR + 2) * width, width), nn.SiLU(), nn.Linear(width, width)
            )
            for _ in range(rounds)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(rounds))
        self.head = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, nodes: Tensor, pairs: Tensor) -> Tensor:
        """Return standardised properties ``[B, 2]``."""
        real = nodes[..., len(_ELEMENTS) + 4 : len(_ELEMENTS) + 5]
        count = nodes.shape[1]
        # One matrix of bonds per feature: [B, N F, N].
        bonds = pairs.transpose(2, 3).reshape(len(pairs), -1, count)
        x = self.start(nodes) * real
        for norm, update in zip(self.norm, self.update, strict=True):
            y = norm(x) * real
            message = (bonds @ y).view(len(x), count, -1)
            everyone = (y.sum(1, keepdim=True) / real.sum(1, keepdim=True)).expand_as(x)
            x = (x + update(torch.cat([y, message, everyone], -1))) * real
        return self.head(torch.cat([x.sum(1) / 9, x.amax(1)], -1))


def known(name: str, count: int | None = None) -> tuple[list[Chem.Mol], Tensor]:
    """Return valid neutral molecules of a data set in a fixed random order, and their properties ``[M, 2]``."""
    mols, rows = datasets.table(name)
    order = np.random.default_rng(0).permutation(len(mols))
    chosen, kept = [], []
    for k in order:
        if count is not None and len(chosen) == count:
            break
        clean = validity.sanitized(validity.raw(mols[k]))
        if clean is not None and not any(a.GetFormalCharge() for a in clean.GetAtoms()):
            chosen.append(clean)
            kept.append(rows[k])
    columns = [column(prop, chosen, kept, name) for prop in PROPERTIES]
    values = np.stack(columns, 1)
    whole = np.isfinite(values).all(1)  # a few rows of the table lack a number
    return [chosen[k] for k in whole.nonzero()[0]], torch.from_numpy(values[whole]).float()


def train(path: Path, epochs: int, seed: int = 0) -> dict[str, Any]:
    """Train a judge, write it to a file, and return its facts and its error on held-out molecules."""
    torch.manual_seed(seed)
    mols, values = known(DATA)
    mean, std = values.mean(0), values.std(0)
    nodes, pairs = features(mols)
    target = (values - mean) / std
    judge = Judge()
    size, batch = len(mols), 256
    steps = epochs * (size // batch)
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.05)
    started, step = time.process_time(), 0
    for epoch in range(epochs):
        for index in torch.randperm(size).split(batch)[: size // batch]:
            loss = (judge(nodes[index], pairs[index]) - target[index]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
        if epoch % 5 == 4 or epoch == epochs - 1:
            spent = time.process_time() - started
            print(f"epoch {epoch + 1}: loss {float(loss.detach()):.4f}, {spent:.0f} s", flush=True)
    held_out, truth = known(HELD_OUT)
    header = {
        "data": DATA,
        "molecules": size,
        "epochs": epochs,
        "parameters": sum(p.numel() for p in judge.parameters()),
        "cpu_seconds": time.process_time() - started,
        "mean": mean.tolist(),
        "std": std.tolist(),
    }
    checkpoint.save(path, judge.state_dict(), header)
    error = (predict(path, held_out) - truth).abs().mean(0)
    facts = {**header, "error": dict(zip(PROPERTIES, error.tolist(), strict=True))}
    facts["held_out"] = len(held_out)
    checkpoint.save(path, judge.state_dict(), facts)
    return facts


@torch.inference_mode()
def predict(path: Path, mols: Sequence[Chem.Mol]) -> Tensor:
    """Return the properties that the judge in `path` sees in sanitised molecules, ``[M, 2]``."""
    tensors, header = checkpoint.load(path)
    judge = Judge()
    checkpoint.load_into(judge, tensors, str(path))
    judge.eval()
    nodes, pairs = features(mols)
    parts = [judge(a, b) for a, b in zip(nodes.split(1000), pairs.split(1000), strict=True)]
    return torch.cat(parts) * torch.tensor(header["std"]) + torch.tensor(header["mean"])
