"""Spaces: the law of their noise, masks, the nearest point, degrees of freedom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciflow.spaces import Categorical, Euclidean, Space, Symmetric, pair_index
from sciflow.streams import Streams

F64 = torch.float64
NODES, REAL = 6, 4


def node_mask(batch: int) -> Tensor:
    return (torch.arange(NODES) < REAL).expand(batch, NODES)


def pair_mask(batch: int) -> Tensor:
    node = node_mask(batch)
    return node.unsqueeze(1) & node.unsqueeze(2)


def test_pairs_of_the_first_nodes_come_first() -> None:
    i, j = pair_index(5)
    assert list(zip(i.tolist(), j.tolist(), strict=True))[:4] == [(1, 0), (2, 0), (2, 1), (3, 0)]
    few_i, few_j = pair_index(3)
    assert torch.equal(i[:3], few_i) and torch.equal(j[:3], few_j)


def test_symmetric_noise_is_exactly_symmetric_standard_and_blind_to_padding() -> None:
    space = Symmetric()
    x = space.noise((NODES, NODES), Streams.range(0, 0, 4000), pair_mask(4000), F64)
    assert torch.equal(x, x.transpose(1, 2))
    assert (x.diagonal(dim1=1, dim2=2) == 0).all()
    assert (x[:, REAL:] == 0).all() and (x[:, :, REAL:] == 0).all()
    i, j = pair_index(REAL)
    covariance = torch.cov(x[:, i, j].T)
    assert (covariance - torch.eye(len(i), dtype=F64)).abs().max() < 4.5 * (2 / 4000) ** 0.5
    small = space.noise((REAL, REAL), Streams.range(0, 0, 4000), None, F64)
    assert torch.equal(x[:, :REAL, :REAL], small)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("space", [Euclidean(), Symmetric()], ids=["euclidean", "symmetric"])
def test_projection_is_the_nearest_point(space: Space, masked: bool) -> None:
    mask = pair_mask(3) if masked else None
    x = torch.randn(3, NODES, NODES, dtype=F64)
    nearest = space.project(x, mask)
    assert torch.equal(space.project(nearest, mask), nearest)
    inside = space.noise((NODES, NODES), Streams.range(0, 0, 3), mask, F64)
    assert torch.equal(space.project(inside, mask), inside)
    # What was taken away is orthogonal to the space.
    assert abs(float(((x - nearest) * inside).sum())) < 1e-12
    assert torch.allclose(space.move(x, space.difference(inside, x)), inside, atol=1e-14)


def test_dimension_counts_the_free_coordinates() -> None:
    x = torch.zeros(2, NODES, NODES, dtype=F64)
    assert Symmetric().dimension(x, None).tolist() == [15, 15]
    assert Symmetric().dimension(x, pair_mask(2)).tolist() == [6, 6]
    nodes = torch.zeros(2, NODES, 3)
    assert Euclidean().dimension(nodes, node_mask(2)).tolist() == [12, 12]
    # |noise|^2 has that mean.
    noise = Symmetric().noise((NODES, NODES), Streams.range(1, 0, 5000), pair_mask(5000), F64)
    squares = noise.square().flatten(1).sum(1) / 2
    assert abs(float(squares.mean()) - 6) < 4 * (12 / 5000) ** 0.5


def test_labels_are_flat_and_zero_on_padding() -> None:
    space = Categorical(5)
    labels = space.noise((NODES,), Streams.range(0, 0, 6000), node_mask(6000), torch.float32)
    assert labels.dtype == torch.int64 and (labels[:, REAL:] == 0).all()
    counts = torch.bincount(labels[:, :REAL].flatten(), minlength=5).double()
    assert len(counts) == 5
    assert float(((counts - 4800) ** 2 / 4800).sum()) < 18.5  # 4 degrees of freedom, p = .001
