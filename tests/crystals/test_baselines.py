"""Training-free baselines: they keep the composition, and copy what they should."""

from __future__ import annotations

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, baselines, matching

SITES = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def perovskite(formula: str, a: float, move: float = 0.0) -> Crystal:
    places = np.array(SITES)
    places[1, 0] += move
    return Crystal.from_parameters(formula.split(), places, [a] * 3)


SRTIO3, BATIO3, LAALN3 = (
    perovskite("Sr Ti O O O", 3.9),
    perovskite("Ba Ti O O O", 4.0, 0.04),
    perovskite("La Al N N N", 3.8),
)
NACL = Crystal.from_parameters(["Na", "Cl"], [[0, 0, 0], [0.5] * 3], [3.99] * 3, [60] * 3)
LIBRARY = [BATIO3, LAALN3, NACL]


def test_substitution_takes_the_nearest_and_replaces_its_elements() -> None:
    made = baselines.substitution([SRTIO3], LIBRARY)[0][0]
    assert made.formula == "SrTiO3"
    np.testing.assert_allclose(made.coordinates, BATIO3.coordinates)
    assert made.species.tolist() == [38, 22, 8, 8, 8]
    both = baselines.Substitution(LIBRARY).predict(SRTIO3, k=5)
    assert [len(c) for c in both] == [5, 5] and both[1].species.tolist() == [38, 22, 8, 8, 8]
    assert baselines.substitution([perovskite("K Br Br Br Br", 4)], [NACL]) == [[]]


def test_substitution_with_and_without_the_very_composition() -> None:
    near = perovskite("Sr Ti O O O", 3.9, 0.1)
    library = [*LIBRARY, near]
    np.testing.assert_allclose(
        baselines.substitution([SRTIO3], library)[0][0].coordinates, near.coordinates
    )
    other = baselines.substitution([SRTIO3], library, equal=False)[0][0]
    np.testing.assert_allclose(other.coordinates, BATIO3.coordinates)


def test_pairing_of_elements_is_the_best_one() -> None:
    """Two elements of equal count: Ca for Sr and Zr for Ti, whatever the order of atomic numbers."""
    made = baselines.substitution([perovskite("Zr Ca O O O", 4.0)], [SRTIO3])[0][0]
    assert made.species.tolist() == [20, 40, 8, 8, 8]


def test_prototype_is_right_half_of_the_time() -> None:
    targets = [SRTIO3] * 400
    made = baselines.prototype(targets, LIBRARY, seed=3)
    right = sum(c[0].species[0] == 38 for c in made)
    assert 160 < right < 240  # four standard deviations
    again = baselines.prototype(targets[:7], LIBRARY, seed=3)
    assert [c[0].species[0] for c in again] == [c[0].species[0] for c in made[:7]]
    assert all(
        row.strict
        for row in matching.match(baselines.prototype([SRTIO3], LIBRARY, k=2), [SRTIO3]).table
    )
    assert baselines.prototype([NACL], LIBRARY) == [[]]


@pytest.mark.parametrize("name", ["copy", "scatter"])
def test_random_ones_keep_the_composition_and_do_not_depend_on_the_batch(name: str) -> None:
    def run(targets: list[Crystal]) -> list[list[Crystal]]:
        if name == "copy":
            return baselines.copy(targets, LIBRARY, k=3, seed=1)
        return baselines.scatter(targets, k=3, seed=1)

    for target, made in zip([SRTIO3, NACL], run([SRTIO3, NACL]), strict=True):
        assert len(made) == 3 and all(c.composition == target.composition for c in made)
    big = Crystal([38] * 9, np.random.default_rng(0).random((9, 3)), SRTIO3.lattice)
    alone, both = run([SRTIO3])[0], run([SRTIO3, SRTIO3, big])[0]
    assert all(a.same(b) for a, b in zip(alone, both, strict=True))
    assert not both[0].same(both[1])


def test_volumes_of_the_elements_are_found() -> None:
    """Crystals whose volumes add up exactly."""
    own = {11: 30.0, 17: 20.0, 8: 10.0}
    library = []
    for species in ([11, 17], [11, 11, 8], [8], [17, 8, 8]):
        side = sum(own[z] for z in species) ** (1 / 3)
        library.append(Crystal(species, np.zeros((len(species), 3)), side * np.eye(3)))
    fit = baselines.VolumeFit.of(library, ridge=1e-9)
    for z, volume in own.items():
        assert fit.volumes[z] == pytest.approx(volume, rel=1e-6)
    assert fit(np.array([11, 8])) == pytest.approx(40, rel=1e-6)
