"""Graphs of PyTorch Geometric, with categorical features of any kind, and back.

Node features: ``x`` one-hot ``[n, K]`` becomes the attribute ``x``; whole numbers ``[n, F]`` become ``x`` (F = 1) or
``x0``, ``x1``, ... Edge features likewise, from ``edge_attr``. Edges may stand once or in both directions. Of features
that are real numbers those to learn must be named (``data.node_attributes``, ``data.edge_attributes``).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import torch
from torch import Tensor

from sciflow.checkpoint import write_atomically
from sciflow.errors import SciflowError, expected, need

from .labels import Labels

if TYPE_CHECKING:
    from torch_geometric.data import Data


def is_pyg(thing: Any) -> bool:
    """True for a graph of PyTorch Geometric."""
    return hasattr(thing, "edge_index") and hasattr(thing, "num_nodes")


def from_pyg(data: Data) -> nx.Graph:
    """Return a graph of PyTorch Geometric as a networkx graph.

    Raises:
        SciflowError: Edges and features do not fit.
    """
    count = data.num_nodes
    if not count:
        raise expected("graph", "no nodes", "at least one node")
    graph = nx.empty_graph(int(count))
    for node, row in enumerate(_attributes("x", data.x, int(count))):
        graph.add_node(node, **row)
    index = data.edge_index
    if index is None or not index.numel():
        return graph
    rows = _attributes("edge_attr", data.edge_attr, index.shape[1])
    for (one, other), row in zip(index.T.tolist(), rows, strict=True):
        if max(one, other) >= count:
            raise expected("edge_index", max(one, other), f"nodes 0 to {count - 1}")
        if one == other or (graph.has_edge(one, other) and graph.edges[one, other] == row):
            continue
        if graph.has_edge(one, other):
            raise expected(
                f"edge {one}, {other}",
                f"{graph.edges[one, other]} and {row}",
                "the same features in both directions",
            )
        graph.add_edge(one, other, **row)
    return graph


def _attributes(name: str, features: Tensor | None, count: int) -> list[dict[str, int | float]]:
    if features is None or features.numel() == 0:
        return [{} for _ in range(count)]
    if features.shape[0] != count:
        raise expected(name, tuple(features.shape), f"{count} rows")
    rows = features.reshape(count, -1)
    # PyG writes categories one-hot as a rule.
    if rows.shape[1] > 1 and bool(((rows == 0) | (rows == 1)).all() & (rows.sum(1) == 1).all()):
        rows = rows.argmax(1, keepdim=True)
    names = [name] if rows.shape[1] == 1 else [f"{name}{k}" for k in range(rows.shape[1])]
    return [dict(zip(names, map(_whole, row), strict=True)) for row in rows.tolist()]


def _whole(value: float) -> int | float:
    """A whole number as one; others stay as they are, for `Labels` to refuse where they are to be learnt."""
    return int(value) if float(value).is_integer() else value


def to_pyg(graph: nx.Graph, node_labels: Labels, edge_labels: Labels) -> Data:
    """Return a graph as one of PyTorch Geometric.

    Args:
        graph: The graph, with n nodes and E edges.
        node_labels: Kinds of nodes, the columns of `x`.
        edge_labels: Kinds of edges, the columns of `edge_attr`.

    Returns:
        `Data` with `x` one-hot ``[n, K]``, `edge_index` ``[2, 2E]`` in both directions, `edge_attr` one-hot
        ``[2E, C]``; no features where there is one kind alone.

    Raises:
        SciflowError: A kind is unknown, or torch_geometric is not installed.
    """
    data = need("torch_geometric.data", "molecules")
    place = {node: k for k, node in enumerate(graph)}
    nodes = [_label(node_labels, attributes) for _, attributes in graph.nodes(data=True)]
    pairs = [(place[a], place[b], _label(edge_labels, d)) for a, b, d in graph.edges(data=True)]
    pairs += [(b, a, k) for a, b, k in pairs]
    index = torch.tensor([(a, b) for a, b, _ in pairs], dtype=torch.long).view(-1, 2).T
    result = data.Data(edge_index=index, num_nodes=len(nodes))
    if len(node_labels) > 1:
        result.x = torch.eye(len(node_labels))[torch.tensor(nodes)]
    if len(edge_labels) > 1:
        kinds = torch.tensor([k for *_, k in pairs], dtype=torch.long)
        result.edge_attr = torch.eye(len(edge_labels))[kinds]
    return result


def _label(labels: Labels, attributes: dict[str, Any]) -> int:
    label = labels.label(attributes)
    if label is None:
        raise expected("attributes", attributes, f"a kind of {', '.join(labels.keys)}")
    return label


def save(path: str | Path, graphs: Iterable[nx.Graph]) -> None:
    """Write graphs as a list of `Data`, which `load` and `torch.load` read.

    Attributes are the columns of `x` ``[n, F]`` and `edge_attr` ``[2E, F]``, in the order of their names: whole numbers
    int64, others float32. Edges stand in both directions.

    Raises:
        SciflowError: An attribute is a word or missing somewhere, or the place cannot be written.
    """
    kind = need("torch_geometric.data", "molecules").Data
    found = []
    for graph in graphs:
        place = {node: k for k, node in enumerate(graph)}
        pairs = [(place[a], place[b]) for a, b in graph.edges]
        pairs += [(b, a) for a, b in pairs]
        data = kind(
            edge_index=torch.tensor(pairs, dtype=torch.long).view(-1, 2).T.contiguous(),
            num_nodes=len(place),
        )
        x = _columns("node", [attributes for _, attributes in graph.nodes(data=True)])
        links = _columns("edge", [attributes for *_, attributes in graph.edges(data=True)])
        if x is not None:
            data.x = x
        if links is not None:
            data.edge_attr = torch.cat([links, links])
        found.append(data)
    content = io.BytesIO()  # torch.save writes the name of a file into it
    torch.save(found, content)
    write_atomically(Path(path), lambda place: place.write_bytes(content.getvalue()))


def _columns(what: str, rows: Sequence[Mapping[str, Any]]) -> Tensor | None:
    """Attributes ``[rows, names]``, or None where there are none."""
    names = sorted({name for row in rows for name in row})
    if not names:
        return None
    table = [[row.get(name) for name in names] for row in rows]
    for values in table:
        for name, value in zip(names, values, strict=True):
            if not isinstance(value, (int, float)):
                wanted = "numbers in a .pt file; .jsonl and .graphml hold words"
                raise expected(f"attribute {name} of a {what}", repr(value), wanted)
    whole = all(isinstance(value, int) for values in table for value in values)
    return torch.tensor(table, dtype=torch.long if whole else torch.float32)


def load(path: str | Path) -> list[nx.Graph]:
    """Read a ``.pt`` file: a list of `Data`, or the ``processed/*.pt`` of an in-memory data set.

    The file is read without running code that it may hold.

    Raises:
        SciflowError: The file holds something else.
    """
    classes = need("torch_geometric.data", "molecules")
    inner = need("torch_geometric.data.data", "molecules")
    storage = need("torch_geometric.data.storage", "molecules")
    allowed = [
        classes.Data,
        *(
            getattr(inner, name)
            for name in ("DataEdgeAttr", "DataTensorAttr")
            if hasattr(inner, name)
        ),
        storage.GlobalStorage,
        storage.BaseStorage,
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it likes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise expected(
            str(path), reason, "a list of PyG Data, or the processed file of a PyG data set"
        ) from None
    if isinstance(found, tuple) and len(found) >= 2:
        found = _collated(found[0], found[1], classes.Data)
    if is_pyg(found):
        found = [found]
    found = list(found) if isinstance(found, Iterable) else [found]
    if not found or not all(is_pyg(thing) for thing in found):
        raise expected(str(path), type(found[0]).__name__ if found else "nothing", "PyG Data")
    graphs = []
    for number, data in enumerate(found):
        try:
            graphs.append(from_pyg(data))
        except SciflowError as error:
            raise SciflowError(f"{path}: graph {number}: {error}") from None
    return graphs


def _collated(whole: Any, slices: dict[str, Tensor], kind: Any) -> list[Any]:
    """Cut the one big graph of an in-memory data set."""
    big: Any = kind.from_dict(whole) if isinstance(whole, dict) else whole
    edges = slices["edge_index"].tolist()
    features: Any = big.x
    nodes = slices["x"].tolist() if features is not None and "x" in slices else None
    counts = big.num_nodes if isinstance(big.num_nodes, list) else getattr(big, "_num_nodes", None)
    graphs = []
    for k in range(len(edges) - 1):
        part = slice(edges[k], edges[k + 1])
        data: Any = kind(edge_index=big.edge_index[:, part])
        if big.edge_attr is not None:
            data.edge_attr = big.edge_attr[part]
        if nodes is not None and features is not None:
            data.x = features[nodes[k] : nodes[k + 1]]
        elif counts is not None:
            data.num_nodes = int(counts[k])
        graphs.append(data)
    return graphs


__all__ = ["from_pyg", "is_pyg", "load", "save", "to_pyg"]
