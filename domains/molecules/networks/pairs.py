r"""Dense graphs laid out for speed: batch last, one entry for each pair of nodes, grouped by size.

A batch of symmetric matrices ``[C, B, N, N]`` with zero (or constant) diagonal is kept as pairs
``[C, P, b]``, P = n (n - 1) / 2 in the order of ``torch.tril_indices(n, n, -1)``, or as matrices
``[C, n, n, b]``; nodes are ``[F, n, b]``. With the batch last sums over neighbours, outer products
and the way from pairs to matrices and back run over contiguous memory, and a linear layer is one
product of two matrices. On a CPU the graphs are taken by size, as many at a time as the cache
holds, and each group is only as wide as its largest graph: padding costs nothing.

The functions here are exact; on a CPU, without gradients, elu and tanh are computed by

    elu(z) + 1 = max(z, 0) + 2^(min(z, 0) / ln 2),    tanh(z) = 2 sigmoid(2 z) - 1,

with the ones and the factors folded into the weights nearby: 2 to 4 times as quick as torch's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Weights = list[tuple[Tensor, Tensor]]

_LN2 = math.log(2.0)
# Tuned for 512 KB of second-level cache; they decide the time taken and nothing else.
_GROUP = 1 << 14  # matrix entries of one channel in a group of graphs
_SCORES = 1 << 18  # attention scores at a time
_HIDDEN = 1 << 17  # entries of a hidden layer at a time
_OUTER = 16  # up to this many nodes sums of outer products beat batched matrix products


@dataclass(frozen=True)
class _Table:
    """The pairs of n nodes, and where they lie in a flattened n x n matrix."""

    rows: Tensor
    columns: Tensor
    lower: Tensor
    upper: Tensor
    full: Tensor  # the pair each entry holds; on the diagonal one behind the last


@lru_cache(maxsize=256)
def _table(n: int, device: torch.device) -> _Table:
    with torch.inference_mode(False):  # kept for later calls, which may record gradients
        i, j = torch.tril_indices(n, n, -1)
        full = torch.full((n, n), len(i))
        full[i, j] = full[j, i] = torch.arange(len(i))
        parts = (i, j, i * n + j, j * n + i, full.flatten())
        return _Table(*(part.to(device) for part in parts))


@dataclass(frozen=True)
class Graphs:
    """A group of graphs, batch last.

    Attributes:
        nodes: Node features ``[F, n, b]``.
        matrix: Symmetric matrices ``[n, n, b]``.
        mask: 1 where there is a node, ``[n, b]``; None if all are there.
        pair_mask: 1 where both nodes of a pair are there, ``[P, b]``.
        table: Where the pairs lie.
    """

    nodes: Tensor
    matrix: Tensor
    mask: Tensor | None
    pair_mask: Tensor | None
    table: _Table

    @classmethod
    def of(cls, x: Tensor, a: Tensor, mask: Tensor | None) -> Graphs:
        """Lay out nodes ``[b, n, F]``, matrices ``[b, n, n]`` and their mask ``[b, n]``."""
        table = _table(x.shape[1], x.device)
        pair_mask = None
        if mask is not None:
            mask = mask.to(x.dtype).t().contiguous()
            pair_mask = mask[table.rows] * mask[table.columns]
        x, a = x.permute(2, 1, 0).contiguous(), a.permute(1, 2, 0).contiguous()
        return cls(x, a, mask, pair_mask, table)

    @property
    def size(self) -> tuple[int, int]:
        """Nodes n and graphs b: the last two dimensions."""
        return self.nodes.shape[1], self.nodes.shape[2]

    def lower(self, matrices: Tensor) -> Tensor:
        """Return the entries i > j of matrices ``[C, n, n, b]`` as pairs ``[C, P, b]``."""
        return matrices.flatten(1, 2).index_select(1, self.table.lower)

    def upper(self, matrices: Tensor) -> Tensor:
        """Return the entries j > i, in the order of `lower`."""
        return matrices.flatten(1, 2).index_select(1, self.table.upper)

    def matrices(self, e: Tensor, diagonal: float) -> Tensor:
        """Return the symmetric matrices ``[C, n, n, b]`` of pairs ``[C, P, b]``."""
        n, b = self.size
        e = torch.cat([e, e.new_full((1, 1, 1), diagonal).expand(e.shape[0], 1, b)], 1)
        return e.index_select(1, self.table.full).unflatten(1, (n, n))

    def powers(self, count: int) -> Tensor:
        """Return the pairs ``[count, P, b]`` of the matrix, its square and so on."""
        a = self.matrix.unsqueeze(0)
        powers = [a]
        while len(powers) < count:
            powers.append(aggregate(a, powers[-1]))
        return self.lower(torch.cat(powers))

    def mask_nodes(self, x: Tensor) -> Tensor:
        """Return nodes ``[F, n, b]``, zero where there is none."""
        return x if self.mask is None else x * self.mask

    def mask_pairs(self, e: Tensor) -> Tensor:
        """Return pairs ``[C, P, b]``, zero where a node is missing."""
        return e if self.pair_mask is None else e * self.pair_mask


def _group_size(n: int, left: int) -> int:
    # A short last dimension is slow; that of a single graph is none, and the nodes come last.
    if n > 64 or (n > _OUTER and left < 8):
        return 1
    return max(16, _GROUP // (n * n))


def _groups(x: Tensor, a: Tensor, mask: Tensor | None) -> tuple[Tensor | None, Iterator[Graphs]]:
    """Return groups of graphs, and the order they come in (None: as they are)."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return None, iter([Graphs.of(x, a, mask)])  # sizes are not worth a synchronisation
    b, width = x.shape[:2]
    real = None if mask is None else mask != 0
    if real is None or bool(real.all()):
        size = _group_size(width, b)
        pieces = zip(x.split(size), a.split(size), strict=True)
        return None, (Graphs.of(*piece, None) for piece in pieces)
    last = (real * torch.arange(1, width + 1)).amax(1).clamp_(min=1)  # there may be gaps before
    order = last.argsort(descending=True, stable=True)
    sizes = last[order].tolist()

    def cut() -> Iterator[Graphs]:
        start = 0
        while start < b:
            n = sizes[start]
            index = order[start : start + _group_size(n, b - start)]
            start += len(index)
            own = real[index, :n]
            yield Graphs.of(x[index, :n], a[index, :n, :n], None if bool(own.all()) else own)

    return order, cut()


