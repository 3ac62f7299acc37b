"""The metrics of generated graphs: per graph and in total, each beside the data's own figure and its noise floor.

n graphs were generated (rows of a file that could not be read count among them and fail everything). Of the graphs **as
generated**, nothing repaired:

    figure               value                                                taken over
    connected            the graph is one piece                               n
    unique               no earlier graph is isomorphic to it                 n
    copies               isomorphic to a graph of the training set            n
    valid                keeps the rule of the reference (see `rules`)        n
    valid_unique_novel   keeps it, is unique and no copy                      n
    degree, clustering, orbit, spectral
                         squared MMD to the reference (see `distances`)       draws as large as the reference
    average              mean of degree, clustering and orbit                 the same
    nodes, edges         mean number per graph                                graphs

A distance depends on the number of graphs, and published ones are of one draw as large as the test set. So the
generated graphs are cut into draws of that size in the order they were made, and the value is the mean over the draws,
its spread (lowest and highest draw) beside it; one smaller draw is taken where there are fewer graphs. ``floor`` is the
same figure for draws of training graphs at random in the place of the generated ones, and ``copies`` has the share of
the reference itself that is isomorphic to training graphs: on small data both say how much of a good figure is memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import torch

from sciflow.errors import need

from . import rules
from .arrays import check
from .distances import NAMES, Statistics, distances
from .isomorphism import Classes

if TYPE_CHECKING:
    import pandas

Progress = Callable[[str, int, int], object]

DISTANCES = (*NAMES, "average")
FLOORS = 20
"""Most draws of training graphs for a floor."""
LABELS = {
    "connected": ("connected", "share", "higher"),
    "unique": ("unique", "share", "higher"),
    "copies": ("copies of training graphs", "share", ""),
    "valid": ("valid", "share", "higher"),
    "valid_unique_novel": ("valid, unique and novel", "share", "higher"),
    "degree": ("degree MMD", "distance", "lower"),
    "clustering": ("clustering MMD", "distance", "lower"),
    "orbit": ("orbit MMD", "distance", "lower"),
    "spectral": ("spectral MMD", "distance", "lower"),
    "average": ("mean of degree, clustering, orbit", "distance", "lower"),
    "nodes": ("nodes per graph", "mean", ""),
    "edges": ("edges per graph", "mean", ""),
}
"""Name of a figure to its label, kind and better direction, in the order of reports."""


@dataclass(frozen=True)
class Row:
    """The metrics of one graph.

    Attributes:
        nodes: Number of nodes.
        edges: Number of edges.
        connected: The graph is one piece.
        unique: No earlier graph is isomorphic to it.
        copy: It is isomorphic to a training graph; None without a training set.
        valid: It keeps the rule of the reference; None where there is none.
        clustering: Mean clustering coefficient.
        triangles: Number of triangles.
        lone: Number of nodes without an edge.
    """

    nodes: int
    edges: int
    connected: bool
    unique: bool
    copy: bool | None
    valid: bool | None
    clustering: float
    triangles: int
    lone: int


@dataclass(frozen=True)
class Figure:
    """One figure of the whole set.

    Attributes:
        value: The figure; None where it cannot be taken, see `note`.
        over: Number of graphs it was taken over.
        reference: The same figure of the reference itself.
        floor: For a distance: its value for training graphs in the place of the generated ones.
        note: Why there is no value, or how it was taken.
        spread: For a distance: the lowest and the highest draw.
        draws: For a distance: number of draws.
        floor_spread: Lowest and highest draw of the floor.
    """

    value: float | None
    over: int
    reference: float | None = None
    floor: float | None = None
    note: str = ""
    spread: tuple[float, float] | None = None
    draws: int | None = None
    floor_spread: tuple[float, float] | None = None


@dataclass(frozen=True)
class Metrics:
    """All metrics of a set of generated graphs.

    Attributes:
        table: One row per graph.
        figures: The totals by name.
        histograms: Name to ``unit``, ``bins``, ``generated``, ``reference``.
        generated: Number of graphs, unreadable ones included.
        unreadable: Number of rows that were no graph.
        reference: Number of graphs in the reference; None without one.
        train: Number of graphs in the training set; None without one.
        rule: Rule by which a graph is valid; None where the reference keeps none.
    """

    table: list[Row]
    figures: dict[str, Figure]
    histograms: dict[str, dict[str, Any]]
    generated: int
    unreadable: int
    reference: int | None
    train: int | None
    rule: str | None

    def __getitem__(self, name: str) -> float | None:
        return self.figures[name].value

    def summary(self) -> dict[str, Any]:
        """Return the totals as plain dictionaries, lists and numbers, ready for JSON."""
        figures = {}
        for name, figure in self.figures.items():
            label, kind, better = LABELS[name]
            figures[name] = {"label": label, "kind": kind, "better": better, **asdict(figure)}
        return {
            "generated": self.generated,
            "unreadable": self.unreadable,
            "reference": self.reference,
            "train": self.train,
            "rule": self.rule,
            "figures": figures,
            "histograms": self.histograms,
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame."""
        return need("pandas", "graphs").DataFrame([asdict(row) for row in self.table])

    def to_text(self) -> str:
        """Return the totals as an aligned table for a terminal."""
        from .report import lines

        return "\n".join(lines(self))


