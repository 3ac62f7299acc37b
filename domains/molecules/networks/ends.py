"""From pairs to matrices, from nodes to the pairs that they end, and back.

A symmetric matrix ``[N, N]`` with zero diagonal lives on its P = N (N - 1) / 2 unordered pairs, in the order of
`sciflow.spaces.pair_index`. Each map here is linear and the adjoint of another one here: the backward pass of a gather
is the sum that belongs to it, with no matrix of zeros to fill and add to. Small graphs take products with 0/1 matrices
instead, which are faster on a CPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sciflow.spaces import pair_index

_PRODUCT = 16
"""Up to this many nodes every map is a product with a 0/1 matrix; tuned on CPU."""


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # kept for later calls, which may record gradients
def _pair_map(nodes: int, device: torch.device) -> Tensor:
    """Pair number of each of the N x N entries, P on the diagonal; flat int64 ``[N * N]``."""
    i, j = pair_index(nodes, device)
    table = torch.full((nodes, nodes), i.shape[0], device=device)
    table[i, j] = table[j, i] = torch.arange(i.shape[0], device=device)
    return table.flatten()


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _entries(nodes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the pairs (i, j) and (j, i) lie in the flat matrix: int64 ``[P]`` each."""
    i, j = pair_index(nodes, device)
    return i * nodes + j, j * nodes + i


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _others(nodes: int, device: torch.device) -> Tensor:
    """Pairs of each node with the others; flat int64 ``[N * (N - 1)]``."""
    node = torch.arange(nodes, device=device).unsqueeze(1)
    other = torch.arange(nodes - 1, device=device)
    other = other + (other >= node)  # all but the node itself
    return _pair_map(nodes, device).view(nodes, nodes).gather(1, other).flatten()


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _selection(kind: str, nodes: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """0/1 matrices of the maps below, ``[rows, columns]`` of the flattened axes."""
    i, j = pair_index(nodes, device)
    if kind == "matrix":  # [P, N * N]
        return F.one_hot(_pair_map(nodes, device), i.shape[0] + 1)[:, :-1].t().to(dtype)
    if kind == "pairs":  # [N * N, P], both entries of a pair
        both = F.one_hot(i * nodes + j, nodes * nodes) + F.one_hot(j * nodes + i, nodes * nodes)
        return both.t().to(dtype)
    if kind == "ends":  # [P, N]
        return (F.one_hot(i, nodes) + F.one_hot(j, nodes)).to(dtype)
    return F.one_hot(i if kind == "first" else j, nodes).to(dtype)  # [P, N]


class _Map(torch.autograd.Function):
    """A linear map of `_MAPS` whose backward pass is its adjoint there."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, name: str, nodes: int) -> Tensor:
        return _MAPS[name][0](x, nodes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, str, int], output: Tensor) -> None:
        _, ctx.name, ctx.nodes = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _apply(_MAPS[ctx.name][1], gradient, ctx.nodes), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:  # type: ignore[override]
        return _apply(ctx.name, tangent, ctx.nodes)


def _apply(name: str, x: Tensor, nodes: int) -> Tensor:
    # A compiler derives the backward pass by itself, and takes no function with derivatives of both kinds.
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Map.apply(x, name, nodes)  # type: ignore[return-value]
    return _MAPS[name][0](x, nodes)


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Entries `index` of the last axis; `torch.gather` takes a fifth of the time of `index_select` there."""
    return x.gather(-1, index.expand(*x.shape[:-1], -1))


def _matrix(pairs: Tensor, nodes: int) -> Tensor:
    return _pick(F.pad(pairs, (0, 1)), _pair_map(nodes, pairs.device)).unflatten(
        -1, (nodes, nodes)
    )


def _pairs(matrix: Tensor, nodes: int) -> Tensor:
    lower, upper = _entries(nodes, matrix.device)
    flat = matrix.flatten(-2)
    return _pick(flat, lower).add_(_pick(flat, upper))


def _spread(x: Tensor, nodes: int) -> Tensor:
    i, j = pair_index(nodes, x.device)
    return x.index_select(0, i).add_(x.index_select(0, j))


def _gather(pairs: Tensor, nodes: int) -> Tensor:
    if pairs.is_cuda:  # atomic sums would come in any order
        rows = pairs.index_select(0, _others(nodes, pairs.device))
        return rows.unflatten(0, (nodes, nodes - 1)).sum(1)
    i, j = pair_index(nodes, pairs.device)
    total = pairs.new_zeros(nodes, *pairs.shape[1:])
    return total.index_add_(0, i, pairs).index_add_(0, j, pairs)


_MAPS = {
    "matrix": (_matrix, "pairs"),
    "pairs": (_pairs, "matrix"),
    "spread": (_spread, "gather"),
    "gather": (_gather, "spread"),
}
"""Each map and the name of its adjoint."""


def to_matrix(pairs: Tensor, nodes: int) -> Tensor:
    """Spread values on pairs ``[..., P]`` to symmetric matrices ``[..., N, N]`` with zero diagonal."""
    if nodes <= _PRODUCT:
        flat = pairs @ _selection("matrix", nodes, pairs.device, pairs.dtype)
        return flat.unflatten(-1, (nodes, nodes))
    return _apply("matrix", pairs, nodes)


def to_pairs(matrix: Tensor) -> Tensor:
    """Sum the entries (i, j) and (j, i), i > j, of matrices ``[..., N, N]``: ``[..., P]``."""
    nodes = matrix.shape[-1]
    if nodes <= _PRODUCT:
        return matrix.flatten(-2) @ _selection("pairs", nodes, matrix.device, matrix.dtype)
    return _apply("pairs", matrix, nodes)


def sum_of_ends(nodes: Tensor) -> Tensor:
    """Sum over the two end nodes of each pair: ``[N, B, F]`` to ``[P, B, F]``."""
    count = nodes.shape[0]
    if count <= _PRODUCT:
        both = _selection("ends", count, nodes.device, nodes.dtype)
        return (both @ nodes.flatten(1)).view(-1, *nodes.shape[1:])
    return _apply("spread", nodes, count)


def to_ends(nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Values of the two end nodes of each pair: ``[N, B, F]`` to twice ``[P, B, F]``."""
    count, device = nodes.shape[0], nodes.device
    if count <= _PRODUCT:
        flat = nodes.flatten(1)
        first, second = (_selection(k, count, device, nodes.dtype) for k in ("first", "second"))
        shape = (-1, *nodes.shape[1:])
        return (first @ flat).view(shape), (second @ flat).view(shape)
    i, j = pair_index(count, device)
    return nodes.index_select(0, i), nodes.index_select(0, j)


def from_ends(pairs: Tensor, nodes: int) -> Tensor:
    """Sum over the pairs that end in each node: ``[P, B, F]`` to ``[N, B, F]``."""
    if nodes <= _PRODUCT:
        both = _selection("ends", nodes, pairs.device, pairs.dtype)
        return (both.t() @ pairs.flatten(1)).view(nodes, *pairs.shape[1:])
    return _apply("gather", pairs, nodes)


__all__ = ["from_ends", "sum_of_ends", "to_ends", "to_matrix", "to_pairs"]
