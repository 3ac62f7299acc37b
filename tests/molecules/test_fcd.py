"""FCD: the distance of Gaussians in closed form, ChemNet against its own package, the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sciflow.domains.molecules import fcd
from sciflow.errors import SciflowError

SMILES = ["C", "CCO", "c1ccccc1", "CC(=O)NC", "C1CC1", "C#CC1CC1", "NCC(F)=O", "CCCCCCCC"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCIFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> fcd.Moments:
    return fcd.Moments(mean, covariance, 100)


def test_distance_of_gaussians_that_commute() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.1, 2.0, (2, 6))
    mu, nu = rng.normal(size=(2, 6))
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    x = gaussian(mu, turn @ np.diag(a) @ turn.T)
    y = gaussian(nu, turn @ np.diag(b) @ turn.T)
    wanted = np.square(mu - nu).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert fcd.frechet(x, y) == pytest.approx(wanted, rel=1e-10)
    assert fcd.frechet(y, x) == pytest.approx(wanted, rel=1e-10)


def test_distance_of_any_gaussians_equals_the_matrix_root() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    a, b = (m @ m.T for m in rng.normal(size=(2, 5, 9)))
    mu = rng.normal(size=5)
    wanted = mu @ mu + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    found = fcd.frechet(gaussian(mu, a), gaussian(np.zeros(5), b))
    assert found == pytest.approx(wanted, rel=1e-9)


def test_singular_covariances_are_no_trouble() -> None:
    rng = np.random.default_rng(2)
    x = fcd.moments_of(rng.normal(size=(4, fcd.WIDTH)).astype(np.float32))
    assert np.linalg.matrix_rank(x.covariance) < 4
    assert fcd.frechet(x, x) == pytest.approx(0.0, abs=1e-4 * np.trace(x.covariance))
    moved = fcd.Moments(x.mean + 1.0, x.covariance, x.count)
    assert fcd.frechet(x, moved) == pytest.approx(fcd.WIDTH, rel=1e-3)


def test_activations_are_those_of_fcd_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcd_torch

    monkeypatch.setattr(np, "row_stack", np.vstack, raising=False)  # gone from numpy 2
    theirs = fcd_torch.FCD(canonize=False).get_predictions(SMILES)
    assert np.allclose(fcd.activations(SMILES), theirs, atol=1e-6)


def test_activations_do_not_depend_on_batch_mates_or_order() -> None:
    rows = fcd.activations(SMILES)
    for k, text in enumerate(SMILES[:3]):
        assert np.allclose(fcd.activations([text])[0], rows[k], atol=1e-6)
    assert np.array_equal(fcd.activations([*SMILES[::-1], "C"])[-1], rows[0])


def test_known_rows_are_looked_up_and_new_ones_kept() -> None:
    known = {"C": np.full(fcd.WIDTH, 7.0, np.float32)}
    rows = fcd.activations(["C", "CCO"], known=known)
    assert (rows[0] == 7.0).all()
    assert set(known) == {"C", "CCO"}


def test_fcd_of_a_set_with_itself_is_zero_in_any_notation() -> None:
    other = ["OCC", "C", "C1=CC=CC=C1", "CNC(C)=O", "C1CC1", "C1CC1C#C", "O=C(F)CN", "CCCCCCCC"]
    assert fcd.fcd(other, SMILES) == pytest.approx(0.0, abs=1e-5)
    assert fcd.fcd(SMILES[:4], SMILES[4:]) > 1.0


def test_moments_are_kept_by_content(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fcd.moments(SMILES)
    files = list(cache.rglob("*.npz"))
    assert len(files) == 1

    def refuse(*_: object) -> None:
        raise AssertionError("ChemNet was asked again")

    monkeypatch.setattr(fcd, "activations", refuse)
    again = fcd.moments(SMILES[::-1])
    assert np.array_equal(first.mean, again.mean)
    assert np.array_equal(first.covariance, again.covariance)
    assert first.count == again.count == len(SMILES)


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_a_broken_cache_file_is_computed_anew(cache: Path, damage: bytes | None) -> None:
    first = fcd.moments(SMILES)
    file = next(cache.rglob("*.npz"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert np.array_equal(fcd.moments(SMILES).mean, first.mean)
    assert len(file.read_bytes()) == len(whole)
    assert not list(cache.rglob("*.part"))


def test_a_cache_that_cannot_be_written_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCIFLOW_CACHE", str(tmp_path / "file"))
    assert fcd.moments(SMILES).count == len(SMILES)


def test_bad_input_is_one_clear_error() -> None:
    with pytest.raises(SciflowError, match="two or more"):
        fcd.fcd(["C"], SMILES)
    with pytest.raises(SciflowError, match=r"C1CC.*valid"):
        fcd.fcd(["C", "C1CC"], SMILES)
    assert fcd.activations([]).shape == (0, fcd.WIDTH)
