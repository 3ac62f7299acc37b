"""Rules that the graphs of a data set keep, by which generated ones can be called valid.

| rule | a graph keeps it |
|---|---|
| lattice | it is an a x b square grid, a, b >= 2 |
| planar | it is connected and planar |
| blocks | it is a stochastic block model of 2 to 5 blocks of 20 to 40 nodes, .3 inside and .005 between |

For the blocks each pair of blocks (r, s) with the share of edges p_rs is held against its law p by

    W_rs = (p_rs - p)^2 / (p_rs (1 - p_rs)),   mean over r <= s of P(chi^2_1 > W_rs) > .9,

SPECTRE's test, with the blocks found by modularity (Louvain) in place of a Bayesian fit: shares of the two are not to
be compared to the last point.

Reference: Martinkus et al., SPECTRE, arXiv:2204.01613, section 5.2 (valid, unique and novel).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import networkx as nx
import numpy as np

from sciflow.errors import unknown

from .isomorphism import Classes


def lattice(graph: nx.Graph) -> bool:
    """True for an a x b square grid."""
    n, m = graph.number_of_nodes(), graph.number_of_edges()
    total = 2 * n - m  # a + b, while n = a b
    root = math.isqrt(max(total * total - 4 * n, 0))
    a, b = (total - root) // 2, (total + root) // 2
    if a < 2 or a * b != n or a + b != total:
        return False
    classes = Classes()
    return classes.find(graph) == classes.find(nx.grid_2d_graph(a, b))


def planar(graph: nx.Graph) -> bool:
    """True for a connected planar graph."""
    return len(graph) > 0 and nx.is_connected(graph) and nx.check_planarity(graph)[0]


def blocks(graph: nx.Graph, inside: float = 0.3, between: float = 0.005) -> bool:
    """True for a stochastic block model; see the module."""
    if graph.number_of_edges() == 0:
        return False
    found = nx.community.louvain_communities(graph, seed=0)
    sizes = np.array([len(part) for part in found])
    if not 2 <= len(sizes) <= 5 or sizes.min() < 20 or sizes.max() > 40:
        return False
    block = {node: k for k, part in enumerate(found) for node in part}
    edges = np.zeros((len(sizes), len(sizes)))
    for one, other in graph.edges:
        edges[block[one], block[other]] += 1
        edges[block[other], block[one]] += 1
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    share = edges / pairs
    law = np.where(np.eye(len(sizes)) > 0, inside, between)
    w = (share - law) ** 2 / (share * (1 - share) + 1e-6)
    # P(chi^2_1 > w) = erfc(sqrt(w / 2))
    chance = [math.erfc(math.sqrt(x / 2)) for x in w.flatten()]
    return sum(chance) / len(chance) > 0.9


RULES: dict[str, Callable[[nx.Graph], bool]] = {
    "lattice": lattice,
    "planar": planar,
    "blocks": blocks,
}
"""From the strictest."""

KEPT = {"lattice": 1.0, "planar": 1.0, "blocks": 0.6}
"""Share of the data that must keep a rule for it to be theirs; a test of chance fails some true ones."""


def of(graphs: Sequence[nx.Graph]) -> str | None:
    """Return the strictest rule that graphs of the data keep, or None."""
    for name, rule in RULES.items():
        if graphs and sum(map(rule, graphs)) >= KEPT[name] * len(graphs):
            return name
    return None


def get(name: str) -> Callable[[nx.Graph], bool]:
    """Return a rule by its name.

    Raises:
        SciflowError: There is no such rule.
    """
    if name not in RULES:
        raise unknown("rule", name, RULES)
    return RULES[name]


__all__ = ["KEPT", "RULES", "blocks", "get", "lattice", "of", "planar"]
