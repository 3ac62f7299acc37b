"""Isomorphism classes: which graphs of some sets are the same up to the names of their nodes.

Colours are refined from node to node (Weisfeiler and Leman) until they split no further; graphs whose colours agree are
compared exactly (VF2++).

Reference: Weisfeiler, Leman 1968; Juttner, Madarasi, VF2++, Discrete Applied Mathematics 2018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from typing import Any

import networkx as nx


class Classes:
    """Numbers the isomorphism classes of the graphs it is shown.

    Args:
        node_keys: Attributes of nodes that must agree; others are not looked at.
        edge_keys: Attributes of edges that must agree.
    """

    def __init__(self, node_keys: Collection[str] = (), edge_keys: Collection[str] = ()) -> None:
        self.node_keys, self.edge_keys = tuple(sorted(node_keys)), tuple(sorted(edge_keys))
        self._colours: dict[Hashable, int] = {}
        self._known: dict[Hashable, list[tuple[nx.Graph, int]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, graph: nx.Graph) -> int:
        """Return the number of the graph's class; a new class gets the next number."""
        coloured = self._coloured(graph)
        counts = Counter(colour for _, colour in coloured.nodes(data="colour"))
        key = (coloured.number_of_edges(), tuple(sorted(counts.items())))
        for other, number in self._known.setdefault(key, []):
            if self._same(coloured, other):
                return number
        self._known[key].append((coloured, self._count))
        self._count += 1
        return self._count - 1

    def _coloured(self, graph: nx.Graph) -> nx.Graph:
        result = nx.Graph()
        for node, data in graph.nodes(data=True):
            result.add_node(node, colour=self._number(self._values(data, self.node_keys)))
        for one, other, data in graph.edges(data=True):
            if one != other:
                kind = self._number(("edge", self._values(data, self.edge_keys)))
                result.add_edge(one, other, kind=kind)
        colours = dict(result.nodes(data="colour"))
        parts = 0
        while len(set(colours.values())) > parts:
            parts = len(set(colours.values()))
            colours = {
                node: self._number(
                    (colours[node], *sorted((colours[k], d["kind"]) for k, d in near.items()))
                )
                for node, near in result.adjacency()
            }
        nx.set_node_attributes(result, colours, "colour")
        return result

    def _number(self, signature: Hashable) -> int:
        return self._colours.setdefault(signature, len(self._colours))

    @staticmethod
    def _values(data: dict[str, Any], keys: tuple[str, ...]) -> Hashable:
        return tuple(str(data.get(key)) for key in keys)

    def _same(self, a: nx.Graph, b: nx.Graph) -> bool:
        if not self.edge_keys:
            return nx.vf2pp_is_isomorphic(a, b, node_label="colour")
        return nx.is_isomorphic(
            a,
            b,
            node_match=lambda x, y: x["colour"] == y["colour"],
            edge_match=lambda x, y: x["kind"] == y["kind"],
        )


__all__ = ["Classes"]
