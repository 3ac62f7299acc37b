"""Space groups and crystal systems.

Reference: Togo, Shinohara, Tanaka, Spglib: a software library for crystal symmetry search, Sci. Technol. Adv. Mater.,
Meth. 4, 2384822, 2024.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right

from sciflow.errors import need

from .crystal import Crystal

SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
"""The crystal systems."""
_FIRST = (1, 3, 16, 75, 143, 168, 195)  # number of the first space group of each system
TOLERANCE = 0.1
"""How far an atom may lie from its ideal place, in angstrom: what is usual for generated and relaxed crystals."""


def space_group(crystal: Crystal, tolerance: float = TOLERANCE) -> tuple[str, int] | None:
    """Return the symbol and the number of the space group; `None` where none is found.

    Args:
        crystal: A valid structure.
        tolerance: In angstrom.
    """
    spglib = need("spglib", "crystals")
    cell = (crystal.lattice, crystal.wrapped, crystal.species.astype(int))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = spglib.get_symmetry_dataset(cell, symprec=tolerance)
    except Exception:  # what it raises for hopeless cells differs between versions
        return None
    return None if found is None else (str(found.international), int(found.number))


def system(number: int) -> str:
    """Return the crystal system of a space group by its number."""
    return SYSTEMS[bisect_right(_FIRST, number) - 1]
