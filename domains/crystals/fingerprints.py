r"""Fingerprints of crystals: of the structure by order parameters, of the composition by properties of the elements.

**Structure**, 61 numbers. CrystalNN gives every site a weight w_n for each coordination number n = 1 .. 24, and the
neighbours that go with it. A site is described by all w_n, and by w_n q for the order parameters q of the motifs of n
sites: those that pymatgen names (`CN_OPT_PARAMS`), a single bond for n = 1, and Steinhardt's q2, q4, q6 for
n = 9 .. 12. A crystal is the mean of its sites. These are the features that matminer calls ``CrystalNNFingerprint``
with the preset "ops", in another order.

**Composition**, 108 numbers. Minimum, maximum, range, mean, mean absolute deviation and mode (the value of the most
frequent element, of several the least) of 18 properties of the elements: atomic number, Mendeleev number, mass, melting
point, group, period, covalent radius, electronegativity, and numbers of s, p, d, f and all valence electrons and of the
places left in those shells. These are the features of Magpie but for four that are calculated (volume, band gap,
magnetic moment and space group of the ground state). They are standardised by what `SCALES` holds, means and deviations
over MP-20, and distances are multiplied by (132 / 108)^(1/2), so that thresholds for 132 features keep their meaning.

Reference: Zimmermann and Jain, RSC Adv. 10, 6063, 2020; Pan et al. (CrystalNN), Inorg. Chem. 60, 1590, 2021; Ward et
al. (Magpie), npj Comput. Mater. 2, 16028, 2016; their use: Xie et al. (CDVAE), arXiv:2110.06197, section 5.3.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import need

from . import elements, validity
from .crystal import Crystal
from .workers import spread

SCALES = Path(__file__).with_name("fingerprints.json")
"""Means and standard deviations of the composition features over MP-20."""
STRUCTURE, COMPOSITION = 61, 108
"""Number of features."""
_LARGEST = 24
_STEINHARDT = ("q2", "q4", "q6")
_CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}
Vector = NDArray[np.float64]


# -- structure -------------------------------------------------------------------------------------------------------


@cache
def _tools() -> tuple[Any, dict[int, list[Any]]]:
    """CrystalNN, and the order parameters by coordination number."""
    from pymatgen.analysis import local_env

    kinds: dict[int, list[tuple[str, Any]]] = {1: [("sgl_bd", None)]}
    for n, motifs in local_env.CN_OPT_PARAMS.items():
        found: list[tuple[str, Any]] = [
            (str(entry[0]), entry[1] if len(entry) > 1 else None) for entry in motifs.values()
        ]
        kinds[int(n)] = found
    for n in range(9, 13):
        kinds[n] = kinds.get(n, []) + [(name, None) for name in _STEINHARDT]
    made = {
        n: [local_env.LocalStructOrderParams([name], parameters=[p]) for name, p in listed]
        for n, listed in kinds.items()
    }
    return local_env.CrystalNN(), made


def structure(crystal: Crystal) -> Vector | None:
    """Return the fingerprint of a structure ``[61]``; None for what is no valid structure or defeats CrystalNN."""
    if validity.problem(crystal):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = crystal.to_structure()
            # Equivalent sites have one fingerprint: real crystals are full of them, and each costs .05 s.
            places, counts = np.unique(_equivalent(crystal), return_counts=True)
            rows = [_site(whole, int(place)) for place in places]
    except (
        Exception
    ):  # CrystalNN and its Voronoi cells fail in many ways on what no crystal looks like
        return None
    mean = np.average(rows, axis=0, weights=counts)
    return mean if np.isfinite(mean).all() else None


def _equivalent(crystal: Crystal) -> NDArray[np.int64]:
    """For each site the first one that a symmetry of the crystal carries it to."""
    cell = (crystal.lattice, crystal.wrapped, crystal.species.astype(int))
    found = need("spglib", "crystals").get_symmetry_dataset(cell, symprec=1e-4)
    return np.arange(len(crystal)) if found is None else np.asarray(found.equivalent_atoms)


def _site(whole: Any, place: int) -> list[float]:
    finder, kinds = _tools()
    found = finder.get_nn_data(whole, place)
    weights: list[float] = []
    parameters: list[float] = []
    for n in range(1, _LARGEST + 1):
        weight = float(found.cn_weights.get(n, 0.0))
        weights.append(weight)
        own = kinds.get(n, [])
        if weight == 0.0:
            parameters += [0.0] * len(own)
            continue
        sites = [whole[place], *(entry["site"] for entry in found.cn_nninfo[n])]
        for kind in own:
            values = kind.get_order_parameters(sites, 0, indices_neighs=list(range(1, len(sites))))
            parameters.append(weight * float(values[0] or 0.0))
    return weights + parameters


# -- composition -----------------------------------------------------------------------------------------------------


def composition(counts: Mapping[int, int]) -> Vector:
    """Return the features of a composition ``[108]``, not standardised.

    Args:
        counts: Number of atoms by atomic number.
    """
    kinds = sorted(counts)
    shares = np.array([counts[z] for z in kinds], float)
    shares /= shares.sum()
    values = _properties()[np.array(kinds) - 1]
    mean = shares @ values
    frequent = values[np.isclose(shares, shares.max())].min(0)
    low, high = values.min(0), values.max(0)
    return np.concatenate((low, high, high - low, mean, shares @ np.abs(values - mean), frequent))


def standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features of compositions ``[M, 108]`` in units in which distances are those of 132 features."""
    mean, deviation = _scales()
    return (rows - mean) / deviation * (132 / COMPOSITION) ** 0.5


