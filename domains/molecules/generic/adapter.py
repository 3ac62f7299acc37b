"""The adapter of generic graphs: what molecules are to `molecules`, any graphs are to this one.

Objects are undirected `networkx.Graph` with categorical attributes on nodes and edges; graphs of PyTorch Geometric are
taken in their place. Processes, networks and the forms of a state are those of molecular graphs: a kind of node stands
where an atom type does, a kind of edge where a bond order does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import networkx as nx
import torch
from torch import Tensor, nn

from sciflow.adapter import Adapter, Read
from sciflow.errors import built, expected, unknown
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import System

from ..process import Process
from .arrays import EncodedGraphs, decode, encode
from .files import SUFFIXES
from .labels import Labels

NETWORKS = ("graph-transformer", "gdss")
FEATURES = ("labels", "degree", "roles")
_DATA = ("train", "max_nodes", "node_attributes", "edge_attributes", "features")


class Graphs(Adapter):
    """Graphs with any kinds of nodes and edges.

    Args:
        node_labels: Kinds of nodes.
        edge_labels: Kinds of edges.
        size_counts: Number of training graphs of each size; sizes of samples are drawn from it.
        node_frequencies: Share of each node label ``[K]``.
        edge_frequencies: Share of each edge label among the pairs ``[1 + kinds]``, no edge first.
        process: Path of nodes and edges (see `Process.of`), or the name of a preset.
        network: ``{"name": one of NETWORKS, ...options}``, or the name of a preset.
        degrees: Number of degrees 0, 1, ... that a node shows in place of its kind, as GDSS's do; None shows kinds.
        roles: Degrees and triangles that a node shows in place of its kind; None shows kinds.
    """

    name: ClassVar[str] = "graphs"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    def __init__(
        self,
        node_labels: Labels,
        edge_labels: Labels,
        size_counts: Mapping[int, int],
        node_frequencies: Sequence[float],
        edge_frequencies: Sequence[float],
        process: str | Mapping[str, Any] = "marginal",
        network: Mapping[str, Any] | None = None,
        degrees: int | None = None,
        roles: Labels | None = None,
    ) -> None:
        self.node_labels, self.edge_labels = node_labels, edge_labels
        self.size_counts = dict(sorted((int(n), int(c)) for n, c in size_counts.items()))
        self.degrees, self.roles = degrees, roles
        self.network_options = _network(network)
        self.network_name = self.network_options.pop("name", "graph-transformer")
        if self.network_name not in NETWORKS:
            raise unknown("network", self.network_name, NETWORKS)
        if not self.size_counts or min(self.size_counts) < 1:
            raise expected("size_counts", self.size_counts, "at least one size of at least 1 node")
        for what, found, wanted in (
            ("node_frequencies", node_frequencies, degrees or len(roles or node_labels)),
            ("edge_frequencies", edge_frequencies, 1 + len(edge_labels)),
        ):
            if len(found) != wanted:
                raise expected(what, len(found), f"{wanted} numbers")
        self.process = Process.of(
            _process(process),
            self.network_name,
            tuple(float(f) for f in node_frequencies),
            tuple(float(f) for f in edge_frequencies),
        )

    # -- configuration ---------------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Graphs:
        """Make the adapter that `config` described."""
        kinds = {
            name: Labels.from_config(config[name])
            for name in ("node_labels", "edge_labels", "roles")
            if config.get(name) is not None
        }
        return cls(**{**config, **kinds})

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs."""
        return {
            "node_labels": self.node_labels.config(),
            "edge_labels": self.edge_labels.config(),
            "size_counts": {str(n): c for n, c in self.size_counts.items()},
            "node_frequencies": list(self.process.atom_frequencies),
            "edge_frequencies": list(self.process.bond_frequencies),
            "process": self.process.config(),
            "network": {"name": self.network_name, **self.network_options},
            "degrees": self.degrees,
            "roles": self.roles.config() if self.roles else None,
        }

    @classmethod
    def from_graphs(
        cls,
        graphs: EncodedGraphs,
        process: str | Mapping[str, Any] = "marginal",
        network: str | Mapping[str, Any] | None = None,
    ) -> Graphs:
        """Make an adapter for encoded data."""
        return cls(
            graphs.node_labels,
            graphs.edge_labels,
            graphs.size_counts(),
            graphs.node_frequencies(),
            graphs.edge_frequencies(),
            process,
            {"name": network} if isinstance(network, str) else network,
            graphs.degrees,
            graphs.roles,
        )

    @classmethod
    def from_data(
        cls, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Graphs, LabelledGraphs]:
        """Make an adapter for training data, and the data set.

        Args:
            data: ``train``: a file of graphs, an encoded ``.safetensors`` file, or the name of a set; ``max_nodes``
                leaves larger graphs out; ``node_attributes`` and ``edge_attributes`` name those to learn (default:
                all); ``features``: nodes show their kinds (``"labels"``), their degrees (``"degree"``) or degrees and
                triangles (``"roles"``); default: kinds where there are any or the network is a transformer, else
                degrees.
            options: ``process`` and ``network``.
        """
        for name in data:
            if name not in _DATA:
                raise unknown("key in [data]", name, _DATA)
        for name in options:
            if name not in ("process", "network"):
                raise unknown("table", name, ("process", "network"))
        if "train" not in data:
            raise expected("[data]", dict(data), "'train', a file of graphs")
        graphs, left_out = load_graphs(
            data["train"],
            data.get("max_nodes"),
            data.get("node_attributes"),
            data.get("edge_attributes"),
        )
        shown = graphs.degrees is not None or graphs.roles is not None  # by an encoded file
        bare = len(graphs.node_labels) == 1 and not shown
        gdss = _network(options.get("network")).get("name") == "gdss"
        features = data.get("features", "degree" if bare and gdss else "labels")
        if features not in FEATURES:
            raise unknown("data.features", str(features), FEATURES)
        if features == "roles" and not shown:
            graphs = graphs.with_roles()
        if features == "degree" and not shown:
            preset = _preset(options.get("network"))
            graphs = graphs.with_degrees(preset.degrees if preset else None)
        adapter = cls.from_graphs(graphs, **options)
        return adapter, LabelledGraphs(graphs, adapter.process, left_out)

    @property
    def max_nodes(self) -> int:
        """Largest number of nodes in the training data."""
        return max(self.size_counts)

    def system(self) -> System:
        """The system of nodes and edges."""
        return self.process.system()

    def network(self) -> nn.Module:
        """A new network for the system."""
        classes, kinds = len(self.process.atom_frequencies), len(self.process.bond_frequencies)
        if self.network_name == "gdss":
            from .. import gdss

            return gdss.network(classes, self.network_options)
        from ..networks.transformer import GraphTransformer

        return built(
            f"network {self.network_name}",
            GraphTransformer,
            self.network_options,
            self.process.states("atoms"),
            self.process.states("bonds"),
            classes,
            kinds,
            [0.0] * classes,
            self.max_nodes,
            conditions=(),
        )

    # -- objects and states ----------------------------------------------------------------------------------------

    def encode(self, objects: Iterable[Any]) -> State:
        """Encode graphs as a clean state; raises if one does not fit the kinds."""
        found = encode(objects, self.node_labels, self.edge_labels)
        if self.degrees is not None:
            found = found.with_degrees(self.degrees)
        if self.roles is not None:
            found = found.with_roles(self.roles)
        return LabelledGraphs(found, self.process).batch(torch.arange(len(found)))

    def decode(self, state: State) -> list[nx.Graph]:
        """Decode a clean state to graphs; nothing is repaired."""
        nodes, edges, sizes = (x.cpu().numpy() for x in self.process.read(state))
        if self.degrees is not None or self.roles is not None:
            nodes = nodes * 0  # the edges say what a degree is
        return [
            decode(labels, kinds, int(size), self.node_labels, self.edge_labels)
            for labels, kinds, size in zip(nodes, edges, sizes, strict=True)
        ]

    def frame(self, streams: Streams, options: Mapping[str, Any] | None = None) -> Frame:
        """Draw numbers of nodes from the training data's; option ``nodes`` fixes them.

        Args:
            streams: Random streams of the batch.
            options: ``{"nodes": n}`` or nothing.
        """
        options = dict(options or {})
        fixed = options.pop("nodes", None)
        if options:
            raise unknown("option", next(iter(options)), ("nodes",))
        device = streams.index.device
        if fixed is not None:
            whole = isinstance(fixed, int) and not isinstance(fixed, bool)
            if not whole or not 1 <= fixed <= self.max_nodes:
                raise expected("nodes", fixed, f"a number from 1 to {self.max_nodes}")
            sizes = torch.full((len(streams),), fixed, device=device)
        else:
            counts = torch.tensor(list(self.size_counts.values()), dtype=torch.float64)
            known = torch.tensor(list(self.size_counts), device=device)
            sizes = known[streams.categorical(counts.to(device).expand(len(streams), -1))]
        nodes = int(sizes.max())
        return Frame(self.process.shapes(nodes), self.process.masks(sizes, nodes))

    # -- files, metrics, pictures ----------------------------------------------------------------------------------

    @classmethod
    def knows(cls, name: str) -> bool:
        """True for a set by name, such as ``grid:test``."""
        from . import datasets

        return datasets.is_name(name)

    @classmethod
    def read(
        cls,
        path: str | Path,
        raw: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Read:
        """Read graphs from a file with one of `suffixes`, or a set by name."""
        from . import datasets, files

        if datasets.is_name(str(path)):
            return Read(datasets.graphs(str(path)))
        return files.read(path, progress)

    @classmethod
    def writer(cls, path: str | Path) -> Any:
        """Open a file of graphs for writing."""
        from . import files

        return files.Writer(path)

    @classmethod
    def metrics(
        cls,
        objects: Sequence[Any],
        reference: Sequence[Any] | None = None,
        train: Sequence[Any] | None = None,
        *,
        unreadable: int = 0,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Any:
        """Judge graphs (see `metrics.evaluate`)."""
        from .metrics import evaluate

        return evaluate(objects, reference, train, unreadable=unreadable, progress=progress)

    @classmethod
    def draw(cls, objects: Sequence[Any], path: str | Path) -> None:
        """Draw a grid of graphs."""
        from .draw import grid

        grid(objects, path)

    @classmethod
    def describe(cls, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """One row per graph: nodes, edges, connectedness, clustering."""
        from dataclasses import asdict

        from .metrics import evaluate

        return [asdict(row) for row in evaluate(objects).table]


class LabelledGraphs:
    """Encoded graphs as training data of a process.

    Args:
        graphs: The graphs.
        process: The process, which decides the form of the state.
        left_out: Number of graphs that are not among them, by reason.
    """

    def __init__(
        self,
        graphs: EncodedGraphs,
        process: Process,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        self.process = process
        self.left_out = dict(left_out or {})
        self.nodes = torch.from_numpy(graphs.nodes)
        self.edges = torch.from_numpy(graphs.edges)
        self.sizes = torch.from_numpy(graphs.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def batch(self, index: Tensor) -> State:
        """Return some graphs as a clean state, padded to the largest of them."""
        sizes = self.sizes[index].long()
        nodes = int(sizes.max())
        labels = self.nodes[index, :nodes].long()
        kinds = self.edges[index, : nodes * (nodes - 1) // 2].long()
        return self.process.show(labels, kinds, sizes)


def load_graphs(
    path: str | Path,
    max_nodes: int | None = None,
    node_attributes: Sequence[str] | None = None,
    edge_attributes: Sequence[str] | None = None,
) -> tuple[EncodedGraphs, dict[str, int]]:
    """Load encoded graphs, or encode graphs, finding the kinds of nodes and edges in them.

    Args:
        path: An encoded ``.safetensors`` file, a file of graphs, or the name of a set (``grid:train``).
        max_nodes: Larger graphs are left out.
        node_attributes: Attributes that make the kinds of nodes; None takes all.
        edge_attributes: Attributes that make the kinds of edges; None takes all.

    Returns:
        The graphs, and the number of those left out by reason.

    Raises:
        SciflowError: The file cannot be used, or no graph is left.
    """
    if str(path).endswith(".safetensors"):
        return EncodedGraphs.load(path), {}
    read = Graphs.read(path)
    if read.skipped:
        row, text, reason = read.skipped[0]
        raise expected(f"{path}: graph {row}", text, "a graph", reason)
    found = [graph for graph in read.objects if max_nodes is None or len(graph) <= max_nodes]
    if not found:
        raise expected(str(path), f"no graph of at most {max_nodes} nodes", "at least one")
    large = len(read.objects) - len(found)
    left_out = {f"more than {max_nodes} nodes": large} if large else {}
    return encode(found, None, None, node_attributes, edge_attributes), left_out


def _preset(choice: Any) -> Any:
    """The preset that a configuration names, or None."""
    from .presets import PRESETS

    name = choice.get("name", choice.get("path")) if isinstance(choice, Mapping) else choice
    return PRESETS.get(name) if isinstance(name, str) else None


def _network(choice: str | Mapping[str, Any] | None) -> dict[str, Any]:
    preset = _preset(choice)
    if preset is not None:
        return preset.network()
    if isinstance(choice, str):
        return {"name": choice}
    return dict(choice or {"name": "graph-transformer"})


def _process(choice: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    preset = _preset(choice)
    return choice if preset is None else preset.process()


__all__ = ["FEATURES", "NETWORKS", "Graphs", "LabelledGraphs", "load_graphs"]
