"""Errors and scores of fields against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from sciflow.domains.fields import metrics, scores
from sciflow.domains.fields.wavelet import Axis, Transform
from sciflow.errors import SciflowError

DOUBLE = torch.float64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_relative_errors_are_one_for_the_trivial_predictions() -> None:
    u = normal(5, 7, 16) * 3 + 10
    assert torch.allclose(metrics.nrmse(torch.zeros_like(u), u), torch.ones(5, dtype=DOUBLE))
    mean = u.mean((1, 2), keepdim=True).expand_as(u)
    assert torch.allclose(metrics.vrmse(mean, u), torch.ones(5, dtype=DOUBLE))
    by_time = u.mean(2, keepdim=True).expand_as(u)
    assert torch.allclose(metrics.vrmse(by_time, u, dims=1), torch.ones(5, dtype=DOUBLE))
    # PDEBench's: the ratio of every time, then their mean.
    p = u + torch.arange(7, dtype=DOUBLE)[:, None]
    want = (p - u).norm(dim=2).div(u.norm(dim=2)).mean(1)
    assert torch.allclose(metrics.nrmse(p, u, dims=1), want)


def test_weights_and_masks() -> None:
    u, p = normal(3, 4, 6), normal(3, 4, 6, seed=1)
    weight = torch.rand(4, 1, dtype=DOUBLE)
    want = ((p - u).square() * weight).sum((1, 2)) / (6 * weight.sum())
    assert torch.allclose(metrics.mse(p, u, weight), want)
    gaps = torch.ones(4, 6, dtype=DOUBLE)
    gaps[1, 2:] = 0
    holed = u.clone()
    holed[:, 1, 2:] = math.nan
    assert torch.allclose(metrics.mse(p, holed, gaps), metrics.mse(p, u, gaps))
    assert metrics.l_inf(p, holed, gaps).isfinite().all()
    ensemble = normal(3, 5, 4, 6)
    assert torch.allclose(scores.crps(ensemble, holed, gaps), scores.crps(ensemble, u, gaps))
    assert torch.allclose(
        scores.energy_score(ensemble, holed, gaps), scores.energy_score(ensemble, u, gaps)
    )
    assert scores.rank_histogram(ensemble, holed, gaps).isfinite().all()


def test_latitude_weights_are_areas() -> None:
    weight = metrics.latitude_weights(torch.linspace(-89.5, 89.5, 180, dtype=DOUBLE))
    assert weight.mean() == pytest.approx(1)
    assert float(weight[60:120].sum() / weight.sum()) == pytest.approx(0.5, abs=1e-4)  # |lat| < 30
    with pytest.raises(SciflowError, match="degrees north"):
        metrics.latitude_weights(torch.tensor([0.0, 91.0]))


def test_scales_sum_to_the_whole_and_waves_stand_where_they_belong() -> None:
    for shape in ((30,), (31,), (12, 16), (9, 7)):
        u, p = normal(4, 3, *shape), normal(4, 3, *shape, seed=1)
        dims = len(shape)
        total = metrics.mse(p, u)
        assert torch.allclose(metrics.spectral_errors(p, u, dims, (2, 5)).square().sum(1), total)
        assert torch.allclose(metrics.spectrum(p - u, dims).sum(-1).mean(1), total)
    x = torch.arange(64, dtype=DOUBLE) / 64
    wave = (2 * math.pi * 5 * x).sin().expand(1, 64)
    assert metrics.spectrum(wave, 1)[0, 5] == pytest.approx(0.5)
    errors = metrics.spectral_errors(wave, torch.zeros_like(wave), 1)[0]
    assert errors[1] == pytest.approx(math.sqrt(0.5)) and errors[[0, 2]].max() < 1e-12
    plane = (2 * math.pi * (3 * x[:, None] + 4 * x)).cos()
    assert metrics.spectrum(plane, 2)[5] == pytest.approx(0.5)


def test_band_errors_of_an_orthogonal_transform_sum_to_the_whole() -> None:
    transform = Transform(
        (Axis("t", 8, "periodization", "db2"), Axis("x", 16, "periodization", "db2")), 2
    )
    u, p = normal(3, 8, 16), normal(3, 8, 16, seed=1)
    bands = transform.decompose(p - u)
    errors = metrics.band_errors(p, u, transform)
    energy = sum(errors[k].square() * bands[k][0].numel() for k in errors)
    assert torch.allclose(energy / 128, metrics.mse(p, u))


def test_parts_of_fields() -> None:
    u = torch.zeros(1, 4, 10, dtype=DOUBLE)
    p = u.clone()
    p[..., 0] = 1
    assert metrics.boundary_error(p, u, 1) == pytest.approx(math.sqrt(0.5))
    assert metrics.boundary_error(torch.ones(1, 5, 5), torch.zeros(1, 5, 5), 2) == pytest.approx(1)
    shifted = normal(2, 4, 10)
    assert metrics.conservation_error(shifted.roll(3, -1), shifted, 1).max() < 1e-12
    assert torch.allclose(
        metrics.conservation_error(shifted + 2, shifted, 1), torch.full((2,), 2.0, dtype=DOUBLE)
    )
    step = torch.cat((torch.zeros(20), torch.ones(20))).expand(1, 40)
    wrong = step.clone()
    wrong[:, 19:21] += 0.5
    assert metrics.abrupt_error(wrong, step, 0.05) == pytest.approx(0.5)


def test_correlation_time_is_the_last_before_it_falls() -> None:
    u = normal(1, 6, 50)
    p = u.clone()
    p[:, 4:] = normal(1, 2, 50, seed=3)
    times = torch.arange(6, dtype=DOUBLE) * 0.5
    assert metrics.correlation_time(p, u, times, 1) == 1.5
    assert metrics.correlation_time(u, u, times, 1) == 2.5
    assert metrics.correlation_time(-u, u, times, 1) == 0


def test_anomaly_correlation() -> None:
    u, climate = normal(4, 8, 9) + 100, torch.full((8, 9), 100.0, dtype=DOUBLE)
    area = torch.rand(8, 1, dtype=DOUBLE) + 0.1
    assert torch.allclose(
        metrics.anomaly_correlation(climate + 0.3 * (u - climate), u, climate, area),
        torch.ones(4, dtype=DOUBLE),
    )
    assert torch.allclose(
        metrics.anomaly_correlation(2 * climate - u, u, climate), -torch.ones(4, dtype=DOUBLE)
    )


def test_crps_of_gaussians() -> None:
    y = torch.linspace(-3, 3, 7, dtype=DOUBLE)
    exact = scores.crps_gaussian(
        torch.tensor(0.5, dtype=DOUBLE), torch.tensor(2.0, dtype=DOUBLE), y
    )
    members = 0.5 + 2 * normal(1, 40000, 1).expand(7, -1, 1)
    assert torch.allclose(scores.crps(members, y[:, None]), exact, atol=0.02)
    # At the centre: sigma (sqrt 2 - 1) / sqrt pi.
    centre = scores.crps_gaussian(torch.zeros(1), torch.ones(1), torch.zeros(1))
    assert centre == pytest.approx((math.sqrt(2) - 1) / math.sqrt(math.pi), abs=1e-6)


def test_fair_crps_does_not_depend_on_the_number_of_members_and_the_other_does() -> None:
    y = normal(40000, 1, seed=5)
    calibrated = 1 / math.sqrt(math.pi)  # mean CRPS of N(0, 1) against N(0, 1): E|x - y| / 2
    for count in (2, 3, 8):
        x = normal(40000, count, 1, seed=count)
        assert scores.crps(x, y).mean() == pytest.approx(calibrated, abs=0.012)
        plain = scores.crps(x, y, fair=False).mean()
        assert plain == pytest.approx(calibrated * (1 + 1 / count), abs=0.012)


def test_crps_is_the_sum_over_pairs_and_energy_score_is_crps_in_one_dimension() -> None:
    x, y = normal(6, 5, 1), normal(6, 1, seed=1)
    pairs = (x[:, :, None] - x[:, None]).abs().sum((1, 2))[:, 0]
    want = (x - y[:, None]).abs().mean(1)[:, 0] - pairs / 40
    assert torch.allclose(scores.crps(x, y), want)
    assert torch.allclose(scores.energy_score(x, y), want)
    assert torch.allclose(scores.energy_score(x, y, fair=False), scores.crps(x, y, fair=False))


def test_energy_score_prefers_the_right_correlation() -> None:
    shared = normal(4000, 1)
    y = shared + 0.1 * normal(4000, 2, seed=1)
    right = normal(4000, 8, 1, seed=2) + 0.1 * normal(4000, 8, 2, seed=3)
    loose = normal(4000, 8, 2, seed=4) * math.sqrt(1.01)
    assert scores.crps(right, y).mean() == pytest.approx(
        float(scores.crps(loose, y).mean()), abs=0.03
    )
    assert scores.energy_score(right, y).mean() < scores.energy_score(loose, y).mean() - 0.02


def test_spread_skill_and_ranks_of_a_perfect_ensemble() -> None:
    common = normal(3000, 1)
    x, y = common[:, None] + normal(3000, 4, 3, seed=1), common + normal(3000, 3, seed=2)
    found = scores.spread_skill(x, y)
    assert found.spread == pytest.approx(1, abs=0.03)
    assert found.ratio == pytest.approx(1, abs=0.03)
    assert scores.spread_skill(common[:, None] + 0.5 * (x - common[:, None]), y).ratio < 0.6
    assert torch.allclose(
        scores.rank_histogram(x, y), torch.full((5,), 0.2, dtype=DOUBLE), atol=0.02
    )
    tied = scores.rank_histogram(torch.zeros(2, 3, 1), torch.zeros(2, 1))
    assert torch.allclose(tied, torch.full((4,), 0.25, dtype=DOUBLE))


def test_control_objective_is_an_integral() -> None:
    final, target = torch.full((2, 10), 3.0), torch.full((2, 10), 1.0)
    force = torch.full((2, 5, 10), 2.0)
    j = metrics.control_objective(final, target, force, cell=0.1, interval=0.2, effort=0.5)
    assert torch.allclose(j, torch.full((2,), 4.0 + 0.5 * 4.0))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SciflowError, match="shape of the truth"):
        metrics.mse(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(SciflowError, match="ensemble"):
        scores.crps(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(SciflowError, match="at least 2"):
        scores.crps(torch.zeros(2, 1, 3), torch.zeros(2, 3))


def test_the_width_of_an_ensemble_has_the_least_fair_score() -> None:
    """Members too wide or too narrow by a known factor; cells without weight and samples without truth do not count."""
    miss = normal(200, 3, 4, 5) * torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE)[:, None, None]
    deviation = normal(200, 6, 3, 4, 5, seed=1)
    area = torch.ones(4, 5, dtype=DOUBLE)
    found = scores.width(deviation, miss, area)
    assert torch.allclose(found, torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE), rtol=0.04)

    def score(factor: torch.Tensor) -> torch.Tensor:
        made = scores.crps_map(deviation * factor[:, None, None], miss)
        return made.mean((0, 2, 3))

    least = score(found)
    for step in (0.98, 0.999, 1.001, 1.02):
        assert (score(found * step) > least).all()
    holed, spoilt = miss.clone(), deviation.clone()
    holed[7, 1] = torch.nan
    spoilt[..., 0] = torch.nan
    spoilt[7, :, 1] = 1e6
    area[:, 0] = 0
    kept = torch.arange(200) != 7
    want = scores.width(deviation[kept][..., 1:], miss[kept][..., 1:])[1]
    assert scores.width(spoilt, holed, area)[1] == pytest.approx(float(want), abs=1e-6)
