r"""One piece: what is believed of the bonds holds the molecule together.

The graph of the believed bonds (those more likely than none) may fall into pieces, since pairs are believed one by one:
where two pieces may be joined in many ways, each is unlikely. At every call from the time `low` on, while there are
several pieces, the likeliest bond between two of them is believed for certain: its law of the data is that of the
network, given that there is a bond. Nothing else is changed; whether atoms can bear the bond is the network's to say.

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
        low: Time from which on it acts.
    """

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
        joints = self.joints(law, state.masks["bonds"], state.masks["atoms"].shape[1])
        bond = law.index_fill(-1, torch.zeros(1, dtype=torch.int64, device=law.device), 0.0)
        bond = bond / bond.sum(-1, keepdim=True).clamp_min(1e-20)
        law = torch.where(joints.unsqueeze(-1), bond, law)
        return {**ends, "bonds": replace(ends["bonds"], x1=law)}

    def joints(self, belief: Tensor, mask: Tensor, nodes: int) -> Tensor:
        """Return the pairs that are to be bonds, bool ``[B, P]``.

        Args:
            belief: Believed law of the bonds ``[B, P, K]``, no bond first.
            mask: Real pairs ``[B, P]``.
            nodes: Number of atoms N, padding included.
        """
        i, j = pair_index(nodes, belief.device)
        joined = (belief.argmax(-1) > 0) & mask
        bond = 1 - belief[..., 0]
        found = torch.zeros_like(joined)
        left = mask.any(1).nonzero().flatten()  # molecules that may still be in pieces
        while len(left):
            apart = distances(matrix_of(joined[left], i, j, nodes))[:, i, j]
            between = apart.isinf() & mask[left]
            some = between.any(1)
            left, between = left[some], between[some]
            best = bond[left].masked_fill(~between, -1.0).argmax(1)
            joined[left, best] = True
            found[left, best] = True
        return found


__all__ = ["OnePiece"]
