r"""A largest ring: bonds that would close a larger one are not believed.

The network says of every pair what it believes; the graph G of the believed bonds (those more likely than none) may
hold a ring that is too large, since pairs are believed one by one: two places where the same two pieces may be joined,
each as likely as the other, are one ring too many if both are taken. At every call from the time `low` on

* while a bond of G lies in no ring of at most `size` atoms, but in a larger one, the least believed such bond is
  taken out;
* a pair that is not joined, whose ends are at least `size` bonds apart within one piece of G, is not joined.

Both as certain: their law of the data becomes "no bond". Nothing else is changed, and what is generated still comes
from the network; a macrocycle that the data allow is not made any more.

Reference: Madeira et al., ConStruct, arXiv:2406.17341 (structural constraints kept along a discrete diffusion; there by
refusing the edges that break them).
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

SMALLEST = 3


@dataclass(frozen=True)
class LargestRing(Hook):
    """Keeps rings of more than `size` atoms out of what is believed.

    Args:
        size: Atoms of the largest ring, >= 3.
        low: Time from which on it acts; before, most of what is believed is believed for a while only.
    """

    size: int
    low: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < SMALLEST:
            raise expected("rings", self.size, f"a whole number >= {SMALLEST}")
        if not 0 <= self.low < 1:
            raise expected("low of rings", self.low, "a time in [0, 1)")

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        """Take bonds out of the believed law ``[B, P, K]``."""
        if t < self.low:
            return ends
        belief = ends["bonds"].x1
        taken = self.refused(belief, state.masks["bonds"], state.masks["atoms"].shape[1])
        none = torch.zeros_like(belief[:1, :1])
        none[..., 0] = 1
        law = torch.where(taken.unsqueeze(-1), none, belief)
        return {**ends, "bonds": replace(ends["bonds"], x1=law)}

    def refused(self, belief: Tensor, mask: Tensor, nodes: int) -> Tensor:
        """Return the pairs that are not to be bonds, bool ``[B, P]``.

        Args:
            belief: Believed law of the bonds ``[B, P, K]``, no bond first.
            mask: Real pairs ``[B, P]``.
            nodes: Number of atoms N, padding included.
        """
        i, j = pair_index(nodes, belief.device)
        joined = (belief.argmax(-1) > 0) & mask
        bond = 1 - belief[..., 0]
        left = joined.any(1).nonzero().flatten()  # graphs that may still hold such a ring
        while len(left):
            adjacency = matrix_of(joined[left], i, j, nodes)
            wrong = self._in_large_rings(adjacency, joined[left], i, j)
            some = wrong.any(1)
            left, wrong = left[some], wrong[some]
            weakest = bond[left].masked_fill(~wrong, torch.inf).argmin(1)
            joined[left, weakest] = False
        apart = distances(matrix_of(joined, i, j, nodes))[:, i, j]
        return mask & ~joined & (apart >= self.size) & apart.isfinite()  # what was taken out, too

    def _in_large_rings(self, adjacency: Tensor, joined: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Bonds ``[B, P]`` that lie in a ring, but in none of at most `size` atoms."""
        core = adjacency
        while True:  # what is left when ends of chains are cut off, again and again
            inner = (core.sum(-1) > 1).to(core.dtype)
            smaller = core * inner.unsqueeze(1) * inner.unsqueeze(2)
            if torch.equal(smaller, core):
                break
            core = smaller
        graph, pair = (joined & (core[:, i, j] > 0)).nonzero(as_tuple=True)
        wrong = torch.zeros_like(joined)
        if not len(graph):
            return wrong
        others = core[graph]
        rows = torch.arange(len(graph), device=graph.device)
        first, last = i[pair], j[pair]
        others[rows, first, last] = others[rows, last, first] = 0
        around = distances(others, first)[rows, last]  # bonds of the way around
        wrong[graph, pair] = around.isfinite() & (around >= self.size)
        return wrong


def matrix_of(pairs: Tensor, i: Tensor, j: Tensor, nodes: int) -> Tensor:
    """Return values of pairs ``[B, P]`` as symmetric matrices ``[B, N, N]``, zero on the diagonal."""
    matrix = torch.zeros(len(pairs), nodes, nodes, device=pairs.device)
    matrix[:, i, j] = matrix[:, j, i] = pairs.float()
    return matrix


def distances(adjacency: Tensor, start: Tensor | None = None) -> Tensor:
    """Bonds between atoms of graphs ``[B, N, N]``, infinite between pieces.

    Returns:
        ``[B, N, N]``, or from one atom each ``[B, N]``.
    """
    nodes = adjacency.shape[-1]
    eye = torch.eye(nodes, device=adjacency.device)
    front = eye.expand_as(adjacency) if start is None else eye[start].unsqueeze(1)
    apart = torch.where(front > 0, 0.0, torch.inf)
    for steps in range(1, nodes):
        front = ((front @ adjacency) > 0) & apart.isinf()
        if not bool(front.any()):
            break
        apart = apart.masked_fill(front, float(steps))
        front = front.to(adjacency.dtype)
    return apart if start is None else apart.squeeze(1)


__all__ = ["LargestRing", "distances", "matrix_of"]
