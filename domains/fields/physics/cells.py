r"""Cell-centred grids of an interval: n cells of width L / n with centres (i + 1/2) L / n.

Coarsening takes the mean of the cells that merge, so it keeps integrals; refining interpolates with the cubic through
the four nearest centres (one-sided at walls), which is fourth order.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import torch
from torch import Tensor

from sciflow.errors import expected


def centres(
    count: int, length: float = 1.0, origin: float = 0.0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Return the centres of `count` cells."""
    return origin + (torch.arange(count, dtype=dtype) + 0.5) * (length / count)


def coarsen(values: Tensor, count: int) -> Tensor:
    """Return means over cells ``[..., n] -> [..., count]``; `count` divides n."""
    if values.shape[-1] % count:
        raise expected("cells of the coarse grid", count, f"a divisor of {values.shape[-1]}")
    return values.unflatten(-1, (count, -1)).mean(-1)


def refine(values: Tensor, count: int, periodic: bool = False) -> Tensor:
    """Return values at the centres of a finer (or another) grid ``[..., n] -> [..., count]``, by cubics."""
    if values.shape[-1] == count:
        return values
    nodes, weights = _cubic(values.shape[-1], count, periodic)
    # A sum of shifted copies, not a matrix product: that may sum in another order for another batch.
    parts = (
        values.index_select(-1, node.to(values.device)) * weight.to(values)
        for node, weight in zip(nodes, weights, strict=True)
    )
    return sum(parts, start=values.new_zeros(()))


@lru_cache(maxsize=64)
def _cubic(coarse: int, fine: int, periodic: bool) -> tuple[Tensor, Tensor]:
    """Four coarse cells for each fine one, and their weights: ``[4, fine]`` both."""
    with torch.inference_mode(False):
        points = min(4, coarse)
        place = centres(fine, coarse) - 0.5  # in units of coarse cells, 0 at the first centre
        first = place.floor().long() - (points - 1) // 2
        if not periodic:
            first = first.clamp(0, coarse - points)
        nodes = first + torch.arange(points)[:, None]
        weights = torch.ones(points, fine, dtype=torch.float64)
        for j, k in itertools.permutations(range(points), 2):
            weights[j] *= (place - nodes[k]) / (nodes[j] - nodes[k])
        return nodes % coarse, weights
