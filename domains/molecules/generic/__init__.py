"""Generic graphs: nodes and edges of any kinds, by the processes and networks of molecular graphs."""

from pathlib import Path

from .adapter import Graphs, LabelledGraphs
from .arrays import EncodedGraphs, decode, encode
from .labels import Labels

ADAPTER = Graphs
CARDS = Path(__file__).parent / "models"

__all__ = [
    "ADAPTER",
    "CARDS",
    "EncodedGraphs",
    "Graphs",
    "LabelledGraphs",
    "Labels",
    "decode",
    "encode",
]
