r"""The networks of GDSS: each reads (atoms, bonds), one answers for the atoms, one for the bonds.

Let A_c be symmetric matrices (channels) with ones on the diagonal, D_c = max(row sum, 1) and
GCN_c(x) = D_c^-1/2 A_c D_c^-1/2 x W_c + b_c. An attention layer makes from nodes x and channels

* scores    S_c = mean over heads of tanh(Q_c K_c^T / sqrt(w)), symmetrised; Q, K = GCN(x);
* channels  E + E^T  with  E = MLP([S_1 .. S_C, A_1 .. A_C]) at each pair of nodes;
* nodes     tanh(MLP([V_1 .. V_C]))  with  V = GCN(x) of width w.

`ScoreNetworkX` stacks convolutions, `ScoreNetworkXGMH` and `ScoreNetworkA` stack attention layers
that start from the powers of the noisy matrix; an MLP of all layers' outputs ends each. No network
sees the time.

This is the function of the paper and of the authors' weights, computed for pairs i > j alone (what
a channel has on its diagonal reaches no output) and with fewer products: the normalised matrix is
shared by Q, K and V, it meets x before the weights do, all channels' weights are applied in one
batch, and V, which nothing bends, is multiplied straight into the first layer of its MLP.

Reference: Jo, Lee, Hwang, Score-based Generative Modeling of Graphs via the System of Stochastic
Differential Equations (ICML 2022), section 3.3, equations 9-11; attention after Baek, Kang, Hwang,
Accurate Learning of Graph Representations with Graph Multiset Pooling (ICLR 2021). The authors'
code divides by the root of the node width w, not of a head's, and never weights V by the scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciflow.errors import expected
from sciflow.state import State

from .pairs import Graphs, Weights, aggregate, evaluate, mlp, scores, tanh

Nodes = Float[Tensor, "B N F"]
Matrix = Float[Tensor, "B N N"]
NodeMask = Bool[Tensor, "B N"] | Float[Tensor, "B N"]


def _check(x: Tensor, a: Tensor, features: int) -> None:
    if x.shape[2] != features or a.shape != (*x.shape[:2], x.shape[1]):
        got = f"{tuple(x.shape)} and {tuple(a.shape)}"
        raise expected("shapes of atoms and bonds", got, f"(B, N, {features}) and (B, N, N)")


def _glorot(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-1, 1) * math.sqrt(6 / sum(shape[-2:])))


class _Mlp(nn.Module):
    """The weights of an MLP of `depth` linear layers."""

    def __init__(self, depth: int, inner: int, hidden: int, outer: int) -> None:
        super().__init__()
        widths = [inner, *[hidden] * (depth - 1), outer]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))

    def weights(self) -> Weights:
        return [(layer.weight, layer.bias) for layer in self.layers]  # type: ignore[misc]


@dataclass(frozen=True)
class _Layer:
    """An attention layer's weights with constant factors folded in, made once per call."""

    query_key: tuple[Tensor, Tensor]
    nodes: Weights
    edges: Weights
    heads: int

    def aggregate(self, x: Tensor, e: Tensor, graphs: Graphs) -> Tensor:
        """Return the normalised sums over neighbours, ``[C, F, n, b]``."""
        a = graphs.matrices(e, 1.0)
        scale = a.sum(2).clamp(min=1).rsqrt().unsqueeze(1)
        return aggregate(a, x * scale) * scale

    def next_nodes(self, y: Tensor, graphs: Graphs) -> Tensor:
        """Return the nodes ``[F', n, b]`` made of the sums `y`."""
        x = mlp(self.nodes, y.flatten(0, 1).flatten(1))
        return tanh(graphs.mask_nodes(x.unflatten(1, graphs.size)))

    def next_pairs(self, y: Tensor, e: Tensor, graphs: Graphs) -> Tensor:
        """Return the pairs ``[C', P, b]`` made of the sums `y` and the pairs `e`."""
        w, c = self.query_key
        q, k = torch.baddbmm(c, w, y.flatten(2)).unflatten(2, graphs.size).chunk(2, 1)
        s = scores(q, k, self.heads)
        e = torch.cat([graphs.lower(s) + graphs.upper(s), e])
        return graphs.mask_pairs(mlp(self.edges, e.flatten(1)).unflatten(1, e.shape[1:]))


