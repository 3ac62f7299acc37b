"""Pickled lists of networkx graphs, as GDSS releases its data sets: read without running code.

A pickle may call any function it names. Here the few names of such files stand for empty shells that keep what they are
given, and every other name is refused; the graphs are read off the shells. Attributes are left out.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import networkx as nx

from sciflow.errors import SciflowError, expected

MOST_BYTES = 1 << 28
"""Larger files are refused."""


class _Shell:
    """Keeps whatever a pickle says of an object."""

    state: dict[str, Any]

    def __new__(cls, *given: Any) -> _Shell:
        shell = object.__new__(cls)  # pickles make objects without __init__
        shell.state = {"given": given}
        return shell

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update(part)


def _scalar(kind: Any, data: Any = b"") -> Any:
    """A number of numpy's, where it is a whole one: nodes may be called so."""
    whole = isinstance(kind, _Shell) and str(kind.state["given"][:1]).startswith("('i")
    return (
        int.from_bytes(data, "little", signed=True) if whole and isinstance(data, bytes) else None
    )


_MODULES = ("networkx.classes.", "numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = {("numpy", "dtype"), ("numpy", "ndarray")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "dict"):
            return dict
        if not module.startswith(_MODULES) and (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _scalar if name == "scalar" else _Shell


def read(path: str | Path) -> list[nx.Graph]:
    """Read a pickled list of networkx graphs.

    Args:
        path: The ``.pkl`` file.

    Returns:
        The graphs, without attributes, nodes 0, 1, ... in the order of the file.

    Raises:
        SciflowError: The file is missing, damaged, too large, or holds something else.
    """
    path = Path(path)
    wanted = "a pickled list of networkx graphs, as GDSS releases them"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise expected(str(path), f"{path.stat().st_size} bytes", f"at most {MOST_BYTES}")
        with open(path, "rb") as file:
            found = _Unpickler(file).load()
        if not isinstance(found, list) or not found:
            raise TypeError("no list")
        return [_graph(shell) for shell in found]
    except SciflowError:
        raise
    except Exception as error:  # a damaged pickle raises what it likes
        raise expected(str(path), str(error) or type(error).__name__, wanted) from None


def _graph(shell: Any) -> nx.Graph:
    nodes, near = _opened(shell.state["_node"]), _opened(shell.state["_adj"])
    place = {node: k for k, node in enumerate(nodes)}
    graph = nx.empty_graph(len(place))
    for node in nodes:
        graph.add_edges_from(
            (place[node], place[k]) for k in near[node] if k in place and k != node
        )
    return graph


def _opened(view: Any) -> dict[Any, Any]:
    """What a dictionary, or a view of some keys of one, holds."""
    if isinstance(view, dict):
        return view
    whole, shown = _opened(view.state["_atlas"]), view.state["NODE_OK"].state["nodes"]
    return {key: whole[key] for key in whole if key in shown}


__all__ = ["read"]
