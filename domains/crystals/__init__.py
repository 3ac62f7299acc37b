"""Crystals: species, fractional coordinates and a lattice, periodic in three directions."""

from pathlib import Path

from .adapter import Crystals as Adapter
from .crystal import Crystal
from .prediction import predict
from .process import Process
from .relaxation import relax
from .structures import Crystals, encode
from .training import CrystalDataset

ADAPTER = Adapter
CARDS = Path(__file__).parent / "models"

__all__ = [
    "ADAPTER",
    "CARDS",
    "Adapter",
    "Crystal",
    "CrystalDataset",
    "Crystals",
    "Process",
    "encode",
    "predict",
    "relax",
]
