"""The metrics of generated crystals, by hand; duplicates and distances against their oracles."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, distances, duplicates, symmetry
from sciflow.domains.crystals.metrics import evaluate

SITES = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
SRTIO3 = Crystal.from_parameters(["Sr", "Ti", "O", "O", "O"], SITES, [3.905] * 3)
SWAPPED = Crystal.from_parameters(["Ti", "Sr", "O", "O", "O"], SITES, [3.905] * 3)
NACL = Crystal.from_parameters(["Na", "Cl"], [[0, 0, 0], [0.5] * 3], [3.99] * 3, [60] * 3)
DIAMOND = Crystal.from_parameters(["C", "C"], [[0, 0, 0], [0.25] * 3], [2.527] * 3, [60] * 3)
CLASH = Crystal(NACL.species, [[0, 0, 0], [0.01, 0, 0]], NACL.lattice)
UNBALANCED = Crystal([2, 8], NACL.coordinates, NACL.lattice)


def moved(crystal: Crystal, seed: int) -> Crystal:
    """The same crystal with its sites in another order and all of them shifted, a little noise on top."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(crystal))
    places = crystal.coordinates + rng.random(3) + 0.01 * rng.normal(size=(len(crystal), 3))
    return Crystal(crystal.species[order], places[order], crystal.lattice * 1.02)


def test_the_totals_by_hand() -> None:
    made = [SRTIO3, moved(SRTIO3, 1), SWAPPED, NACL, CLASH, UNBALANCED]
    found = evaluate(
        made, reference=[moved(SRTIO3, 2), DIAMOND], train=[moved(NACL, 3)], unreadable=2
    )
    assert found.generated == 8
    assert (
        found["structure"] == 5 / 8 and found["composition"] == 5 / 8 and found["valid"] == 4 / 8
    )
    assert [row.unique for row in found.table] == [True, False, True, True, False, False]
    assert found["unique"] == 3 / 4
    assert [row.novel for row in found.table] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ] or not found.table[1].unique
    assert found["novel"] == 2 / 3 and found["valid_unique_novel"] == 2 / 8
    assert found["rediscovered"] == 1 / 2
    assert [row.problem for row in found.table[4:]] == [
        "atoms too close",
        "charges do not balance",
    ]
    assert found.table[0].space_group == "Pm-3m" and found.table[0].system == "cubic"
    assert found.figures["valid"].reference == 1
    assert found.figures["density"].floor is not None
    json.dumps(found.summary(), allow_nan=False)
    assert "valid, unique and novel" in found.to_text()


def test_reference_against_itself_is_at_no_distance() -> None:
    found = evaluate([SRTIO3, NACL, DIAMOND], reference=[NACL, DIAMOND, SRTIO3])
    assert found["density"] == 0 and found["elements"] == 0 and found["rediscovered"] == 1
    assert all(h.distance == 0 for h in found.histograms)
    assert found["novel"] is None


def test_nothing_and_nonsense_can_be_measured() -> None:
    broken = Crystal([99, 0], [[np.nan] * 3] * 2, np.eye(3))
    found = evaluate([broken], reference=[NACL])
    assert found["valid"] == 0 and found["unique"] is None and found["density"] is None
    assert evaluate([])["valid"] is None
    json.dumps(evaluate([], reference=[NACL], train=[NACL]).summary(), allow_nan=False)


def test_duplicates_are_found_in_any_cell() -> None:
    double = NACL.to_structure()
    double.make_supercell([2, 1, 1])
    assert duplicates.unique([NACL, Crystal.of(double), DIAMOND, moved(DIAMOND, 0)]) == [
        True,
        False,
        True,
        False,
    ]
    assert duplicates.known([SRTIO3, SWAPPED], [moved(SRTIO3, 4), NACL]) == [True, False]


def test_wasserstein_by_hand() -> None:
    assert distances.wasserstein([0, 1], [3, 0, 0]) == pytest.approx(1 / 6 + 2 * (1 / 3))
    a = np.random.default_rng(0).normal(size=37)
    assert distances.wasserstein(a, a + 2.5) == pytest.approx(2.5)
    assert distances.wasserstein(a, np.repeat(a, 3)) == pytest.approx(0)


def test_crystal_systems_by_their_first_and_last_groups() -> None:
    ends = {
        1: "triclinic",
        2: "triclinic",
        3: "monoclinic",
        15: "monoclinic",
        74: "orthorhombic",
        142: "tetragonal",
    }
    ends |= {
        143: "trigonal",
        167: "trigonal",
        168: "hexagonal",
        194: "hexagonal",
        195: "cubic",
        230: "cubic",
    }
    assert {number: symmetry.system(number) for number in ends} == ends
    assert symmetry.space_group(DIAMOND) == ("Fd-3m", 227)
