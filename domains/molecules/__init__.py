"""Molecules: graphs of atoms and bonds.

Kekulised bonds 0 to 3, hydrogens implicit, atom types with formal charges found in the data.
"""

from pathlib import Path

from .adapter import GraphDataset, Molecules
from .graphs import MolecularGraphs, encode, to_mol, to_mols
from .process import Process
from .vocabulary import Vocabulary

ADAPTER = Molecules
CARDS = Path(__file__).parent / "models"

__all__ = [
    "ADAPTER",
    "CARDS",
    "GraphDataset",
    "MolecularGraphs",
    "Molecules",
    "Process",
    "Vocabulary",
    "encode",
    "to_mol",
    "to_mols",
]
