"""Synthetic graphs: communities, grids, planar graphs and stochastic block models.

Graph k of a seed is a function of (kind, seed, k) alone.

| kind | law |
|---|---|
| community | two communities of 6 to 10 nodes, edges inside with probability .7, bridges with .1 / size, at least one |
| grid | a x b square grid, 10 <= a, b < 20 |
| planar | Delaunay triangulation of 64 uniform points in the unit square |
| sbm | 2 to 5 blocks of 20 to 40 nodes, edges with probability .3 inside a block and .005 between two |

GDSS's ``community_small`` draws each community with a fixed seed, so that its 100 graphs hold five pairs of
communities; here every community is new.

Reference: Niu et al., Permutation invariant graph generation via score-based generative modeling, AISTATS 2020
(community); You et al., GraphRNN, ICML 2018 (grid); Martinkus et al., SPECTRE, ICML 2022, section 5 (planar, sbm).
"""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np

from sciflow.errors import expected, unknown
from sciflow.spaces import pair_index
from sciflow.streams import Streams


def community(streams: Streams) -> nx.Graph:
    """Return two communities joined by a few bridges."""
    size = _whole(streams, 6, 10)
    block = np.arange(2 * size) // size
    graph = _blocks(streams, block, 0.7, 0.1 / size)
    if not any(block[a] != block[b] for a, b in graph.edges):
        graph.add_edge(0, size)
    return graph


def grid(streams: Streams) -> nx.Graph:
    """Return a square grid."""
    sides = _whole(streams, 10, 19), _whole(streams, 10, 19)
    return nx.convert_node_labels_to_integers(nx.grid_2d_graph(*sides), ordering="sorted")


def planar(streams: Streams, nodes: int = 64) -> nx.Graph:
    """Return a Delaunay triangulation of uniform points."""
    from scipy.spatial import Delaunay

    points = streams.uniform((nodes, 2)).double()[0].numpy()
    graph = nx.empty_graph(nodes)
    for corners in Delaunay(points).simplices.tolist():
        nx.add_cycle(graph, corners)
    return graph


def sbm(streams: Streams) -> nx.Graph:
    """Return a stochastic block model."""
    sizes = [_whole(streams, 20, 40) for _ in range(_whole(streams, 2, 5))]
    return _blocks(streams, np.repeat(np.arange(len(sizes)), sizes), 0.3, 0.005)


def _whole(streams: Streams, low: int, high: int) -> int:
    return low + int(float(streams.uniform(())[0]) * (high - low + 1))


def _blocks(streams: Streams, block: np.ndarray, inside: float, between: float) -> nx.Graph:
    i, j = (x.numpy() for x in pair_index(len(block)))
    chance = np.where(block[i] == block[j], inside, between)
    there = streams.uniform((len(i),))[0].numpy() < chance
    graph = nx.empty_graph(len(block))
    graph.add_edges_from(zip(j[there].tolist(), i[there].tolist(), strict=True))
    return graph


GENERATORS: dict[str, Callable[[Streams], nx.Graph]] = {
    "community": community,
    "grid": grid,
    "planar": planar,
    "sbm": sbm,
}


def generate(kind: str, count: int, seed: int = 0) -> list[nx.Graph]:
    """Draw graphs.

    Args:
        kind: One of `GENERATORS`.
        count: How many.
        seed: Seed.

    Raises:
        SciflowError: The kind is unknown, or `count` is below 1.
    """
    if kind not in GENERATORS:
        raise unknown("kind of synthetic graphs", kind, GENERATORS)
    if count < 1:
        raise expected("number of graphs", count, "at least 1")
    draw = GENERATORS[kind]
    return [draw(Streams.range(seed, k, 1, f"graphs {kind}")) for k in range(count)]


__all__ = ["GENERATORS", "community", "generate", "grid", "planar", "sbm"]
