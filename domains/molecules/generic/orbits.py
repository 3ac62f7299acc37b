r"""Orbit counts: how often a node stands in each place of each connected graph of 2 to 4 nodes.

The 15 orbits, numbered as by Przulj:

| graphlet | orbits |
|---|---|
| edge | 0 |
| path of 3, triangle | 1 end, 2 middle; 3 |
| path of 4, claw | 4 end, 5 inner; 6 leaf, 7 centre |
| cycle of 4 | 8 |
| paw (triangle with a tail) | 9 tail, 10 triangle, 11 where they meet |
| diamond, complete graph of 4 | 12 of degree 2, 13 of degree 3; 14 |

Subgraphs that need not be induced are sums of products of A, A^2 and the degrees: with t_ij = (A^2)_ij A_ij the
triangles on an edge and t_i = sum_j t_ij / 2 those on a node, the paths of 4 that end in i number

    S_4(i) = sum_j A_ij sum_{k != i} A_jk (d_k - 1) - 2 t_i

and so on. Each is a sum of induced counts with whole coefficients (a diamond holds four paws ...), a triangular system
that is solved from the complete graph down. One product of n x n matrices costs most; K_4 is counted among the
neighbours of each node.

Reference: Przulj, Biological network comparison using graphlet degree distribution, Bioinformatics 2007 (orbits);
Hocevar, Demsar, A combinatorial approach to graphlet counting, Bioinformatics 2014 (counting by equations).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

ORBITS = 15
_ENTRIES = 1 << 24  # entries of neighbourhoods at a time


def orbit_counts(adjacency: Float[Tensor, "n n"]) -> Float[Tensor, "n 15"]:
    """Count the orbits of every node.

    Args:
        adjacency: Symmetric 0/1 matrix with zero diagonal.

    Returns:
        Counts in float64, exact up to 2^53.
    """
    a = adjacency.double()
    d = a.sum(1)
    two = a @ a
    shared = two * a  # triangles on an edge
    t = shared.sum(1) / 2
    other = two - torch.diag_embed(d)  # common neighbours of two different nodes

    k4 = _complete(a)
    diamond_end = ((a @ (shared - a)) * a).sum(1) / 2
    diamond_middle = _choose2(shared).mul(a).sum(1)
    cycle = _choose2(other).sum(1)
    tail = a @ t - shared.sum(1)
    side = shared @ (d - 2)
    meeting = t * (d - 2)
    leaf = a @ _choose2(d - 1)
    centre = d * (d - 1) * (d - 2) / 6
    end = a @ (a @ (d - 1)) - d * (d - 1) - 2 * t
    inner = (d - 1) * (a @ (d - 1)) - shared.sum(1)

    o = torch.zeros(len(a), ORBITS, dtype=a.dtype, device=a.device)
    o[:, 0] = d
    o[:, 1] = a @ (d - 1) - 2 * t
    o[:, 2] = _choose2(d) - t
    o[:, 3] = t
    o[:, 14] = k4
    o[:, 13] = diamond_middle - 3 * k4
    o[:, 12] = diamond_end - 3 * k4
    o[:, 11] = meeting - 2 * o[:, 13] - 3 * k4
    o[:, 10] = side - 2 * o[:, 12] - 2 * o[:, 13] - 6 * k4
    o[:, 9] = tail - 2 * o[:, 12] - 3 * k4
    o[:, 8] = cycle - o[:, 12] - o[:, 13] - 3 * k4
    o[:, 7] = centre - o[:, 11] - o[:, 13] - k4
    o[:, 6] = leaf - o[:, 9] - o[:, 10] - 2 * o[:, 12] - o[:, 13] - 3 * k4
    o[:, 5] = inner - 2 * (o[:, 8] + o[:, 11] + o[:, 12]) - o[:, 10] - 4 * o[:, 13] - 6 * k4
    o[:, 4] = end - 2 * (o[:, 8] + o[:, 9] + o[:, 13]) - o[:, 10] - 4 * o[:, 12] - 6 * k4
    return o


def _choose2(x: Tensor) -> Tensor:
    return x * (x - 1) / 2


def _complete(a: Tensor) -> Tensor:
    """Complete graphs of 4 on each node: triangles among its neighbours."""
    n = len(a)
    most = int(a.sum(1).max()) if n else 0
    if most < 3:
        return a.new_zeros(n)
    found = []
    # The neighbours come first, the rest of a row is masked.
    near, order = a.sort(dim=1, descending=True, stable=True)
    for start in range(0, n, max(1, _ENTRIES // most**2)):
        rows = slice(start, start + max(1, _ENTRIES // most**2))
        index, real = order[rows, :most], near[rows, :most]
        inside = a[index.unsqueeze(2), index.unsqueeze(1)] * real.unsqueeze(2) * real.unsqueeze(1)
        found.append(((inside @ inside) * inside).sum((1, 2)) / 6)
    return torch.cat(found)


__all__ = ["ORBITS", "orbit_counts"]
