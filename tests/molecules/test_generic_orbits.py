"""Orbit counts and distances of graphs, against enumeration and closed forms."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
import torch

from sciflow.domains.molecules.generic import distances
from sciflow.domains.molecules.generic.orbits import orbit_counts

# Each connected graph of 2 to 4 nodes with the orbits of its nodes.
GRAPHLETS = [
    (nx.path_graph(2), [0, 0]),
    (nx.path_graph(3), [1, 2, 1]),
    (nx.cycle_graph(3), [3, 3, 3]),
    (nx.path_graph(4), [4, 5, 5, 4]),
    (nx.star_graph(3), [7, 6, 6, 6]),
    (nx.cycle_graph(4), [8, 8, 8, 8]),
    (nx.Graph([(0, 1), (1, 2), (2, 0), (0, 3)]), [11, 10, 10, 9]),
    (nx.Graph([(0, 1), (1, 2), (2, 0), (0, 3), (1, 3)]), [13, 13, 12, 12]),
    (nx.complete_graph(4), [14, 14, 14, 14]),
]


def enumerated(graph: nx.Graph) -> np.ndarray:
    counts = np.zeros((len(graph), 15))
    for size in (2, 3, 4):
        for nodes in combinations(graph, size):
            part = graph.subgraph(nodes)
            for shape, orbits in GRAPHLETS:
                if len(shape) == size and shape.size() == part.size():
                    match = nx.isomorphism.GraphMatcher(part, shape)
                    if match.is_isomorphic():
                        for node, place in match.mapping.items():
                            counts[node, orbits[sorted(shape).index(place)]] += 1
    return counts


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_orbits_are_those_of_enumeration(p: float) -> None:
    graph = nx.gnp_random_graph(11, p, seed=3)
    a = torch.from_numpy(nx.to_numpy_array(graph))
    assert np.array_equal(orbit_counts(a).numpy(), enumerated(graph))


def test_the_orbits_of_each_graphlet_are_its_own() -> None:
    for shape, orbits in GRAPHLETS:
        order = sorted(shape)
        found = orbit_counts(torch.from_numpy(nx.to_numpy_array(shape, order)))
        top = {2: slice(0, 1), 3: slice(1, 4), 4: slice(4, 15)}[len(shape)]
        wanted = torch.zeros(len(shape), 15, dtype=torch.float64)
        wanted[torch.arange(len(shape)), torch.tensor(orbits)] = 1
        assert torch.equal(found[:, top], wanted[:, top])


def test_neighbourhoods_taken_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from sciflow.domains.molecules.generic import orbits

    a = torch.from_numpy(nx.to_numpy_array(nx.gnp_random_graph(20, 0.6, seed=1)))
    whole = orbit_counts(a)
    monkeypatch.setattr(orbits, "_ENTRIES", 300)
    assert torch.equal(orbit_counts(a), whole)


def test_distances_are_those_of_the_formula() -> None:
    """Against the histograms and the transport distance of numpy and scipy."""
    from scipy.stats import wasserstein_distance

    x = [nx.gnp_random_graph(12, 0.4, seed=k) for k in range(3)]
    y = [nx.gnp_random_graph(9, 0.6, seed=k) for k in range(4)]

    def histograms(graph: nx.Graph) -> dict[str, np.ndarray]:
        graph = graph.subgraph([n for n, d in graph.degree if d])
        spectrum = np.linalg.eigvalsh(nx.normalized_laplacian_matrix(graph).toarray())
        clustering = list(nx.clustering(graph).values())
        return {
            "degree": np.bincount([d for _, d in graph.degree], minlength=20),
            "clustering": np.histogram(clustering, 100, (0, 1))[0],
            "spectral": np.histogram(spectrum, 200, (-1e-5, 2))[0],
        }

    a, b = [histograms(g) for g in x], [histograms(g) for g in y]
    found = distances.distances(distances.Statistics.of(x), distances.Statistics.of(y))
    for name, sigma, bins in (("degree", 1, 1), ("clustering", 0.1, 100), ("spectral", 1, 1)):

        def k(p, q, name=name, sigma=sigma, bins=bins) -> float:
            support = np.arange(len(p[name])) / bins
            moved = wasserstein_distance(support, support, p[name], q[name])
            return np.exp(-(moved**2) / (2 * sigma**2))

        terms = [np.mean([k(p, q) for p in u for q in v]) for u, v in ((a, a), (b, b), (a, b))]
        assert found[name] == pytest.approx(terms[0] + terms[1] - 2 * terms[2], abs=1e-9)
    mean = (found["degree"] + found["clustering"] + found["orbit"]) / 3
    assert found["average"] == pytest.approx(mean)


def test_a_set_is_no_distance_from_itself_and_lone_nodes_do_not_count() -> None:
    graphs = [nx.cycle_graph(5), nx.path_graph(4)]
    more = [nx.disjoint_union(graph, nx.empty_graph(2)) for graph in graphs]
    one, other = distances.Statistics.of(graphs), distances.Statistics.of(more)
    assert all(abs(v) < 1e-12 for v in distances.distances(one, other).values())
    empty = distances.distances(one, distances.Statistics.of([nx.empty_graph(3)]))
    assert all(empty[name] > 0 for name in ("degree", "orbit", "spectral"))