def evaluate(
    graphs: Sequence[Any],
    reference: Sequence[Any] | None = None,
    train: Sequence[Any] | None = None,
    *,
    unreadable: int = 0,
    rule: str | None = None,
    progress: Progress | None = None,
) -> Metrics:
    """Measure generated graphs.

    Args:
        graphs: Graphs, exactly as generated.
        reference: Graphs to compare with (the held-out set); no distances without.
        train: Graphs of the training set, for copies and floors.
        unreadable: Generated rows that are no graph at all; they count as failures.
        rule: Rule by which a graph is valid (see `rules`); None takes the strictest that the reference keeps.
        progress: Told about the stages.

    Raises:
        SciflowError: The rule is unknown.
    """
    tell = progress or (lambda stage, done, total: None)
    made, known, learnt = _simple(graphs), _simple(reference or ()), _simple(train or ())
    rule = rule or rules.of(known)
    holds = None if rule is None else rules.get(rule)
    classes = Classes(*_shared_keys([made, known, learnt]))
    old = {classes.find(graph) for graph in learnt}
    seen: set[int] = set()
    table = []
    for k, graph in enumerate(made, 1):
        number = classes.find(graph)
        copy = number in old if learnt else None
        table.append(_row(graph, number not in seen, copy, holds(graph) if holds else None))
        seen.add(number)
        if k % 20 == 0 or k == len(made):
            tell("graphs", k, len(made))
    n = len(made) + unreadable
    figures = _shares(table, n, known, [classes.find(g) in old for g in known], bool(learnt))
    if holds is not None:
        figures["valid"] = _share(
            [bool(r.valid) for r in table], n, f"rule: {rule}", map(holds, known)
        )
        if learnt:
            kept = [bool(r.valid and r.unique and not r.copy) for r in table]
            figures["valid_unique_novel"] = _share(kept, n, f"rule: {rule}")
    figures |= _distances(made, known, learnt, tell)
    for name in ("nodes", "edges"):
        values = [getattr(row, name) for row in table]
        own = [len(g) if name == "nodes" else g.number_of_edges() for g in known]
        figures[name] = Figure(_mean(values), len(values), _mean(own))
    return Metrics(
        table,
        {name: figures[name] for name in LABELS},
        {"degree": _degrees(made, known), "size": _sizes(made, known)},
        n,
        unreadable,
        len(known) if reference is not None else None,
        len(learnt) if train is not None else None,
        rule,
    )


def _simple(graphs: Sequence[Any]) -> list[nx.Graph]:
    # A generated graph may be empty: an isolated failure, not an error.
    return [
        nx.Graph()
        if isinstance(graph, nx.Graph) and not len(graph)
        else check(graph, f"graph {k}")
        for k, graph in enumerate(graphs)
    ]


def _shared_keys(sets: Sequence[Sequence[nx.Graph]]) -> tuple[set[str], set[str]]:
    """Attributes that all sets of graphs have: what one lacks cannot be compared."""
    nodes, edges = [], []
    for graphs in sets:
        if graphs:
            nodes.append({key for g in graphs for _, data in g.nodes(data=True) for key in data})
            edges.append({key for g in graphs for *_, data in g.edges(data=True) for key in data})
    return (
        set.intersection(*nodes) if nodes else set(),
        set.intersection(*edges) if edges else set(),
    )


