"""Lattice representations: round trips, invariance, derivatives, agreement with pymatgen."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sciflow.domains.crystals import lattice
from sciflow.domains.crystals.crystal import standard_matrix

CELLS = torch.tensor(
    [
        [4.0, 4.0, 4.0, 90, 90, 90],  # cubic: three equal eigenvalues
        [3.0, 3.0, 5.0, 90, 90, 120],
        [2.5, 2.5, 2.5, 60, 60, 60],
        [4.0, 5.0, 6.5, 80, 95, 110],
        [3.0, 9.0, 20.0, 105, 62, 71],
    ],
    dtype=torch.float64,
)
MATRICES = lattice.matrix(CELLS[:, :3], CELLS[:, 3:])
SIZES = torch.tensor([5, 2, 2, 7, 20])


def rotation() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]


def metric(matrix: torch.Tensor) -> torch.Tensor:
    return matrix @ matrix.mT


def test_standard_matrix_is_that_of_pymatgen() -> None:
    from pymatgen.core import Lattice

    for row, mine in zip(CELLS.tolist(), MATRICES, strict=True):
        np.testing.assert_allclose(mine.numpy(), Lattice.from_parameters(*row).matrix, atol=1e-12)
        np.testing.assert_allclose(standard_matrix(row[:3], row[3:]), mine.numpy(), atol=1e-12)


def test_parameters_come_back_in_any_orientation() -> None:
    lengths, angles = lattice.parameters(MATRICES @ rotation())
    torch.testing.assert_close(torch.cat((lengths, angles), -1), CELLS, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", lattice.REPRESENTATIONS)
def test_representations_return_the_lattice_and_ignore_rotation(name: str) -> None:
    representation = lattice.REPRESENTATIONS[name]
    vector = representation.encode(MATRICES, SIZES)
    back = representation.decode(vector, SIZES)
    torch.testing.assert_close(metric(back), metric(MATRICES), atol=1e-9, rtol=1e-10)
    torch.testing.assert_close(
        representation.encode(MATRICES @ rotation(), SIZES), vector, atol=1e-9, rtol=0
    )
    single = representation.decode(representation.encode(MATRICES.float(), SIZES), SIZES)
    torch.testing.assert_close(metric(single).double(), metric(MATRICES), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", lattice.REPRESENTATIONS)
def test_a_supercell_of_the_same_shape_has_the_same_vector(name: str) -> None:
    representation = lattice.REPRESENTATIONS[name]
    big = representation.encode(2.0 * MATRICES, 8 * SIZES)
    torch.testing.assert_close(big, representation.encode(MATRICES, SIZES), atol=1e-10, rtol=0)


def test_trace_of_the_logarithm_is_the_volume_per_site_and_its_norm_that_of_the_matrix() -> None:
    vector = lattice.Logarithm().encode(MATRICES, SIZES)
    volume = lattice.volume(MATRICES) / SIZES
    torch.testing.assert_close(vector[:, :3].sum(-1), volume.log())
    s = torch.linalg.eigvalsh(metric(MATRICES)).log() / 2
    torch.testing.assert_close(lattice.logarithm(MATRICES).norm(dim=-1), s.norm(dim=-1))


def test_every_vector_is_a_lattice() -> None:
    volume = lattice.volume(lattice.exponential(3 * torch.randn(100, 6, dtype=torch.float64)))
    assert (volume > 0).all()
    assert (
        lattice.LengthsAngles().decode(10 * torch.randn(100, 6), torch.tensor(5)).isfinite().all()
    )


def test_derivatives_also_where_eigenvalues_coincide() -> None:
    """Against finite differences; the cubic cell breaks the derivative of an eigendecomposition."""
    for row in MATRICES:
        start = row.clone().requires_grad_()
        assert torch.autograd.gradcheck(lattice.logarithm, start, atol=1e-6)
        assert torch.autograd.gradcheck(
            lambda x: torch.cat(lattice.parameters(x)), start, atol=1e-5
        )
        vector = lattice.logarithm(row).requires_grad_()
        assert torch.autograd.gradcheck(lattice.exponential, vector, atol=1e-6)


def test_standardised_has_mean_0_and_deviation_1_and_comes_back() -> None:
    fitted = lattice.Standardised.fit(MATRICES, SIZES)
    vectors = fitted.encode(MATRICES, SIZES)
    torch.testing.assert_close(vectors.mean(0), torch.zeros(6).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(vectors.std(0, correction=0), torch.ones(6).double())
    torch.testing.assert_close(metric(fitted.decode(vectors, SIZES)), metric(MATRICES))
    assert lattice.Standardised.from_config(fitted.config()) == fitted
    cubic = lattice.Standardised.fit(MATRICES[:1].expand(4, 3, 3), SIZES[:1].expand(4))
    assert min(cubic.std) == 0.02 and all(map(math.isfinite, cubic.mean))
