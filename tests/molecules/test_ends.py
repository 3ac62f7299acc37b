"""Maps between pairs, matrices and nodes: what they compute, their adjoints and derivatives, for every size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciflow.domains.molecules.networks import ends
from sciflow.spaces import pair_index

NODES = [3, 9, 17, 40]  # below and above the size where the way changes


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def maps(n: int) -> dict[str, tuple]:
    """Each map, its adjoint, and an argument of both."""
    pairs, matrix = (2, n * (n - 1) // 2), (2, n, n)
    on_pairs, on_nodes = (n * (n - 1) // 2, 2, 3), (n, 2, 3)
    spread, gather = ends.sum_of_ends, lambda x: ends.from_ends(x, n)
    return {
        "matrix": (lambda x: ends.to_matrix(x, n), ends.to_pairs, random(*pairs), random(*matrix)),
        "pairs": (ends.to_pairs, lambda x: ends.to_matrix(x, n), random(*matrix), random(*pairs)),
        "spread": (spread, gather, random(*on_nodes), random(*on_pairs)),
        "gather": (gather, spread, random(*on_pairs), random(*on_nodes)),
    }


@pytest.mark.parametrize("n", NODES)
def test_definition(n: int) -> None:
    i, j = pair_index(n)
    pairs, nodes = random(2, len(i)), random(n, 2, 3)
    matrix = ends.to_matrix(pairs, n)
    assert torch.equal(matrix[:, i, j], pairs) and torch.equal(matrix[:, j, i], pairs)
    assert matrix.diagonal(dim1=1, dim2=2).abs().sum() == 0
    assert torch.allclose(ends.to_pairs(matrix), 2 * pairs)
    first, second = ends.to_ends(nodes)
    assert torch.equal(first, nodes[i]) and torch.equal(second, nodes[j])
    assert torch.allclose(ends.sum_of_ends(nodes), nodes[i] + nodes[j])
    rows = torch.stack([ends.to_matrix(pairs, n).sum(-1)] * 3, -1)  # [2, n, 3]
    summed = ends.from_ends(pairs.t().unsqueeze(-1).expand(-1, -1, 3), n)
    assert torch.allclose(summed, rows.transpose(0, 1))


@pytest.mark.parametrize("n", NODES)
@pytest.mark.parametrize("name", ["matrix", "pairs", "spread", "gather"])
def test_adjoint_and_derivatives(name: str, n: int) -> None:
    apply, adjoint, x, y = maps(n)[name]
    x.requires_grad_()
    assert torch.allclose((apply(x) * y).sum(), (x * adjoint(y)).sum())
    (gradient,) = torch.autograd.grad((apply(x) * y).sum(), x)
    assert torch.allclose(gradient, adjoint(y))
    with torch.no_grad():
        plain = apply(x)
    assert torch.equal(plain, apply(x))
    tangent = torch.func.jvp(apply, (x.detach(),), (x.detach(),))[1]
    assert torch.allclose(tangent, plain)  # linear
    # by two backward passes
    _, twice = torch.autograd.functional.jvp(apply, x, x, create_graph=True)
    assert torch.allclose(twice, plain)


@pytest.mark.parametrize("n", [9, 20])
def test_one_graph_when_compiled(n: int) -> None:
    def run(pairs: Tensor, nodes: Tensor) -> Tensor:
        matrix = ends.to_matrix(pairs, n)
        own = ends.from_ends(ends.sum_of_ends(nodes), n).sum()
        return (ends.to_pairs(matrix @ matrix) * pairs).sum() + own + ends.to_ends(nodes)[0].sum()

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    found = []
    for function in (run, compiled):
        pairs, nodes = (
            random(2, n * (n - 1) // 2).requires_grad_(),
            random(n, 2, 3).requires_grad_(),
        )
        value = function(pairs, nodes)
        found.append([value, *torch.autograd.grad(value, (pairs, nodes))])
    assert all(map(torch.allclose, *found))


def test_vmap() -> None:
    n = 20
    x, y = random(4, 2, n * (n - 1) // 2), random(2, n, n)
    each = torch.func.vmap(torch.func.grad(lambda z: (ends.to_matrix(z, n) * y).sum()))(x)
    assert torch.allclose(each, ends.to_pairs(y).expand_as(each))


def test_the_sum_of_a_gpu_is_the_same() -> None:
    n = 20
    pairs = random(n * (n - 1) // 2, 2, 3)
    rows = pairs.index_select(0, ends._others(n, pairs.device)).unflatten(0, (n, n - 1)).sum(1)
    assert torch.allclose(rows, ends.from_ends(pairs, n))
