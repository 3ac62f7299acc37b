"""Crystals: species, fractional coordinates and a lattice, periodic in three directions."""

from .crystal import Crystal
from .structures import Crystals, encode

__all__ = ["Crystal", "Crystals", "encode"]