def evaluate(
    function: Callable[[Graphs], Tensor], x: Tensor, a: Tensor, mask: Tensor | None, square: bool
) -> Tensor:
    """Apply a function to a batch, group by group.

    Args:
        function: Makes nodes ``[F', n, b]`` or, if `square`, a symmetric matrix ``[n, n, b]``.
        x: Nodes ``[B, N, F]``, zero where there is none.
        a: Symmetric matrices ``[B, N, N]``, zero where there is no node.
        mask: Where there is a node, ``[B, N]``; None if all are there.
        square: What `function` makes.

    Returns:
        Nodes ``[B, N, F']`` or matrices ``[B, N, N]``.
    """
    order, groups = _groups(x, a, mask)
    results = []
    for graphs in groups:
        y = function(graphs)
        more = x.shape[1] - y.shape[1]
        y = functional.pad(y, (0, 0, 0, more, 0, more if square else 0)) if more else y
        results.append(y.permute(2, 1, 0))
    result = torch.cat(results)
    return result if order is None else result.index_select(0, order.argsort())


def _eager(x: Tensor) -> bool:
    # On a CPU several short passes can beat one kernel; elsewhere a pass is what costs.
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _quick(x: Tensor) -> bool:
    return _eager(x) and not torch.is_grad_enabled()


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent; `x` may be overwritten."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1) if _quick(x) else torch.tanh(x)


def _elu_plus_one(z: Tensor) -> Tensor:
    """Return elu(z ln 2) + 1; `z` is overwritten."""
    return z.clamp_max(0).exp2_().add_(z.clamp_min_(0), alpha=_LN2)


