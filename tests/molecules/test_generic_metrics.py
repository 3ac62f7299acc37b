"""The metrics of graphs: copies, rules, draws and floors mean what they say."""

from __future__ import annotations

import json

import networkx as nx
import pytest

from sciflow.domains.molecules.generic import generators, rules
from sciflow.domains.molecules.generic.isomorphism import Classes
from sciflow.domains.molecules.generic.metrics import evaluate


def shuffled(graph: nx.Graph, seed: int = 0) -> nx.Graph:
    order = list(graph)
    import random

    random.Random(seed).shuffle(order)
    return nx.relabel_nodes(graph, dict(zip(graph, order, strict=True)))


def test_isomorphic_graphs_share_a_class() -> None:
    classes = Classes()
    graphs = [nx.gnp_random_graph(9, 0.4, seed=k) for k in range(8)]
    numbers = [classes.find(graph) for graph in graphs]
    assert [classes.find(shuffled(graph, 5)) for graph in graphs] == numbers
    # Refinement alone does not tell these apart: both are regular of degree 2.
    pair = nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    assert classes.find(nx.cycle_graph(6)) != classes.find(pair)


def test_kinds_count_where_they_are_asked_for() -> None:
    one, other = nx.path_graph(3), nx.path_graph(3)
    nx.set_node_attributes(one, {0: "a", 1: "b", 2: "b"}, "kind")
    nx.set_node_attributes(other, {0: "b", 1: "a", 2: "b"}, "kind")
    assert Classes().find(one) == Classes().find(other)
    for keys in ({"kind"}, set()):
        classes = Classes(keys)
        assert (classes.find(one) == classes.find(other)) == (not keys)
    nx.set_edge_attributes(one, {(0, 1): 1, (1, 2): 2}, "weight")
    nx.set_edge_attributes(other, {(0, 1): 2, (1, 2): 2}, "weight")
    classes = Classes((), {"weight"})
    assert classes.find(one) == classes.find(shuffled(one)) != classes.find(other)


def test_copies_are_found_whatever_the_names_of_their_nodes() -> None:
    data = generators.generate("community", 24)
    new = generators.generate("community", 8, seed=9)
    made = [shuffled(g) for g in data[4:8]] + new[:4] + [shuffled(new[0])]
    metrics = evaluate(made, reference=data[:4], train=data[4:])
    assert metrics["copies"] == pytest.approx(4 / 9) and metrics["unique"] == pytest.approx(8 / 9)
    assert metrics.figures["copies"].reference == 0
    assert [row.copy for row in metrics.table] == [True] * 4 + [False] * 5
    assert metrics.table[-1].unique is False
    json.dumps(metrics.summary())
    assert "copies of training graphs" in metrics.to_text()


def test_distances_are_taken_by_draws_beside_the_floor() -> None:
    data = generators.generate("community", 40)
    metrics = evaluate(data[10:40], reference=data[:10], train=data[10:])
    figure = metrics.figures["clustering"]
    assert figure.draws == 3 and figure.over == 30
    assert figure.spread[0] <= figure.value <= figure.spread[1]
    assert figure.floor_spread[0] <= figure.floor <= figure.floor_spread[1]
    one = evaluate(data[10:20], reference=data[:10])
    assert (
        one.figures["clustering"].floor is None
        and one["clustering"] == one.figures["clustering"].spread[0]
    )
    few = evaluate(data[10:14], reference=data[:10])
    assert few.figures["degree"].draws == 1 and few.figures["degree"].over == 4
    far = evaluate([nx.complete_graph(14)] * 10, reference=data[:10], train=data[10:])
    assert all(far[name] > metrics[name] for name in ("degree", "clustering", "orbit", "spectral"))


def test_the_strictest_rule_of_the_reference_decides_who_is_valid() -> None:
    planar = generators.generate("planar", 4)
    grid = generators.generate("grid", 2)
    sbm = generators.generate("sbm", 6)
    assert [rules.of(s) for s in (planar, grid, sbm)] == ["planar", "lattice", "blocks"]
    assert rules.of([nx.complete_graph(5)]) is None
    broken = planar[1].copy()
    broken.add_edges_from((0, k) for k in range(1, 64))
    metrics = evaluate([planar[0], broken, planar[0]], planar[:2], planar[2:])
    assert [row.valid for row in metrics.table] == [True, False, True]
    assert metrics["valid_unique_novel"] == pytest.approx(1 / 3)
    copy = evaluate([planar[2]], planar[:2], planar[2:])
    assert copy["valid"] == 1 and copy["valid_unique_novel"] == 0


def test_a_lattice_is_nothing_but_a_lattice() -> None:
    graph = nx.grid_2d_graph(3, 5)
    assert rules.lattice(graph) and rules.lattice(shuffled(graph))
    moved = nx.convert_node_labels_to_integers(graph)
    moved.remove_edge(0, 1)
    moved.add_edge(0, 14)
    assert not rules.lattice(moved) and not rules.lattice(nx.path_graph(6))
    assert not rules.lattice(nx.empty_graph(4)) and not rules.planar(nx.empty_graph(2))
    assert not rules.blocks(nx.gnp_random_graph(60, 0.3, seed=0))


def test_nothing_and_unreadable_rows_are_no_error() -> None:
    empty = evaluate([])
    assert all(figure.value is None for figure in empty.figures.values()) and empty.to_text()
    metrics = evaluate([nx.path_graph(3)], unreadable=1)
    assert metrics["connected"] == 0.5 and metrics["degree"] is None
    lone = evaluate([nx.Graph(), nx.empty_graph(3)], [nx.path_graph(3)])
    assert lone["degree"] > 0 and lone.table[0].nodes == 0
