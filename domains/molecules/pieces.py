r"""One piece: what is believed of the bonds holds the molecule together.

The graph of the believed bonds (those more likely than none) may fall into pieces, since pairs are believed one by one:
where two pieces may be joined in many ways, each is unlikely. At every call from the time `low` on, while there are
several pieces, the likeliest bond between two of them is believed for certain, as a single one: the likeliest between
two atoms that have a valence free in what is believed, where there are such. Nothing else is changed.

Reference: Madeira et al., ConStruct, arXiv:2406.17341 (structural constraints kept along a discrete diffusion).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sciflow.errors import expected
from sciflow.hooks import Hook
from sciflow.paths.base import Ends
from sciflow.spaces import pair_index
from sciflow.state import State
from sciflow.system import System

from .rings import distances, matrix_of


@dataclass(frozen=True)
class OnePiece(Hook):
    """Joins the pieces of what is believed.

    Args:
        valences: Largest normal valence of each atom type ``[K]``.
        low: Time from which on it acts.
    """

    valences: tuple[int, ...]
    low: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.low < 1:
            raise expected("low of one piece", self.low, "a time in [0, 1)")

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        """Put bonds into the believed law ``[B, P, K]``."""
        if t < self.low:
            return ends
        law = ends["bonds"].x1
        joints = self.joints(law, ends["atoms"].x1, state.masks["bonds"])
        single = torch.zeros_like(law[:1, :1])
        single[..., 1] = 1
        law = torch.where(joints.unsqueeze(-1), single, law)
        return {**ends, "bonds": replace(ends["bonds"], x1=law)}

    def joints(self, belief: Tensor, atoms: Tensor, mask: Tensor) -> Tensor:
        """Return the pairs that are to be bonds, bool ``[B, P]``.

        Args:
            belief: Believed law of the bonds ``[B, P, K]``, no bond first.
            atoms: Believed law of the atoms ``[B, N, K]``.
            mask: Real pairs ``[B, P]``.
        """
        nodes = atoms.shape[1]
        i, j = pair_index(nodes, belief.device)
        orders = belief.argmax(-1) * mask
        joined, bond = orders > 0, 1 - belief[..., 0]
        known = torch.tensor(self.valences, device=belief.device)
        free = known[atoms.argmax(-1)] - matrix_of(orders, i, j, nodes).sum(-1)
        found = torch.zeros_like(joined)
        left = mask.any(1).nonzero().flatten()  # molecules that may still be in pieces
        while len(left):
            apart = distances(matrix_of(joined[left], i, j, nodes))[:, i, j]
            between = apart.isinf() & mask[left]
            some = between.any(1)
            left, between = left[some], between[some]
            able = (free[left][:, i] >= 1) & (free[left][:, j] >= 1)
            # Above 1 where both can bear it: before all where one cannot.
            best = (bond[left] + able).masked_fill(~between, -1.0).argmax(1)
            joined[left, best] = found[left, best] = True
            free[left, i[best]] -= 1
            free[left, j[best]] -= 1
        return found


__all__ = ["OnePiece"]
