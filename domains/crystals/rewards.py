"""Rewards of crystals by name, for steering: from a valid structure to a number, higher is better.

    sciflow generate crystals --formula SrTiO3 --reward cubic -n 20 -o cubic.cif

A crystal system counts at how many of `TOLERANCES` a crystal has it, so that one on its way to the symmetry is better
than one that is not; where a space group or a property is wanted, a function of one's own (``FILE.py:FUNCTION``) says
so with `of_space_group` or `property.Regressor.predict`. ``low-heat`` is a learned property of the Perov-5 data, its
sign turned, and is there where its weights are (`ENERGY`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import symmetry
from .crystal import Crystal

if TYPE_CHECKING:
    from .property import Regressor

TOLERANCES = (0.4, 0.2, 0.1, 0.05, 0.02)
"""Tolerances in angstrom at which a symmetry is looked for."""
ENERGY = Path(__file__).parent / "models" / "perov5" / "heat_ref.safetensors"
"""The shipped heat of formation of Perov-5."""


def named() -> dict[str, Callable[[Crystal], float]]:
    """Return the rewards by name."""
    found: dict[str, Callable[[Crystal], float]] = {
        "dense": lambda crystal: crystal.density,
        "light": lambda crystal: -crystal.density,
        **{system: partial(of_system, system) for system in symmetry.SYSTEMS},
    }
    if ENERGY.is_file():
        found["low-heat"] = _low_heat
    return found


def of_system(system: str, crystal: Crystal) -> float:
    """Return the share of `TOLERANCES` at which a crystal belongs to a crystal system."""
    groups = [symmetry.space_group(crystal, tolerance) for tolerance in TOLERANCES]
    hits = [group is not None and symmetry.system(group[1]) == system for group in groups]
    return sum(hits) / len(hits)


def of_space_group(number: int, crystal: Crystal) -> float:
    """Return the share of `TOLERANCES` at which a crystal has a space group, by its number."""
    groups = [symmetry.space_group(crystal, tolerance) for tolerance in TOLERANCES]
    return sum(group is not None and group[1] == number for group in groups) / len(groups)


def _low_heat(crystal: Crystal) -> float:
    return -float(_regressor().predict([crystal])[0])


@cache
def _regressor() -> Regressor:
    from . import property as properties  # with e3nn, which takes seconds to import

    return properties.load(ENERGY)


__all__ = ["ENERGY", "TOLERANCES", "named", "of_space_group", "of_system"]
