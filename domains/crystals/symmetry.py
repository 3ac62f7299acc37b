"""Space groups and crystal systems.

Reference: Togo, Shinohara, Tanaka, Spglib: a software library for crystal symmetry search, Sci. Technol. Adv. Mater.,
Meth. 4, 2384822, 2024.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from typing import Any

from sciflow.errors import expected, need

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
    found = _dataset(crystal, tolerance)
    return None if found is None else (str(found.international), int(found.number))


def operations(crystal: Crystal, tolerance: float = TOLERANCE) -> int:
    """Return the number of symmetry operations that map the cell to itself, translations within it among them.

    Args:
        crystal: A valid structure.
        tolerance: In angstrom.
    """
    found = _dataset(crystal, tolerance)
    return 0 if found is None else len(found.rotations)


def _dataset(crystal: Crystal, tolerance: float) -> Any:
    spglib = need("spglib", "crystals")
    cell = (crystal.lattice, crystal.wrapped, crystal.species.astype(int))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return spglib.get_symmetry_dataset(cell, symprec=tolerance)
    except Exception:  # what it raises for hopeless cells differs between versions
        return None


def number(wish: Any) -> int:
    """Return the number of a space group.

    Args:
        wish: The number, or a symbol such as ``Fm-3m``.

    Raises:
        SciflowError: There is no such group.
    """
    if isinstance(wish, str) and not wish.strip().isdecimal():
        need("pymatgen", "crystals")
        from pymatgen.symmetry.groups import SpaceGroup

        try:
            return int(SpaceGroup(wish).int_number)
        except ValueError:
            raise expected(
                "spacegroup", wish, "a number from 1 to 230, or a symbol such as Fm-3m"
            ) from None
    found = int(wish) if isinstance(wish, int | str) and not isinstance(wish, bool) else 0
    if not 1 <= found <= 230:
        raise expected("spacegroup", wish, "a number from 1 to 230, or a symbol such as Fm-3m")
    return found


def system(number: int) -> str:
    """Return the crystal system of a space group by its number."""
    return SYSTEMS[bisect_right(_FIRST, number) - 1]
