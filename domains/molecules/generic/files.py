"""Files of graphs.

| suffix | what |
|---|---|
| ``.jsonl`` | a graph per line, as below |
| ``.json`` | a list of such graphs |
| ``.edges`` | a graph per paragraph: a line per edge ``i j``, a line ``i`` for a lone node, ``#`` for comments |
| ``.graphml`` | one ``<graph>`` element per graph |
| ``.pt`` | a list of PyTorch Geometric graphs, or the processed file of its data sets; written as a list |

A graph with attributes, which are left out where there are none:

    {"n": 3, "edges": [[0, 1], [1, 2]], "nodes": {"kind": ["a", "b", "a"]}, "links": {"order": [1, 2]}}

A ``.pt`` file is written with attributes that are numbers alone: they become the columns of ``x`` and ``edge_attr``, in
the order of their names. ``.gz`` behind a suffix is understood in reading.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import networkx as nx

from sciflow.adapter import Read
from sciflow.checkpoint import write_text
from sciflow.errors import SciflowError, expected

from .labels import plain

SUFFIXES = (".jsonl", ".json", ".edges", ".graphml", ".pt")
MOST_NODES = 1_000_000
"""A graph that says to have more is taken for a slip; its nodes alone would fill the memory."""
_GROWING = (".jsonl", ".edges")
"""Formats without an end: a batch is added behind what is there."""


def read(path: str | Path, progress: Callable[[int], object] | None = None) -> Read:
    """Read graphs from a file; a graph that cannot be read is named and left out.

    Args:
        path: File with one of `SUFFIXES`.
        progress: Called with the number of graphs.

    Raises:
        SciflowError: The file cannot be read, or holds no graph.
    """
    path = Path(path)
    suffix = _suffix(path)
    if suffix == ".pt":
        from . import pyg

        found = Read(pyg.load(path))
    elif suffix == ".graphml":
        found = Read(_graphml(path))
    else:
        found = Read([])
        rows = {".jsonl": _lines, ".json": _array, ".edges": _paragraphs}[suffix](_text(path))
        for number, (text, make) in enumerate(rows, 1):
            try:
                found.objects.append(make())
            except (
                SciflowError,
                ValueError,
                TypeError,
                KeyError,
                IndexError,
                AttributeError,
            ) as e:
                reason = str(e) or type(e).__name__
                found.skipped.append((number, text[:80], reason.splitlines()[0]))
    if not found.objects and not found.skipped:
        raise expected(str(path), "nothing", "at least one graph")
    if progress is not None:
        progress(len(found.objects))
    return found


def _suffix(path: Path) -> str:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise expected(f"{path}: file type", suffix, "one of " + ", ".join(SUFFIXES))
    return suffix


def _text(path: Path) -> str:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            return file.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "not a text"
        raise expected(str(path), reason, "a file of graphs that can be read") from None


_Row = tuple[str, Callable[[], nx.Graph]]


def _lines(text: str) -> Iterator[_Row]:
    for line in text.splitlines():
        if line.strip():
            yield line, lambda line=line: from_plain(json.loads(line))


def _array(text: str) -> Iterator[_Row]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise expected("JSON", str(error), "a list of graphs") from None
    for row in rows if isinstance(rows, list) else [rows]:
        yield json.dumps(row)[:80], lambda row=row: from_plain(row)


def _paragraphs(text: str) -> Iterator[_Row]:
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        bare = line.partition("#")[0].strip()
        if bare:
            lines.append(bare)
        elif lines and not line.strip():
            yield "; ".join(lines), lambda lines=tuple(lines): _edges(lines)
            lines = []


def _edges(lines: Sequence[str]) -> nx.Graph:
    graph = nx.Graph()
    for line in lines:
        words = line.replace(",", " ").split()
        if len(words) > 2:
            raise expected("line", line, "an edge 'i j', or a lone node 'i'")
        graph.add_nodes_from(words)
        if len(words) == 2:
            graph.add_edge(*words)
    # Numbers in their order where all names are numbers, so that a file that we wrote comes back as it was.
    names = list(graph)
    ordered = sorted(names, key=int) if all(name.isdecimal() for name in names) else names
    return _numbered(graph, ordered)


def _numbered(graph: nx.Graph, order: Sequence[Any]) -> nx.Graph:
    place = {node: k for k, node in enumerate(order)}
    result = nx.empty_graph(len(place))
    for node, data in graph.nodes(data=True):
        result.add_node(place[node], **data)
    for one, other, data in graph.edges(data=True):
        result.add_edge(place[one], place[other], **data)
    return result


def _graphml(path: Path) -> list[nx.Graph]:
    from xml.etree.ElementTree import ParseError

    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            found = list(nx.readwrite.graphml.GraphMLReader()(path=file))
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise expected(str(path), reason, "a file of graphs that can be read") from None
    except (ParseError, nx.NetworkXError, ValueError, KeyError) as error:
        raise expected(str(path), str(error), "graphs in GraphML") from None
    graphs = []
    for graph in found:
        simple = nx.Graph()
        simple.add_nodes_from(graph.nodes(data=True))
        simple.add_edges_from((a, b, d) for a, b, d in graph.edges(data=True))
        graphs.append(_numbered(simple, list(simple)))
    return graphs


def from_plain(row: Any) -> nx.Graph:
    """Return the graph of plain data; see the module.

    Raises:
        SciflowError: An entry is missing or wrong.
    """
    if not isinstance(row, dict) or "n" not in row or "edges" not in row:
        raise expected("graph", type(row).__name__, "a table with 'n' and 'edges'")
    count, edges = row["n"], row["edges"]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_NODES:
        raise expected("n", count, f"a number of nodes from 1 to {MOST_NODES:,}")
    graph = nx.empty_graph(count)
    for name, values in _columns(row, "nodes", count):
        for node, value in enumerate(values):
            graph.nodes[node][name] = value
    if not isinstance(edges, list | tuple):
        raise expected("edges", edges, "a list of pairs")
    for pair in edges:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise expected("edge", pair, "two numbers of nodes")
        one, other = pair
        if not (isinstance(one, int) and isinstance(other, int) and min(one, other) >= 0):
            raise expected("edge", pair, "two numbers of nodes")
        if max(one, other) >= count:
            raise expected("edge", pair, f"two nodes from 0 to {count - 1}")
        graph.add_edge(one, other)
    for name, values in _columns(row, "links", len(edges)):
        for pair, value in zip(edges, values, strict=True):
            graph.edges[tuple(pair)][name] = value
    return graph


def _columns(row: dict[str, Any], key: str, count: int) -> Iterator[tuple[str, Sequence[Any]]]:
    """Attributes of nodes or links, a list of `count` values each."""
    table = row.get(key, {})
    if not isinstance(table, dict):
        raise expected(key, table, "a table of lists")
    for name, values in table.items():
        if not isinstance(values, list | tuple) or len(values) != count:
            raise expected(f"{key}.{name}", values, f"a list of {count} values")
        yield name, values


def to_plain(graph: nx.Graph) -> dict[str, Any]:
    """Return a graph as plain data; attributes that some nodes (or edges) lack are null there."""
    place = {node: k for k, node in enumerate(graph)}
    edges = [
        (*sorted((place[a], place[b])), {k: plain(v) for k, v in data.items()})
        for a, b, data in graph.edges(data=True)
    ]
    edges.sort(key=lambda edge: edge[:2])
    row: dict[str, Any] = {"n": len(place), "edges": [[a, b] for a, b, _ in edges]}
    nodes = [{k: plain(v) for k, v in data.items()} for _, data in graph.nodes(data=True)]
    for name, parts in (("nodes", nodes), ("links", [data for *_, data in edges])):
        keys = sorted({key for data in parts for key in data})
        if keys:
            row[name] = {key: [data.get(key) for data in parts] for key in keys}
    return row


class Writer:
    """A file of graphs being written, replacing what was there with the first batch.

    Args:
        path: File with a suffix of `SUFFIXES`.

    Raises:
        SciflowError: The suffix is unknown, or the place cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _suffix(self.path)
        if self.path.suffix == ".gz":
            wanted = "one of " + ", ".join(SUFFIXES)
            raise expected(f"{path}: file type", self.path.suffix, wanted)
        probe = self.path.with_name(f".{self.path.name}.probe")
        write_text(probe, "")
        probe.unlink(missing_ok=True)
        self._graphs: list[nx.Graph] = []
        self._begun = False

    def append(self, objects: Sequence[nx.Graph]) -> None:
        """Write a batch, which is on the disk on return; formats with an end are written anew."""
        suffix = self.path.suffix.lower()
        if suffix in _GROWING:
            make = _line if suffix == ".jsonl" else _paragraph
            with _open(self.path, "a" if self._begun else "w") as file:
                file.writelines(make(graph) for graph in objects)
                file.flush()
                os.fsync(file.fileno())
            self._begun = True
            return
        self._graphs += objects
        if suffix == ".pt":
            from . import pyg

            pyg.save(self.path, self._graphs)
        elif suffix == ".json":
            rows = ",\n".join(json.dumps(to_plain(graph)) for graph in self._graphs)
            write_text(self.path, f"[\n{rows}\n]\n")
        else:
            writer = nx.readwrite.graphml.GraphMLWriter()
            writer.add_graphs(self._graphs)
            write_text(self.path, str(writer) + "\n")

    def go_on(self, mark: int, count: int) -> None:
        """Keep the first `count` graphs, which end `mark` bytes into a file that grows; the next batch comes behind.

        Raises:
            SciflowError: The file is gone, cannot be written, or holds other graphs than it did.
        """
        if self.path.suffix.lower() in _GROWING:
            with _open(self.path, "r+") as file:
                file.truncate(mark)
            self._begun = True
            return
        found = read(self.path)
        if found.skipped or len(found.objects) < count:
            raise expected(
                str(self.path), f"{len(found.objects)} graphs", f"the {count} of its record"
            )
        self._graphs = found.objects[:count]

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@contextmanager
def _open(path: Path, mode: str) -> Iterator[IO[Any]]:
    """An open file; whatever the disk refuses, writing included, is one error."""
    try:
        with open(path, mode, encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise expected(str(path), error.strerror, "a place that can be written") from None


def _line(graph: nx.Graph) -> str:
    return json.dumps(to_plain(graph)) + "\n"


def _paragraph(graph: nx.Graph) -> str:
    place = {node: k for k, node in enumerate(graph)}
    lines = [f"{place[node]}\n" for node in graph if not graph.degree(node)]
    lines += [f"{place[a]} {place[b]}\n" for a, b in graph.edges]
    return "".join(lines) + "\n"


__all__ = ["SUFFIXES", "Writer", "from_plain", "read", "to_plain"]
