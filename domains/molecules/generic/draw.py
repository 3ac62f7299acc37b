"""Pictures of graphs: a grid of small drawings, nodes laid out by springs, coloured by their kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx

from sciflow.errors import expected

_SPRINGS = 200
"""Up to this many nodes springs are tried out; beyond, the spectrum lays them out."""
_COLOURS = ("#2f6f9f", "#c0392b", "#3d8b5f", "#b8860b", "#7b4f9e", "#7a828e", "#d2691e", "#2b2f36")
_MOST = 100


def grid(graphs: Sequence[Any], path: str | Path, columns: int | None = None) -> int:
    """Draw graphs to a picture file.

    Args:
        graphs: Graphs; at most 100 are drawn.
        path: ``.svg`` or ``.png``.
        columns: Graphs beside each other; None makes the picture square.

    Returns:
        Number of graphs drawn.

    Raises:
        SciflowError: There is nothing to draw, or the suffix is another.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in (".svg", ".png"):
        raise expected(f"{path}: picture", path.suffix, ".svg or .png")
    shown = [graph for graph in graphs if len(graph)][:_MOST]
    if not shown:
        raise expected("graphs", "none", "at least one with a node")
    columns = min(columns or math.ceil(math.sqrt(len(shown))), len(shown))
    rows = -(-len(shown) // columns)
    kinds: dict[str, int] = {}
    figure = Figure(figsize=(1.6 * columns, 1.6 * rows))
    FigureCanvasAgg(figure)
    for k, graph in enumerate(shown):
        axes = figure.add_axes(
            (k % columns / columns, 1 - (k // columns + 1) / rows, 1 / columns, 1 / rows)
        )
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.margins(0.12)
        place = _layout(graph)
        lines = [(place[a], place[b]) for a, b in graph.edges]
        axes.add_collection(LineCollection(lines, colors="#c3cad3", linewidths=0.8, zorder=1))
        colours = [
            _COLOURS[kinds.setdefault(str(sorted(d.items())), len(kinds)) % len(_COLOURS)]
            for _, d in graph.nodes(data=True)
        ]
        points = list(zip(*(place[node] for node in graph), strict=True))
        size = max(2.0, min(18.0, 360 / len(graph)))
        axes.scatter(*points, s=size, c=colours, linewidths=0, zorder=2)
    figure.savefig(path, dpi=150)
    return len(shown)


def _layout(graph: nx.Graph) -> dict[Any, tuple[float, float]]:
    if len(graph) == 1:
        return {next(iter(graph)): (0.0, 0.0)}
    if len(graph) > _SPRINGS:
        found = nx.spectral_layout(graph, weight=None)
    else:
        # Springs alone fold a graph over; a start from its distances unfolds it.
        start = (
            nx.kamada_kawai_layout(graph, weight=None)
            if 2 < len(graph) <= 40 and nx.is_connected(graph)
            else None
        )
        found = nx.spring_layout(graph, pos=start, seed=0, iterations=30, weight=None)
    return {node: (float(x), float(y)) for node, (x, y) in found.items()}
