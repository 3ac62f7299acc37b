"""Generic graphs as arrays: the encoded data of training.

A graph with n nodes is n node labels and one edge label for each of its n (n - 1) / 2 unordered pairs, in the order of
`sciflow.spaces.pair_index`; 0 is no edge. Graphs come and go as undirected `networkx.Graph`.

In place of kinds a node may show its degree (`EncodedGraphs.with_degrees`), the node feature of GDSS on generic graphs,
or its role (`EncodedGraphs.with_roles`): its degree and the number of triangles that it is in. Edges and such labels
are then drawn together, and what a node is to be is known before all of its edges are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sciflow.errors import SciflowError, expected

from . import pyg
from .labels import Labels

FORMAT = "sciflow graphs 1"


@dataclass(frozen=True)
class EncodedGraphs:
    """M graphs, padded to N nodes and P = N (N - 1) / 2 pairs.

    Args:
        nodes: Node labels int16 ``[M, N]``, 0 on padding.
        edges: Edge labels int16 ``[M, P]``, 0 for no edge and on padding.
        sizes: Numbers of nodes int32 ``[M]``.
        node_labels: Kinds of nodes.
        edge_labels: Kinds of edges; kind k has label k + 1.
        degrees: Number of degrees 0, 1, ... that the node labels stand for; None where they are kinds.
        roles: Degrees and triangles that the node labels stand for; None where they are kinds.
    """

    nodes: np.ndarray
    edges: np.ndarray
    sizes: np.ndarray
    node_labels: Labels
    edge_labels: Labels
    degrees: int | None = None
    roles: Labels | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def node_classes(self) -> int:
        """Number of node labels K."""
        return self.degrees or len(self.roles or self.node_labels)

    def size_counts(self) -> dict[int, int]:
        """Number of graphs of each size, by size."""
        sizes, counts = np.unique(self.sizes, return_counts=True)
        return {int(n): int(c) for n, c in zip(sizes, counts, strict=True)}

    def node_frequencies(self) -> tuple[float, ...]:
        """Share of each label among all nodes ``[K]``."""
        real = np.arange(self.nodes.shape[1]) < self.sizes[:, None]
        return _shares(self.nodes[real], self.node_classes)

    def edge_frequencies(self) -> tuple[float, ...]:
        """Share of each label among all pairs ``[1 + kinds]``, no edge first."""
        pairs = (self.sizes.astype(np.int64) * (self.sizes - 1) // 2)[:, None]
        real = np.arange(self.edges.shape[1]) < pairs
        return _shares(self.edges[real], 1 + len(self.edge_labels))

    def with_degrees(self, classes: int | None = None) -> EncodedGraphs:
        """Return the graphs with the degree of each node as its label.

        Args:
            classes: Number of degrees 0, 1, ... to tell apart; None takes those of the data.

        Raises:
            SciflowError: A node has more neighbours than that.
        """
        degree = self._structure()[0]
        most = int(degree.max(initial=0))
        if classes is not None and most >= classes:
            raise expected("degree", most, f"at most {classes - 1} neighbours of a node")
        return replace(self, nodes=degree.astype(np.int16), degrees=classes or most + 1)

    def with_roles(self, roles: Labels | None = None) -> EncodedGraphs:
        """Return the graphs with the degree and the triangles of each node as its label.

        Args:
            roles: The pairs to tell apart; None takes those of the data.

        Raises:
            SciflowError: A node has another role, or there are too many.
        """
        degree, triangles = self._structure()
        real = np.arange(degree.shape[1]) < self.sizes[:, None]
        found = [
            {"degree": int(d), "triangles": int(t)}
            for d, t in zip(degree[real], triangles[real], strict=True)
        ]
        roles = roles or Labels.of("node", found)
        nodes = np.zeros_like(self.nodes)
        nodes[real] = [_known(roles, role, "role of a node") for role in found]
        return replace(self, nodes=nodes, roles=roles)

    def _structure(self) -> tuple[np.ndarray, np.ndarray]:
        """Degree and number of triangles of each node, both ``[M, N]``."""
        if len(self.node_labels) > 1:
            kinds = ", ".join(self.node_labels.keys)
            raise expected(
                "features of nodes", "their structure", f"'labels', for they have {kinds}"
            )
        count, width = self.nodes.shape
        i, j = np.tril_indices(width, -1)
        found = np.zeros((2, count, width), np.int64)
        matrix = np.zeros((width, width), np.float32)
        for k, edges in enumerate(self.edges):
            matrix[i, j] = matrix[j, i] = edges > 0
            found[0, k] = matrix.sum(1)
            found[1, k] = np.rint(((matrix @ matrix) * matrix).sum(1) / 2)
        return found[0], found[1]

    def save(self, path: str | Path) -> None:
        """Write the graphs to a ``.safetensors`` file."""
        kinds = {"nodes": self.node_labels.config(), "edges": self.edge_labels.config()}
        roles = self.roles.config() if self.roles else None
        shown = {**kinds, "degrees": self.degrees, "roles": roles}
        metadata = {"format": FORMAT, "labels": json.dumps(shown)}
        arrays = {"nodes": self.nodes, "edges": self.edges, "sizes": self.sizes}
        partial = Path(f"{path}.partial")
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, partial, metadata)
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> EncodedGraphs:
        """Read graphs written by `save`.

        Raises:
            SciflowError: The file is missing, truncated or of another kind.
        """
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise expected(
                str(path), str(error), "encoded graphs", "encode the data again"
            ) from None
        if metadata.get("format") != FORMAT:
            raise expected(str(path), metadata.get("format"), FORMAT, "encode the data again")
        found = json.loads(metadata["labels"])
        nodes, edges = (Labels.from_config(found[part]) for part in ("nodes", "edges"))
        roles = Labels.from_config(found["roles"]) if found["roles"] else None
        parts = arrays["nodes"], arrays["edges"], arrays["sizes"]
        return cls(*parts, nodes, edges, found["degrees"], roles)


def _shares(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    counts = np.bincount(labels.astype(np.int64), minlength=classes)
    if not counts.sum():  # graphs of one node have no pair
        counts[0] = 1
    return tuple((counts / counts.sum()).tolist())


def encode(
    graphs: Iterable[Any],
    node_labels: Labels | None = None,
    edge_labels: Labels | None = None,
    node_attributes: Sequence[str] | None = None,
    edge_attributes: Sequence[str] | None = None,
) -> EncodedGraphs:
    """Encode graphs; the kinds of nodes and edges are found in them where none are given.

    Args:
        graphs: Graphs of networkx or PyTorch Geometric, also a whole data set of it; directions and self-loops are left
            out, of parallel edges the first is taken.
        node_labels: Kinds of nodes.
        edge_labels: Kinds of edges.
        node_attributes: Attributes that make the kinds of nodes; None takes all.
        edge_attributes: Attributes that make the kinds of edges; None takes all.

    Raises:
        SciflowError: There is no graph, a graph has no nodes, or a kind is unknown.
    """
    graphs = [check(graph, f"graph {k}") for k, graph in enumerate(graphs)]
    if not graphs:
        raise expected("graphs", "none", "at least one")
    if node_labels is None:
        rows = (data for graph in graphs for _, data in graph.nodes(data=True))
        node_labels = Labels.of("node", rows, node_attributes)
    if edge_labels is None:
        rows = (data for graph in graphs for *_, data in graph.edges(data=True))
        edge_labels = Labels.of("edge", rows, edge_attributes)
    most = max(len(graph) for graph in graphs)
    nodes = np.zeros((len(graphs), most), np.int16)
    edges = np.zeros((len(graphs), most * (most - 1) // 2), np.int16)
    for k, graph in enumerate(graphs):
        place = {node: i for i, node in enumerate(graph)}
        for node, data in graph.nodes(data=True):
            nodes[k, place[node]] = _known(node_labels, data, f"graph {k}: node {node!r}")
        for one, other, data in graph.edges(data=True):
            high, low = max(place[one], place[other]), min(place[one], place[other])
            label = _known(edge_labels, data, f"graph {k}: edge {one!r}, {other!r}")
            edges[k, high * (high - 1) // 2 + low] = 1 + label
    sizes = np.array([len(graph) for graph in graphs], np.int32)
    return EncodedGraphs(nodes, edges, sizes, node_labels, edge_labels)


def _known(labels: Labels, data: dict, place: str) -> int:
    label = labels.label(data)
    if label is None:
        kinds = ", ".join(str(labels.attributes(k)) for k in range(min(len(labels), 5)))
        raise expected(place, dict(data), f"one of the kinds {kinds}")
    return label


def check(graph: Any, name: str) -> nx.Graph:
    """Return a graph of networkx or PyTorch Geometric as a simple undirected one.

    Raises:
        SciflowError: It is no graph, or has no nodes.
    """
    if pyg.is_pyg(graph):
        graph = pyg.from_pyg(graph)
    if not isinstance(graph, nx.Graph):
        raise expected(name, type(graph).__name__, "a graph of networkx or PyTorch Geometric")
    if not len(graph):
        raise expected(name, "no nodes", "at least one node")
    if graph.is_directed() or graph.is_multigraph():
        simple = nx.Graph()
        simple.add_nodes_from(graph.nodes(data=True))
        for one, other, data in graph.edges(data=True):
            if not simple.has_edge(one, other):
                simple.add_edge(one, other, **data)
        graph = simple
    loops = list(nx.selfloop_edges(graph))
    if loops:
        graph = graph.copy()
        graph.remove_edges_from(loops)
    return graph


def decode(
    nodes: np.ndarray, edges: np.ndarray, size: int, node_labels: Labels, edge_labels: Labels
) -> nx.Graph:
    """Return the graph of labels.

    Args:
        nodes: Node labels ``[N]``; a node with a negative one is left out.
        edges: Edge labels ``[P]``.
        size: Number of nodes n.
        node_labels: Kinds of nodes.
        edge_labels: Kinds of edges.
    """
    if size < 1:
        raise SciflowError(f"got a graph of {size} nodes, expected at least 1")
    graph = nx.Graph()
    kept = [k for k in range(size) if nodes[k] >= 0]
    place = {k: number for number, k in enumerate(kept)}
    for k in kept:
        graph.add_node(place[k], **node_labels.attributes(int(nodes[k])))
    i, j = np.tril_indices(size, -1)
    found = np.flatnonzero(edges[: len(i)])
    for one, other, label in zip(i[found], j[found], edges[found], strict=True):
        if int(one) in place and int(other) in place:
            kind = edge_labels.attributes(int(label) - 1)
            graph.add_edge(place[int(other)], place[int(one)], **kind)
    return graph


__all__ = ["FORMAT", "EncodedGraphs", "check", "decode", "encode"]
