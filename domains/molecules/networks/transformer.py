r"""A graph transformer that reads a noisy graph and says what each atom and each bond was.

Nodes attend to each other; edges bias and gate the attention and are updated from their end nodes. Edges live on the P
unordered pairs only, so the output is symmetric by construction and the edge layers do half the work; the N x N maps of
the attention are gathered from them. Time and size enter by scale and shift of every normalisation. Structural
features of the noisy graph (random-walk return and transition probabilities, common neighbours, missing valence) show
the network what a few rounds of attention cannot count.

Reference: Dwivedi, Bresson, A generalization of transformer networks to graphs, arXiv:2012.09699; Vignac et al.,
    DiGress,
arXiv:2209.14734, section 4 (graph transformer with edge updates and structural features); Peebles, Xie,
Scalable diffusion models with transformers, arXiv:2212.09748 (adaptive normalisation initialised at zero).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciflow.conditions import Given
from sciflow.errors import expected
from sciflow.state import State

from .ends import from_ends, sum_of_ends, to_ends, to_matrix, to_pairs

_NODE_FEATURES = 9
_PAIR_FEATURES = 8
_WALKS = 6
_SMALL = 16
"""Nodes of a graph whose sums over edges the weights can begin with as they are drawn."""
ALTERNATION = (2, 6)
"""Features of each node and each pair that `alternation` adds."""
PATHS = (3, 4)
"""Features of each node and each pair that `paths` adds."""


def time_features(t: Tensor, count: int) -> Tensor:
    """Sines and cosines of t at `count` / 2 log-spaced frequencies from 1 to 1000: ``[B, count]``."""
    half = count // 2
    steps = torch.arange(half, device=t.device, dtype=t.dtype) / max(half - 1, 1)
    angle = t.unsqueeze(1) * torch.exp(math.log(1000.0) * steps)
    return torch.cat([angle.sin(), angle.cos()], 1)


def structure(order: Tensor, adjacency: Tensor, valence: Tensor) -> tuple[Tensor, Tensor]:
    """Structural features of a (noisy, possibly soft) graph.

    Args:
        order: Expected bond orders ``[B, N, N]``.
        adjacency: Probability that there is a bond ``[B, N, N]``.
        valence: Expected normal valence of each atom ``[B, N]``.

    Returns:
        Node features ``[N, B, 9]``: valence used, degree, valence left, return probabilities of 2 to 6 random-walk
        steps, triangles; pair features ``[P, B, 8]``: symmetrised transition probabilities of 1 to 6 steps,
        walks of length 2 and 3.
    """
    degree = adjacency.sum(-1)
    used = order.sum(-1)
    walk = adjacency / degree.clamp_min(1e-2).unsqueeze(-1)
    power = walk
    returns, transitions = [], [walk]
    for _ in range(2, _WALKS + 1):
        power = power @ walk
        returns.append(power.diagonal(dim1=1, dim2=2))
        transitions.append(power)
    two = adjacency @ adjacency
    three = two @ adjacency
    triangles = three.diagonal(dim1=1, dim2=2)
    nodes = torch.stack([used / 4, degree / 4, (valence - used) / 4, *returns, triangles / 6])
    pairs = to_pairs(torch.stack([*transitions, two / 6, three / 18]))
    return nodes.permute(2, 1, 0), pairs.permute(2, 1, 0)


def alternation(single: Tensor, double: Tensor) -> tuple[Tensor, Tensor]:
    """Features of a (noisy, possibly soft) graph by which aromatic rings are known: walks of alternating bonds.

    With S and D the probabilities of a single and of a double bond, an entry of SDSDS counts the walks of five bonds
    that begin and end with a single one; a closed one is a ring of five like furan's, a double bond between its ends
    makes one of six.

    Args:
        single: S, symmetric ``[B, N, N]``.
        double: D, symmetric ``[B, N, N]``.

    Returns:
        Node features ``[N, B, 2]``: closed walks SDSDS and SDSDSD; pair features ``[P, B, 6]``: SDS, DSD, SDSS, SDSD,
        SDSDS and DSDSD, both ways.
    """
    one = single @ double
    three, other = one @ single, double @ one
    four, five = one @ one, one @ three
    around = (four * one.transpose(-1, -2)).sum(-1)
    nodes = torch.stack([five.diagonal(dim1=1, dim2=2), around])
    walks = [three, other, three @ single, four, five, other @ one]
    return nodes.permute(2, 1, 0), to_pairs(torch.stack(walks)).permute(2, 1, 0)


def paths(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """Features of a (noisy, possibly soft) graph by which short cycles are known: walks that never turn back.

    With A the adjacency, D its degrees and P_1 = A, the walks of k + 1 edges without an edge taken back at once are
    P_2 = A A - D, P_(k+1) = P_k A - P_(k-1) (D - 1). Each number enters by log(1 + P). In a graph of few edges it is
    about 1 where a random walk's share is a hundredth.

    Reference: Alon, Benjamini, Lubetzky, Sodin, Non-backtracking random walks mix faster, arXiv:math/0610550.

    Args:
        adjacency: Probability that there is an edge, symmetric with zero diagonal ``[B, N, N]``.

    Returns:
        Node features ``[N, B, 3]``: closed walks of 3 to 5 edges; pair features ``[P, B, 4]``: walks of 2 to 5.
    """
    degree = adjacency.sum(-1)
    onward = (degree - 1).clamp_min(0).unsqueeze(-2)
    last, walk = adjacency, adjacency @ adjacency - torch.diag_embed(degree)
    found = [walk]
    for _ in range(3, 6):
        last, walk = walk, walk @ adjacency - last * onward
        found.append(walk)
    walks = torch.stack(found).clamp_min(0).log1p()
    nodes = walks[1:].diagonal(dim1=-2, dim2=-1)
    return nodes.permute(2, 1, 0), to_pairs(walks).permute(2, 1, 0) / 2


class Modulate(nn.Module):
    """Layer normalisation whose scale and shift come from the condition; the identity scale at the start."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.width = width
        self.affine = nn.Linear(condition, 2 * width)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise `x` ``[L, B, width]`` under the condition ``[B, condition]``."""
        scale, shift = self.affine(condition).chunk(2, -1)
        return torch.addcmul(shift, F.layer_norm(x, (self.width,)), 1 + scale)


class Block(nn.Module):
    """One round: nodes attend under the edges, then edges look at their ends."""

    def __init__(
        self, width: int, edge_width: int, heads: int, condition: int, max_atoms: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = Modulate(width, condition)
        self.norm_feedforward = Modulate(width, condition)
        self.norm_edge = Modulate(edge_width, condition)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.bias_gate = nn.Linear(edge_width, 2 * heads)
        self.attention_out = nn.Linear(width, width)
        self.edge_to_node = nn.Linear(edge_width, width)
        # In large graphs the sum over a node's edges, and products of such sums, would blow up round by round.
        with torch.no_grad():
            self.edge_to_node.weight.mul_(min(1.0, _SMALL / max_atoms))
        self.feedforward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.node_to_edge = nn.Linear(width, 2 * edge_width)
        self.edge_update = nn.Sequential(
            nn.Linear(2 * edge_width + heads, 2 * edge_width),
            nn.SiLU(),
            nn.Linear(2 * edge_width, edge_width),
        )

    def forward(
        self, nodes: Tensor, edges: Tensor, condition: Tensor, blocked: Tensor, pair_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update nodes ``[N, B, width]`` and edges ``[P, B, edge_width]``.

        Args:
            nodes: Node features.
            edges: Pair features.
            condition: Condition ``[B, condition]``.
            blocked: Added to the attention logits: large and negative for padded keys, ``[B, 1, 1, N]``.
            pair_mask: 1 for real pairs ``[P, B, 1]``.
        """
        count, batch, width = nodes.shape
        normed = self.norm_attention(nodes, condition)
        qkv = self.query_key_value(normed).view(count, batch, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 1, 3, 0, 4)
        normed_edges = self.norm_edge(edges, condition)
        on_pairs = self.bias_gate(normed_edges).permute(1, 2, 0)
        bias, gate = to_matrix(on_pairs, count).chunk(2, 1)
        scale = (width // self.heads) ** -0.5
        logits = torch.add(bias, query @ key.transpose(-1, -2), alpha=scale)
        weights = (logits + blocked).softmax(-1) * (gate + 1).sigmoid_()
        attended = (weights @ value).permute(2, 0, 1, 3).reshape(count, batch, width)
        gathered = from_ends(edges * pair_mask, count)
        # Sums are made in the fresh outputs of linear layers: no gradient needs these.
        nodes = self.attention_out(attended).add_(nodes).add_(self.edge_to_node(0.3 * gathered))
        first, activation, second = self.feedforward
        hidden = _activate(activation, first(self.norm_feedforward(nodes, condition)))
        nodes = second(hidden).add_(nodes)

        ends, factors = self.node_to_edge(nodes).chunk(2, -1)
        product = torch.mul(*to_ends(factors))
        affinity = to_pairs(logits).mul_(0.2).permute(2, 0, 1)
        inputs = (sum_of_ends(ends).add_(normed_edges), product, affinity)
        first, activation, second = self.edge_update
        hidden = _activate(activation, _linear_of_parts(first, inputs))
        return nodes, second(hidden).add_(edges)


def _activate(activation: nn.Module, x: Tensor) -> Tensor:
    """Apply SiLU, in place where no gradient needs its argument."""
    return activation(x) if torch.is_grad_enabled() else F.silu(x, inplace=True)


def _linear_of_parts(layer: nn.Module, parts: Sequence[Tensor]) -> Tensor:
    """Apply a linear layer to the concatenation of `parts` along the last axis, without writing that."""
    assert isinstance(layer, nn.Linear)
    weights = layer.weight.split([part.shape[-1] for part in parts], 1)
    # Flat before the first product: to add to a view in place costs copies in the backward pass.
    out = F.linear(parts[0].flatten(0, -2), weights[0], layer.bias)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        out.addmm_(part.flatten(0, -2), weight.t())
    return out.view(*parts[0].shape[:-1], -1)


def more_inputs(alternation: bool = False, paths: bool = False) -> tuple[int, int]:
    """Inputs of each node and each pair that the options of `GraphTransformer` add, in this order."""
    chosen = [ALTERNATION] * alternation + [PATHS] * paths
    return sum(nodes for nodes, _ in chosen), sum(pairs for _, pairs in chosen)


class GraphTransformer(nn.Module):
    """Logits of the clean atoms and bonds from a noisy graph.

    Args:
        atom_states: Values an atom can show (its classes and the states of its path).
        bond_states: Values a bond can show.
        atom_classes: Atom types K of the data.
        bond_classes: Bond orders of the data.
        valences: Normal valence of each atom type ``[K]``.
        max_atoms: Largest number of atoms in the data; larger graphs run, with the condition of this size.
        width: Node width.
        edge_width: Pair width.
        heads: Attention heads; divides `width`.
        blocks: Number of rounds.
        condition: Width of the condition.
        features: Whether to compute structural features.
        alternation: Whether walks of alternating single and double bonds are among them (see `alternation`).
        paths: Whether walks that never turn back are among them (see `paths`).
        conditions: Names of conditions ``[B, 2]`` to read, each a value and whether it is given; they change nothing at
            the start of training.
    """

    valence: Tensor
    order: Tensor

    def __init__(
        self,
        atom_states: int,
        bond_states: int,
        atom_classes: int,
        bond_classes: int,
        valences: Sequence[float],
        max_atoms: int,
        width: int = 96,
        edge_width: int = 32,
        heads: int = 8,
        blocks: int = 4,
        condition: int = 128,
        features: bool = True,
        alternation: bool = False,
        paths: bool = False,
        conditions: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.atom_states, self.bond_states = atom_states, bond_states
        self.atom_classes, self.bond_classes = atom_classes, bond_classes
        self.features, self.alternation, self.paths = features, alternation, paths
        if alternation and bond_classes < 3:
            raise expected(
                "alternation", f"{bond_classes} kinds of bonds", "single and double ones"
            )
        self.max_atoms = max_atoms
        padded = [*valences, *([0.0] * (atom_states - len(valences)))]
        self.register_buffer("valence", torch.tensor(padded, dtype=torch.float32), False)
        orders = [*range(bond_classes), *([0] * (bond_states - bond_classes))]
        self.register_buffer("order", torch.tensor(orders, dtype=torch.float32), False)
        shown = [
            (atom_states, atom_states + bond_states),
            (_NODE_FEATURES * features, _PAIR_FEATURES * features),
            more_inputs(alternation=alternation, paths=paths),
        ]
        node_in, pair_in = (sum(widths) for widths in zip(*shown, strict=True))
        self.node_in = nn.Linear(node_in, width)
        self.pair_in = nn.Linear(pair_in, edge_width)
        self.size = nn.Embedding(max_atoms + 1, condition)
        self.condition = nn.Sequential(
            nn.Linear(32, condition), nn.SiLU(), nn.Linear(condition, condition), nn.SiLU()
        )
        self.blocks = nn.ModuleList(
            Block(width, edge_width, heads, condition, max_atoms) for _ in range(blocks)
        )
        self.atom_head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, atom_classes)
        )
        self.bond_head = nn.Sequential(
            nn.LayerNorm(edge_width),
            nn.Linear(edge_width, 2 * edge_width),
            nn.SiLU(),
            nn.Linear(2 * edge_width, bond_classes),
        )
        self.given = Given(conditions, condition) if conditions else None

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Return logits of the clean graph.

        Args:
            state: ``atoms``: labels int64 ``[B, N]`` or vectors ``[B, N, K]``; ``bonds``: labels ``[B, P]`` or vectors
                ``[B, P, 4]``; mask ``atoms`` ``[B, N]``; the conditions.
            t: Times ``[B]``.

        Returns:
            ``atoms`` ``[B, N, K]`` and ``bonds`` ``[B, P, 4]``.
        """
        dtype = self.node_in.weight.dtype
        # Elements first, batch second: gathers and sums over neighbours then move contiguous blocks.
        atoms = _channels(state["atoms"], self.atom_states, dtype)
        bonds = _channels(state["bonds"], self.bond_states, dtype)
        count = atoms.shape[0]
        mask = state.masks["atoms"].to(dtype)
        pair_mask = state.masks["bonds"].to(dtype).t().unsqueeze(-1)
        atoms, bonds = atoms * mask.t().unsqueeze(-1), bonds * pair_mask
        node_inputs, pair_inputs = [atoms], [sum_of_ends(atoms), bonds]
        linked = bonds[..., 1 : self.bond_classes].sum(-1).clamp(0, 1)
        if self.features:
            order = (bonds @ self.order).clamp(0, self.bond_classes)
            of_order, of_links = to_matrix(torch.stack([order.t(), linked.t()]), count)
            nodes, pairs = structure(of_order, of_links, (atoms @ self.valence).t())
            node_inputs.append(nodes)
            pair_inputs.append(pairs)
        if self.alternation:
            nodes, pairs = alternation(*to_matrix(bonds[..., 1:3].permute(2, 1, 0), count))
            node_inputs.append(nodes)
            pair_inputs.append(pairs)
        if self.paths:
            nodes, pairs = paths(to_matrix(linked.t(), count))
            node_inputs.append(nodes)
            pair_inputs.append(pairs)
        nodes = self.node_in(torch.cat(node_inputs, -1))
        edges = self.pair_in(torch.cat(pair_inputs, -1)) * pair_mask
        sizes = state.masks["atoms"].sum(1).clamp_max(self.max_atoms)
        condition = self.condition(time_features(t.to(dtype), 32)) + self.size(sizes)
        if self.given is not None:
            condition = condition + self.given(state.condition)
        blocked = (mask - 1).mul(1e4)[:, None, None, :]
        for block in self.blocks:
            nodes, edges = block(nodes, edges, condition, blocked, pair_mask)
        atoms, bonds = self.atom_head(nodes), self.bond_head(edges)
        return {"atoms": atoms.transpose(0, 1), "bonds": bonds.transpose(0, 1)}


def _channels(x: Tensor, states: int, dtype: torch.dtype) -> Tensor:
    """One-hot vectors of labels, or the vectors as they are: ``[elements, B, states]``."""
    one_hot = (
        x if x.is_floating_point() else x.unsqueeze(-1) == torch.arange(states, device=x.device)
    )
    return one_hot.transpose(0, 1).to(dtype)