@final
class _Attention(nn.Module):
    """An attention layer: C channels to C', nodes of width `inner` to width `outer`."""

    def __init__(
        self,
        inner: int,
        width: int,
        outer: int,
        channels: tuple[int, int],
        linears: int,
        heads: int,
    ) -> None:
        super().__init__()
        if width % heads:
            raise expected("attention width", width, f"a multiple of the {heads} heads")
        c, hidden = channels[0], 2 * max(channels)
        self.heads = heads
        self.query = _glorot(c, inner, width)
        self.query_bias = nn.Parameter(torch.zeros(c, width))
        self.key = _glorot(c, inner, width)
        self.key_bias = nn.Parameter(torch.zeros(c, width))
        self.value = _glorot(c, inner, outer)
        self.value_bias = nn.Parameter(torch.zeros(c, outer))
        self.edges = _Mlp(linears, 2 * c, hidden, channels[1])
        self.nodes = _Mlp(2, c * outer, hidden, outer)

    def folded(self) -> _Layer:
        channels, _, outer = self.value.shape
        scale = 2 / math.sqrt(outer)  # the 2 because tanh(z) = 2 sigmoid(2 z) - 1
        w = torch.cat([self.query * scale, self.key], 2).mT
        c = torch.cat([self.query_bias * scale, self.key_bias], 1).unsqueeze(2)
        edges = self.edges.weights()
        # The mean of 2 sigmoid - 1 over heads and both directions is (their sum) / heads - 1.
        v, d = edges[0]
        of_scores, of_channels = v[:, :channels], v[:, channels:]
        edges[0] = torch.cat([of_scores / self.heads, of_channels], 1), d - of_scores.sum(1)
        edges[-1] = 2 * edges[-1][0], 2 * edges[-1][1]  # E + E^T, for E is symmetric
        nodes = self.nodes.weights()
        v, d = nodes[0][0].unflatten(1, (channels, outer)), nodes[0][1]
        nodes[0] = (
            torch.einsum("hco,cio->hci", v, self.value).flatten(1),
            d + torch.einsum("hco,co->h", v, self.value_bias),
        )
        return _Layer((w, c), nodes, edges, self.heads)


class _Stack(nn.Module):
    """Attention layers, the first from `features` and powers of the matrix."""

    def __init__(
        self,
        features: int,
        depth: int,
        width: int,
        attention_width: int,
        channels: tuple[int, int, int],
        linears: int,
        heads: int,
    ) -> None:
        super().__init__()
        if depth < 2:
            raise expected("depth of the attention layers", depth, "at least 2")
        self.features = features
        self.powers, middle, last = channels
        ends = [self.powers, *[middle] * (depth - 1), last]
        self.layers = nn.ModuleList(
            _Attention(
                width if k else features,
                attention_width if k else width,
                width,
                (ends[k], ends[k + 1]),
                linears,
                heads,
            )
            for k in range(depth)
        )

    def folded(self) -> list[_Layer]:
        return [layer.folded() for layer in self.layers]  # type: ignore[operator]


@final
class ScoreNetworkX(nn.Module):
    """Network for the atoms: graph convolutions, then an MLP of all their outputs.

    Args:
        features: Features of a node F.
        depth: Number of convolutions.
        width: Their width.
    """

    def __init__(self, features: int, depth: int, width: int) -> None:
        super().__init__()
        self.features = features
        inner = [features, *[width] * (depth - 1)]
        self.weights = nn.ParameterList(_glorot(i, width) for i in inner)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in inner)
        total = features + depth * width
        self.final = _Mlp(3, total, 2 * total, features)

    def forward(self, x: Nodes, adjacency: Matrix, mask: NodeMask | None = None) -> Nodes:
        """Return the answer for the atoms.

        Args:
            x: Node features, zero where there is no node.
            adjacency: Symmetric matrix, zero where there is no node and on the diagonal.
            mask: True (or 1) where there is a node; None if all are there.

        Raises:
            SciflowError: The shapes do not fit each other or the network.
        """
        _check(x, adjacency, self.features)
        a = adjacency.clone()
        a.diagonal(dim1=1, dim2=2).fill_(1)
        scale = a.sum(2, keepdim=True).clamp(min=1).rsqrt()
        a = a * scale * scale.mT
        hidden = [x]
        for w, c in zip(self.weights, self.biases, strict=True):
            y = torch.bmm(a, hidden[-1]).flatten(0, 1)
            hidden.append(tanh(torch.addmm(c, y, w)).unflatten(0, x.shape[:2]))
        y = mlp(self.final.weights(), torch.cat(hidden, 2).flatten(0, 1).t())
        y = y.t().unflatten(0, x.shape[:2])
        return y if mask is None else y * mask.unsqueeze(2)