def mlp(weights: Weights, x: Tensor) -> Tensor:
    """Return the MLP of the columns of ``[in, M]``, ELU between its layers: ``[out, M]``."""
    if not _quick(x):
        elu = _Elu.apply if _eager(x) else functional.elu
        for k, (w, c) in enumerate(weights):
            x = torch.addmm(c[:, None], w, elu(x) if k else x)  # type: ignore[arg-type]
        return x
    # A hidden layer holds elu + 1; the next bias takes the one off. It comes from the product
    # times 1 / ln 2, for exp2 is the quicker exponential, a few columns at a time, for the cache.
    biases = [(c - w.sum(1) if k else c)[:, None] for k, (w, c) in enumerate(weights)]
    result = x.new_empty(weights[-1][0].shape[0], x.shape[1])
    step = max(256, _HIDDEN // weights[0][0].shape[0])
    for start in range(0, x.shape[1], step):
        h = x[:, start : start + step]
        for (w, _), c in zip(weights[:-1], biases, strict=False):
            h = _elu_plus_one(torch.addmm(c, w, h, beta=1 / _LN2, alpha=1 / _LN2))
        result[:, start : start + step] = torch.addmm(biases[-1], weights[-1][0], h)
    return result


def _sum_products(parts: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    left, right = next(parts)
    result = left * right
    for left, right in parts:
        result.addcmul_(left, right)
    return result


def _outer(q: Tensor, k: Tensor) -> Tensor:
    return _sum_products(zip(q.unsqueeze(3).unbind(1), k.unsqueeze(2).unbind(1), strict=True))


def _apply(a: Tensor, x: Tensor) -> Tensor:
    c, n, _, b = a.shape
    if b > 1 and (n <= _OUTER or x.shape[1] <= _OUTER // 2):
        return _sum_products(zip(a.unsqueeze(1).unbind(2), x.unsqueeze(3).unbind(2), strict=True))
    left = a.permute(3, 0, 2, 1).reshape(b * c, n, n)
    right = x.permute(3, 0, 2, 1).reshape(b * c, n, x.shape[1])
    return torch.bmm(left, right).unflatten(0, (b, c)).permute(1, 3, 2, 0).contiguous()


class _Outer(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor) -> Tensor:
        return _outer(q, k)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        q, k = ctx.saved_tensors
        return aggregate(gradient.transpose(1, 2), k), aggregate(gradient, q)


class _Apply(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, x: Tensor) -> Tensor:
        return _apply(a, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, x = ctx.saved_tensors
        return outer(x, gradient), aggregate(a.transpose(1, 2), gradient)


class _Elu(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _elu_plus_one(x / _LN2).sub_(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return gradient * (y.clamp_max(0) + 1)


def outer(q: Tensor, k: Tensor) -> Tensor:
    """Return sum_d q[c, d, i] k[c, d, j], ``[C, n, n, b]``, of nodes ``[C, D, n, b]``."""
    if not _eager(q):
        return torch.einsum("cdib,cdjb->cijb", q, k)
    return _Outer.apply(q, k) if torch.is_grad_enabled() else _outer(q, k)  # type: ignore[return-value]


def aggregate(a: Tensor, x: Tensor) -> Tensor:
    """Return sum_j a[c, j, i] x[c, f, j], ``[C, F, n, b]``.

    Args:
        a: Matrices ``[C, n, n, b]``.
        x: Nodes ``[C, F, n, b]``.
    """
    if not _eager(x):
        return torch.einsum("cjib,cfjb->cfib", a, x)
    return _Apply.apply(a, x) if torch.is_grad_enabled() else _apply(a, x)  # type: ignore[return-value]


def scores(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """Return the sum over heads of sigmoid(q_i . k_j), ``[C, n, n, b]``.

    Args:
        q: Nodes ``[C, heads * d, n, b]``.
        k: Nodes of the same shape.
        heads: Number of heads.
    """
    c, width, n, b = q.shape
    shape = c * heads, width // heads, n, b
    q, k = q.reshape(shape), k.reshape(shape)
    if not _quick(q):
        return outer(q, k).sigmoid().unflatten(0, (c, heads)).sum(1)
    result = q.new_empty(c, n, n, b)
    step = max(1, _SCORES // (heads * n * n * b))
    for start in range(0, c, step):
        end = min(c, start + step)
        part = slice(start * heads, end * heads)
        s = _outer(q[part], k[part]).sigmoid_().unflatten(0, (end - start, heads))
        torch.sum(s, 1, out=result[start:end])
    return result