def _row(graph: nx.Graph, unique: bool, copy: bool | None, valid: bool | None) -> Row:
    return Row(
        nodes=len(graph),
        edges=graph.number_of_edges(),
        connected=len(graph) > 0 and nx.is_connected(graph),
        unique=unique,
        copy=copy,
        valid=valid,
        clustering=nx.average_clustering(graph) if len(graph) else 0.0,
        triangles=sum(nx.triangles(graph).values()) // 3,
        lone=nx.number_of_isolates(graph),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(found: Sequence[bool], n: int, note: str = "", reference: Any = ()) -> Figure:
    own = list(reference)
    value = sum(found) / n if n else None
    return Figure(value, n, _mean(own), note=note if n else "nothing was generated")


def _shares(
    table: list[Row], n: int, known: list[nx.Graph], memory: list[bool], trained: bool
) -> dict[str, Figure]:
    no_rule = "the reference keeps no rule known here" if known else "no reference was given"
    missing = Figure(None, n, note="no training set was given")
    return {
        "connected": _share(
            [row.connected for row in table], n, "", (nx.is_connected(g) for g in known)
        ),
        "unique": _share([row.unique for row in table], n, "", _firsts(known)),
        "copies": _share([bool(row.copy) for row in table], n, "", memory) if trained else missing,
        "valid": Figure(None, n, note=no_rule),
        "valid_unique_novel": missing if known and not trained else Figure(None, n, note=no_rule),
    }


def _firsts(graphs: list[nx.Graph]) -> list[bool]:
    """For each graph, whether no earlier one is isomorphic to it."""
    classes = Classes(*_shared_keys([graphs]))
    numbers = [classes.find(graph) for graph in graphs]
    return [numbers.index(number) == k for k, number in enumerate(numbers)]


def _distances(
    made: list[nx.Graph], known: list[nx.Graph], learnt: list[nx.Graph], tell: Progress
) -> dict[str, Figure]:
    """The distances over draws of the size of the reference, and of training graphs in their place."""
    if not known or not made:
        note = "no reference was given" if made else "nothing was generated"
        return dict.fromkeys(DISTANCES, Figure(None, 0, note=note))
    target, found = Statistics.of(known), Statistics.of(made)
    size = min(len(known), len(made))
    starts = range(0, len(made) - size + 1, size)
    draws = []
    for k, start in enumerate(starts, 1):
        draws.append(distances(found.select(slice(start, start + size)), target))
        tell("distances", k, len(starts))
    floors = []
    if learnt:
        real, generator = Statistics.of(learnt), torch.Generator().manual_seed(0)
        for _ in range(FLOORS):
            index = torch.randperm(len(learnt), generator=generator)[:size]
            floors.append(distances(real.select(index), target))
    note = f"{len(draws)} draw{'s' * (len(draws) > 1)} of {size} graphs"
    if floors:
        note += f"; floor: {FLOORS} draws of {min(size, len(learnt))} training graphs"
    figures = {}
    for name in DISTANCES:
        values, low = [draw[name] for draw in draws], [draw[name] for draw in floors]
        figures[name] = Figure(
            _mean(values),
            size * len(draws),
            floor=_mean(low),
            note=note,
            spread=(min(values), max(values)),
            draws=len(values),
            floor_spread=(min(low), max(low)) if low else None,
        )
    return figures


def _degrees(made: list[nx.Graph], known: list[nx.Graph]) -> dict[str, Any]:
    def counts(graphs: list[nx.Graph]) -> torch.Tensor:
        found = [degree for graph in graphs for _, degree in graph.degree]
        return torch.bincount(torch.tensor(found, dtype=torch.long).clamp(max=15), minlength=16)

    generated, reference = counts(made), counts(known)
    most = int(max((int(x) for x in (generated + reference).nonzero()), default=0)) + 1
    bins = [str(k) if k < 15 else "15+" for k in range(most)]
    return {
        "unit": "share of nodes by degree",
        "bins": bins,
        "generated": _normal(generated[:most]),
        "reference": _normal(reference[:most]) if known else None,
    }


def _sizes(made: list[nx.Graph], known: list[nx.Graph]) -> dict[str, Any]:
    sizes = sorted({len(graph) for graph in [*made, *known]})
    step = max(1, -(-(sizes[-1] - sizes[0] + 1) // 20)) if sizes else 1
    edges = list(range(sizes[0], sizes[-1] + 1, step)) if sizes else []

    def shares(graphs: list[nx.Graph]) -> list[float]:
        place = torch.tensor([(len(g) - edges[0]) // step for g in graphs], dtype=torch.long)
        return _normal(torch.bincount(place, minlength=len(edges)))

    return {
        "unit": "share of graphs by number of nodes",
        "bins": [str(e) if step == 1 else f"{e}-{e + step - 1}" for e in edges],
        "generated": shares(made),
        "reference": shares(known) if known else None,
    }


def _normal(counts: torch.Tensor) -> list[float]:
    return (counts.double() / counts.sum().clamp_min(1)).tolist()


__all__ = ["DISTANCES", "LABELS", "Figure", "Metrics", "Row", "evaluate"]
