"""Fingerprints of crystals and coverage by them."""

from __future__ import annotations

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, fingerprints
from sciflow.domains.crystals.coverage import THRESHOLDS, Prints, coverage
from sciflow.errors import SciflowError

SITES = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def perovskite(a: str = "Sr", b: str = "Ti", length: float = 3.9, shift: float = 0.0) -> Crystal:
    places = np.array(SITES, float)
    places[1, 0] += shift
    return Crystal.from_parameters([a, b, "O", "O", "O"], places, [length] * 3)


def salt(a: str = "Na", b: str = "Cl", length: float = 4.0) -> Crystal:
    return Crystal.from_parameters([a, b], [[0, 0, 0], [0.5] * 3], [length] * 3, [60.0] * 3)


BAD = Crystal.from_parameters(["Na", "Cl"], [[0, 0, 0], [0.01, 0, 0]], [4.0] * 3)


def test_structure_of_rock_salt_is_octahedral() -> None:
    """Six neighbours, at right angles: w_6 = 1, and the order parameter of an octahedron is 1 too."""
    found = fingerprints.structure(salt())
    assert found is not None
    assert found.shape == (fingerprints.STRUCTURE,)
    assert found[5] == pytest.approx(1.0, abs=1e-3)
    assert found[:24].sum() == pytest.approx(1.0, abs=1e-3)
    assert found[24:].max() == pytest.approx(1.0, abs=1e-2)


def test_structure_does_not_see_how_a_crystal_is_written() -> None:
    crystal = perovskite(shift=0.03)
    moved = Crystal(
        crystal.species[::-1], crystal.coordinates[::-1] + [0.1, 0.7, 0.3], crystal.lattice
    )
    wide = crystal.lattice * np.array([[1.0], [1.0], [2.0]])
    half = crystal.coordinates * [1, 1, 0.5]
    double = Crystal(np.tile(crystal.species, 2), np.concatenate((half, half + [0, 0, 0.5])), wide)
    first = fingerprints.structure(crystal)
    assert first is not None
    for other in (moved, double):
        assert np.allclose(fingerprints.structure(other), first, atol=1e-4)
    ideal = fingerprints.structure(perovskite())
    assert ideal is not None
    assert np.linalg.norm(first - ideal) > 0.01


def test_composition_is_what_the_elements_say() -> None:
    found = fingerprints.composition({11: 4, 17: 4})
    assert found.shape == (fingerprints.COMPOSITION,)
    low, high, gap, mean, deviation, mode = found.reshape(6, 18)
    assert (low[0], high[0], gap[0], mean[0], deviation[0], mode[0]) == (11, 17, 6, 14, 3, 11)
    assert (low[12], high[12]) == (1, 7)  # valence electrons of Na and Cl
    assert (low[14], high[14]) == (
        0,
        1,
    )  # places left in p shells: none in Na, which has no p shell
    assert np.array_equal(found, fingerprints.composition({11: 1, 17: 1}))
    assert fingerprints.composition({26: 1})[8 + 2] == 6  # d electrons of iron
    assert np.isfinite(fingerprints.composition(dict.fromkeys(range(1, 119), 1))).all()


def test_a_set_covers_itself() -> None:
    crystals = [perovskite(), perovskite("Ba", "Ti", 4.0), salt(), salt("Mg", "O", 3.0)]
    prints = Prints.of(crystals, workers=1)
    found = coverage(prints, prints, "perov5")
    assert (found.recall, found.precision) == (1.0, 1.0)
    assert found.structure_recall == pytest.approx(0.0, abs=1e-6)
    assert found.composition_precision == pytest.approx(0.0, abs=1e-6)
    assert found.thresholds == THRESHOLDS["perov5"]


def test_what_is_missed_and_what_is_made_up() -> None:
    """Two kinds in the reference; one is generated, beside one that does not exist and one that is none."""
    reference = Prints.of([salt(), perovskite()], workers=1)
    made = Prints.of([salt(length=4.1), salt("Fe", "U"), BAD], workers=1)
    found = coverage(made, reference, (0.2, 4.0))
    assert found.recall == 0.5
    assert found.precision == pytest.approx(1 / 3)
    assert (found.generated, found.without, found.reference) == (3, 1, 2)
    assert coverage(made, reference, (10.0, 1000.0)).precision == pytest.approx(2 / 3)


def test_minima_are_taken_apart() -> None:
    """As published: structure of one crystal and composition of another cover a third."""
    reference = Prints.of([salt("Mg", "O", 3.0), perovskite("Na", "Cl")], workers=1)
    made = Prints.of([salt("Na", "Cl")], workers=1)
    near = float(np.linalg.norm(made.composition - reference.composition[1]))
    assert np.linalg.norm(made.composition - reference.composition[0]) > near
    assert coverage(made, reference, (0.2, near + 1e-6)).precision == 1.0
    assert coverage(made, reference, (0.2, near + 1e-6)).recall == 0.0


def test_nothing_valid_covers_nothing() -> None:
    found = coverage([BAD], [salt()], "mp20", workers=1)
    assert (found.recall, found.precision, found.without) == (0.0, 0.0, 1)


def test_empty_sets_and_wrong_thresholds_are_errors() -> None:
    with pytest.raises(SciflowError, match="generated crystals"):
        coverage([], [salt()], workers=1)
    with pytest.raises(SciflowError, match="reference"):
        coverage([salt()], [BAD], workers=1)
    with pytest.raises(SciflowError, match="did you mean 'mp20'"):
        coverage([salt()], [salt()], "mp2", workers=1)
    with pytest.raises(SciflowError, match="positive"):
        coverage([salt()], [salt()], (0.0, 1.0), workers=1)