@final
class ScoreNetworkXGMH(_Stack):
    """Network for the atoms built of attention layers (graph multi-head attention).

    Args:
        features: Features of a node F.
        depth: Number of attention layers, at least 2.
        width: Width of the nodes, and of the attention in the first layer.
        attention_width: Width of the attention in the other layers.
        channels: Channels at the start (powers of the matrix), in the middle and at the end.
        linears: Linear layers of the MLP at the pairs.
        heads: Attention heads.

    Raises:
        SciflowError: A width is no multiple of the heads, or `depth` is below 2.
    """

    def __init__(
        self,
        features: int,
        depth: int,
        width: int,
        attention_width: int,
        channels: tuple[int, int, int] = (2, 8, 4),
        linears: int = 3,
        heads: int = 4,
    ) -> None:
        super().__init__(features, depth, width, attention_width, channels, linears, heads)
        total = features + depth * width
        self.final = _Mlp(3, total, 2 * total, features)

    def forward(self, x: Nodes, adjacency: Matrix, mask: NodeMask | None = None) -> Nodes:
        """Return the answer for the atoms; arguments and errors as for `ScoreNetworkX`."""
        _check(x, adjacency, self.features)
        function = partial(self._nodes, self.folded())
        return evaluate(function, x, adjacency, mask, square=False)

    def _nodes(self, layers: list[_Layer], graphs: Graphs) -> Tensor:
        e = graphs.powers(self.powers)
        hidden = [graphs.nodes]
        for k, layer in enumerate(layers):
            y = layer.aggregate(hidden[-1], e, graphs)
            # A second tanh on the layer's own: the authors' weights were trained with it.
            hidden.append(tanh(layer.next_nodes(y, graphs)))
            if k < len(layers) - 1:
                e = layer.next_pairs(y, e, graphs)
        y = mlp(self.final.weights(), torch.cat(hidden).flatten(1))
        return graphs.mask_nodes(y.unflatten(1, graphs.size))


@final
class ScoreNetworkA(_Stack):
    """Network for the bonds: attention layers, then an MLP of all their channels at each pair.

    Args:
        features: Features of a node F.
        depth: Number of attention layers, at least 2.
        width: Width of the nodes, and of the attention in the first layer.
        attention_width: Width of the attention in the other layers.
        channels: Channels at the start (powers of the matrix), in the middle and at the end.
        linears: Linear layers of the MLP at the pairs.
        heads: Attention heads.

    Raises:
        SciflowError: A width is no multiple of the heads, or `depth` is below 2.
    """

    def __init__(
        self,
        features: int,
        depth: int,
        width: int,
        attention_width: int,
        channels: tuple[int, int, int] = (2, 8, 4),
        linears: int = 3,
        heads: int = 4,
    ) -> None:
        super().__init__(features, depth, width, attention_width, channels, linears, heads)
        total = channels[0] + channels[1] * (depth - 1) + channels[2]
        self.final = _Mlp(3, total, 2 * total, 1)

    def forward(self, x: Nodes, adjacency: Matrix, mask: NodeMask | None = None) -> Matrix:
        """Return the answer for the bonds, symmetric with zero diagonal.

        Arguments and errors as for `ScoreNetworkX`.
        """
        _check(x, adjacency, self.features)
        function = partial(self._matrix, self.folded())
        return evaluate(function, x, adjacency, mask, square=True)

    def _matrix(self, layers: list[_Layer], graphs: Graphs) -> Tensor:
        x, e = graphs.nodes, graphs.powers(self.powers)
        channels = [e]
        for k, layer in enumerate(layers):
            y = layer.aggregate(x, e, graphs)
            e = layer.next_pairs(y, e, graphs)
            channels.append(e)
            if k < len(layers) - 1:
                x = layer.next_nodes(y, graphs)
        e = mlp(self.final.weights(), torch.cat(channels).flatten(1)).unflatten(1, e.shape[1:])
        return graphs.matrices(graphs.mask_pairs(e), 0.0)[0]


@final
class GDSSNetwork(nn.Module):
    """Both networks as one function of a state with the components ``atoms`` and ``bonds``.

    What comes out is the networks' own answer: in the authors' weights the noise on a VP path,
    the score on a VE path.

    Args:
        nodes: The network for the atoms.
        bonds: The network for the bonds.
    """

    def __init__(self, nodes: ScoreNetworkX | ScoreNetworkXGMH, bonds: ScoreNetworkA) -> None:
        super().__init__()
        self.nodes = nodes
        self.bonds = bonds

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Return the answers for ``atoms`` ``[B, N, F]`` and ``bonds`` ``[B, N, N]``.

        Args:
            state: Has ``atoms``, ``bonds`` and, if there is padding, the atoms' mask ``[B, N]``.
            t: Times; the networks do not see them.
        """
        of = state["atoms"], state["bonds"], state.mask("atoms")
        return {"atoms": self.nodes(*of), "bonds": self.bonds(*of)}
