"""Crystals: species, fractional coordinates and a lattice, periodic in three directions."""

from typing import Any

from sciflow.errors import SciflowError

from .crystal import Crystal
from .structures import Crystals, encode

__all__ = ["Crystal", "Crystals", "encode"]


def __getattr__(name: str) -> Any:
    if name == "ADAPTER":
        raise SciflowError(
            "domain crystals: no models yet, expected structures, files and metrics only"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
