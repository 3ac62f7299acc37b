"""Validity of structures and compositions."""

from __future__ import annotations

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, elements, oxidation, validity

NACL = Crystal.from_parameters(["Na", "Cl"], [[0, 0, 0], [0.5] * 3], [3.99] * 3, [60] * 3)


def test_shortest_distance_is_that_of_pymatgen_also_in_flat_and_skewed_cells() -> None:
    rng = np.random.default_rng(0)
    for k in range(16):
        matrix = rng.normal(size=(3, 3)) * [[4], [4], [0.5 if k % 2 else 4]]
        if abs(np.linalg.det(matrix)) < 0.5:
            continue
        crystal = Crystal([6, 7, 8, 9], rng.random((4, 3)) * 3, matrix)
        table = crystal.to_structure().distance_matrix
        theirs = table[~np.eye(4, dtype=bool)].min()
        assert validity.shortest_distance(crystal) == pytest.approx(theirs, abs=1e-9)


def test_structures() -> None:
    assert validity.structure(NACL)
    touching = Crystal(NACL.species, [[0, 0, 0], [0, 0, 0.999]], NACL.lattice)
    assert validity.problem(touching) == "atoms too close"
    assert validity.problem(NACL.scaled(0.05)) == "volume too small"
    assert validity.problem(Crystal([0, 17], NACL.coordinates, NACL.lattice)) == "unknown element"
    assert validity.problem(Crystal([], np.zeros((0, 3)), NACL.lattice)) == "no sites"
    needle = Crystal(NACL.species, [[0, 0, 0], [0.5, 0, 0]], np.diag([0.01, 50, 50]))
    assert validity.problem(needle) == "atoms too close"
    assert validity.structure(Crystal([6], [[0, 0, 0]], NACL.lattice))


@pytest.mark.parametrize(
    ("formula", "valid"),
    [
        ("NaCl", True),
        ("SrTiO3", True),
        ("C60", True),  # an element
        ("Cu3Au", True),  # an alloy
        ("NaCl2", False),
        ("HeO", False),  # no charge of helium
        ("LiO3", False),
    ],
)
def test_compositions(formula: str, valid: bool) -> None:
    assert validity.composition(elements.parse(formula)) == valid


def slowly(counts: dict[int, int]) -> bool:
    """The definition, combination by combination."""
    from itertools import product

    counts = elements.reduced(counts)
    if len(counts) == 1 or all(z in oxidation.METALS for z in counts):
        return True
    chi = [oxidation.PAULING[z] for z in counts]
    for charges in product(*(oxidation.STATES[z] for z in counts)):
        if sum(q * n for q, n in zip(charges, counts.values(), strict=True)):
            continue
        pairs = [
            (x, y)
            for x, p in zip(chi, charges, strict=True)
            for y, q in zip(chi, charges, strict=True)
            if p > 0 > q
        ]
        if not any(np.isnan(chi)) and all(x < y for x, y in pairs):
            return True
    return False


def test_cutting_by_electronegativity_is_trying_every_combination() -> None:
    rng = np.random.default_rng(1)
    kinds = [z for z in oxidation.STATES if z < 100]
    found = set()
    for _ in range(300):
        chosen = rng.choice(kinds, size=rng.integers(1, 5), replace=False)
        counts = {int(z): int(rng.integers(1, 7)) for z in sorted(chosen)}
        found.add(validity.composition(counts))
        assert validity.composition(counts) == slowly(counts)
    assert found == {True, False}


def test_smact_agrees() -> None:
    screening = pytest.importorskip("smact.screening")
    rng = np.random.default_rng(2)
    kinds = [z for z in oxidation.STATES if oxidation.STATES[z]]
    for _ in range(100):
        chosen = rng.choice(kinds, size=rng.integers(2, 5), replace=False)
        counts = {int(z): int(rng.integers(1, 7)) for z in sorted(chosen)}
        theirs = screening.smact_validity(elements.formula(counts), oxidation_states_set="smact14")
        assert validity.composition(counts) == theirs