def measure_scales(crystals: Sequence[Crystal], source: str) -> dict[str, Any]:
    """Return means and standard deviations over crystals, as `SCALES` holds them.

    Args:
        crystals: The crystals.
        source: What they are.
    """
    rows = np.array([composition(crystal.composition) for crystal in crystals])
    deviation = rows.std(0)
    deviation[deviation < 1e-9] = 1.0
    mean = [round(x, 6) for x in rows.mean(0).tolist()]
    spread_ = [round(x, 6) for x in deviation.tolist()]
    return {"source": source, "crystals": len(rows), "mean": mean, "std": spread_}


@cache
def _scales() -> tuple[Vector, Vector]:
    content = json.loads(SCALES.read_text(encoding="utf-8"))
    return np.array(content["mean"]), np.array(content["std"])


@cache
def _properties() -> NDArray[np.float64]:
    """Properties of the elements ``[118, 18]``; what nobody knows is the mean."""
    from ase.data import covalent_radii
    from pymatgen.core import Element

    rows = []
    for z, symbol in enumerate(elements.SYMBOLS, 1):
        element = Element(symbol)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            facts = [
                float(z),
                _number(element.mendeleev_no),
                float(elements.MASSES[z - 1]),
                _number(element.melting_point),
                float(element.group),
                float(element.row),
                float(covalent_radii[z]) * 100 if z < len(covalent_radii) else np.nan,
                float(elements.ELECTRONEGATIVITIES[z - 1]),
            ]
        valence = _valence(element)
        left = [
            float(_CAPACITY[kind] - n if 0 < n < _CAPACITY[kind] else 0)
            for kind, n in valence.items()
        ]
        rows.append([*facts, *valence.values(), sum(valence.values()), *left, sum(left)])
    table = np.array(rows, float)
    return np.where(np.isfinite(table), table, np.nanmean(table, 0))


def _valence(element: Any) -> dict[str, float]:
    """Electrons beyond the last noble gas by the kind of their shell; a noble gas has those of its period."""
    noble = [0, 2, 10, 18, 36, 54, 86, 118]
    core = max(n for n in noble if n < element.Z)
    left, counts = core, dict.fromkeys(_CAPACITY, 0.0)
    try:
        shells = element.full_electronic_structure
    except (KeyError, ValueError):  # the heaviest elements
        return dict.fromkeys(_CAPACITY, float("nan"))
    for _, kind, n in shells:
        taken = min(left, n)
        left -= taken
        counts[kind] += n - taken
    return counts


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


# -- many ------------------------------------------------------------------------------------------------------------


def structures(crystals: Sequence[Crystal], workers: int | None = None) -> list[Vector | None]:
    """Return `structure` of many crystals, spread over processes.

    Args:
        crystals: The crystals.
        workers: Processes; None is the number of processors at hand.
    """
    return list(spread(structure, crystals, workers))


def compositions(crystals: Sequence[Crystal]) -> NDArray[np.float64]:
    """Return the standardised features of the compositions of crystals ``[M, 108]``."""
    if not len(crystals):
        return np.zeros((0, COMPOSITION))
    return standardised(np.array([composition(crystal.composition) for crystal in crystals]))


__all__ = [
    "COMPOSITION",
    "SCALES",
    "STRUCTURE",
    "composition",
    "compositions",
    "measure_scales",
    "standardised",
    "structure",
    "structures",
]
