"""Reduced bases: the same lattice, short vectors, Niggli's cell as pymatgen finds it."""

from __future__ import annotations

import numpy as np
import pytest

from sciflow.domains.crystals.crystal import standard_matrix
from sciflow.domains.crystals.reduction import lll, niggli

SPECIAL = {
    "cubic": ([4, 4, 4], [90, 90, 90]),
    "fcc": ([3, 3, 3], [60, 60, 60]),
    "bcc": ([3, 3, 3], [109.4712206, 109.4712206, 109.4712206]),
    "hexagonal": ([3, 3, 5], [90, 90, 120]),
    "rhombohedral": ([4, 4, 4], [75, 75, 75]),
    "orthorhombic": ([3, 4, 5], [90, 90, 90]),
    "monoclinic": ([5, 4, 6], [90, 107, 90]),
    "triclinic": ([4, 5, 6.5], [80, 95, 110]),
    "flat": ([3, 3.1, 25], [88, 91, 119]),
}


def skewed(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same lattice in a worse basis, turned in space."""
    change = np.eye(3)
    for _ in range(4):
        i, j = rng.choice(3, 2, replace=False)
        change[i] += rng.integers(-2, 3) * change[j]
    return change @ matrix @ np.linalg.qr(rng.normal(size=(3, 3)))[0]


@pytest.mark.parametrize("name", SPECIAL)
def test_niggli_is_that_of_pymatgen_from_any_basis(name: str) -> None:
    from pymatgen.core import Lattice

    rng = np.random.default_rng(len(name))
    matrix = standard_matrix(*SPECIAL[name])
    for _ in range(4):
        bad = skewed(matrix, rng)
        ours = np.array(niggli(bad.tolist()))
        theirs = Lattice(bad).get_niggli_reduced_lattice()
        np.testing.assert_allclose(Lattice(ours).parameters, theirs.parameters, atol=1e-6)
        change = ours @ np.linalg.inv(bad)
        np.testing.assert_allclose(change, np.round(change), atol=1e-6)
        assert abs(np.linalg.det(change)) == pytest.approx(1)


def test_random_lattices() -> None:
    from pymatgen.core import Lattice

    rng = np.random.default_rng(1)
    for _ in range(60):
        matrix = 4 * rng.normal(size=(3, 3))
        ours, theirs = (
            np.array(niggli(matrix.tolist())),
            Lattice(matrix).get_niggli_reduced_lattice(),
        )
        np.testing.assert_allclose(Lattice(ours).parameters, theirs.parameters, atol=1e-6)


def test_lll_keeps_the_lattice_and_its_bounds() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        matrix = skewed(rng.normal(size=(3, 3)), rng)
        basis = np.array(lll(matrix.tolist()))
        change = basis @ np.linalg.inv(matrix)
        np.testing.assert_allclose(change, np.round(change), atol=1e-6)
        # |b1| <= 2^((n - 1) / 4) V^(1/n), and the product of lengths <= 2^(n (n - 1) / 4) V
        volume, lengths = abs(np.linalg.det(basis)), np.linalg.norm(basis, axis=1)
        assert lengths[0] <= 2**0.5 * volume ** (1 / 3) * (1 + 1e-9)
        assert lengths.prod() <= 2**1.5 * volume * (1 + 1e-9)
