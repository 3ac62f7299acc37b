r"""Distances between sets of graphs: squared maximum mean discrepancies of four statistics.

    MMD^2(X, Y) = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),   all pairs, x = x' too

| name | statistic of a graph | kernel |
|---|---|---|
| degree | share of nodes of each degree | exp(-E^2 / 2), E the earth mover's distance, neighbouring degrees 1 apart |
| clustering | share of nodes by clustering coefficient, 100 bins in [0, 1] | the same with s = .1, bins .01 apart |
| orbit | mean count of each of 15 orbits per node | exp(-\|x - y\|^2 / (2 30^2)) |
| spectral | share of eigenvalues of the normalised Laplacian, 200 bins in [-1e-5, 2] | exp(-E^2 / 2), bins 1 apart |

Nodes without an edge are dropped first. These are the kernels of GDSS's protocol, with its biased estimate; in one
dimension the earth mover's distance is the L1 distance of the cumulative shares. Two samples of one law are not 0
apart: read a distance beside its floor.

Reference: You et al., GraphRNN, ICML 2018, section 4.3 (degree, clustering, orbit); Liao et al., GRAN, NeurIPS 2019
(spectral); Jo, Lee, Hwang, arXiv:2202.02514, section 5.1. The authors' code lets eigenvalues fall out of the last bin
where rounding puts them above 2; here they stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from .orbits import orbit_counts

CLUSTERING_BINS = 100
SPECTRAL_BINS = 200
NAMES = ("degree", "clustering", "orbit", "spectral")
AVERAGED = NAMES[:3]
"""The three whose mean GDSS reports."""


@dataclass(frozen=True)
class Statistics:
    """The four statistics of M graphs, one row each; graphs without an edge count as one lone node.

    Args:
        rows: Name to ``[M, ...]``: cumulative shares of degree, clustering and spectral, counts of orbit.
    """

    rows: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.rows["orbit"])

    @classmethod
    def of(cls, graphs: Sequence[nx.Graph]) -> Statistics:
        """Take the statistics of graphs."""
        found = [_of(graph) for graph in graphs]
        if not found:
            return cls({name: torch.zeros(0, 1, dtype=torch.float64) for name in NAMES})
        most = max(len(row["degree"]) for row in found)
        rows = {}
        for name in NAMES:
            parts = [row[name] for row in found]
            if name == "degree":
                parts = [torch.cat([p, p.new_zeros(most - len(p))]) for p in parts]
            stacked = torch.stack(parts)
            rows[name] = stacked if name == "orbit" else stacked.cumsum(1)
        return cls(rows)

    def select(self, index: Tensor | slice) -> Statistics:
        """Return some of the rows."""
        return Statistics({name: rows[index] for name, rows in self.rows.items()})


def _of(graph: nx.Graph) -> dict[str, Tensor]:
    kept = [node for node, degree in graph.degree if degree]
    a = torch.zeros(max(len(kept), 1), max(len(kept), 1), dtype=torch.float64)
    place = {node: k for k, node in enumerate(kept)}
    for one, other in graph.edges:
        if one != other:
            a[place[one], place[other]] = a[place[other], place[one]] = 1.0
    n, d = len(a), a.sum(1)
    orbits = orbit_counts(a)
    pairs = d * (d - 1) / 2
    clustering = torch.where(pairs > 0, orbits[:, 3] / pairs.clamp_min(1), 0.0)
    scale = d.clamp_min(1).rsqrt()
    laplacian = torch.diag((d > 0).double()) - scale[:, None] * a * scale
    return {
        "degree": torch.bincount(d.long()).double() / n,
        "clustering": _histogram(clustering, CLUSTERING_BINS, 0.0, 1.0) / n,
        "orbit": orbits.mean(0),
        "spectral": _histogram(torch.linalg.eigvalsh(laplacian), SPECTRAL_BINS, -1e-5, 2.0) / n,
    }


def _histogram(values: Tensor, bins: int, low: float, high: float) -> Tensor:
    counts, _ = np.histogram(values.clamp(low, high).numpy(), bins, (low, high))
    return torch.from_numpy(counts).double()


def kernel(name: str, x: Tensor, y: Tensor) -> Tensor:
    """Return the kernel matrix ``[len(x), len(y)]`` of rows of a statistic; see the module."""
    if name == "orbit":
        return torch.exp(-(torch.cdist(x, y) ** 2) / (2 * 30.0**2))
    width = max(x.shape[1], y.shape[1])  # a cumulative share stays 1 behind its last bin
    x, y = (torch.cat([r, r[:, -1:].expand(-1, width - r.shape[1])], 1) for r in (x, y))
    moved = torch.cdist(x, y, p=1.0)
    if name == "clustering":
        return torch.exp(-((moved / CLUSTERING_BINS) ** 2) / (2 * 0.1**2))
    return torch.exp(-(moved**2) / 2)


def mmd(name: str, x: Statistics, y: Statistics) -> float:
    """Return the squared MMD of one statistic between two sets of graphs, both not empty."""
    a, b = x.rows[name], y.rows[name]
    value = kernel(name, a, a).mean() + kernel(name, b, b).mean() - 2 * kernel(name, a, b).mean()
    return float(value)


def distances(x: Statistics, y: Statistics) -> dict[str, float]:
    """Return all four, and ``average``, the mean of degree, clustering and orbit."""
    found = {name: mmd(name, x, y) for name in NAMES}
    return {**found, "average": sum(found[name] for name in AVERAGED) / len(AVERAGED)}


__all__ = ["AVERAGED", "NAMES", "Statistics", "distances", "kernel", "mmd"]
