"""Baselines: linear laws are recovered, climatologies know seasons, and ERA-Interim's figures stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sciflow.domains.fields import dataset, metrics, scores
from sciflow.domains.fields.baselines import Climatology, DynamicModes, LinearGaussian
from sciflow.errors import SciflowError
from sciflow.streams import Streams

DOUBLE = torch.float64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@pytest.mark.parametrize("count", [400, 30])  # more pairs than numbers, and fewer
def test_a_linear_law_without_noise_is_recovered(count: int) -> None:
    law = normal(12, 2, 5, seed=1)
    inputs = normal(count, 3, 4) @ torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5], dtype=DOUBLE))
    targets = torch.einsum("np,pab->nab", inputs.flatten(1), law) + 7
    model = LinearGaussian.fit(inputs, targets, None)
    found = model.predict(inputs[:50])
    assert torch.allclose(found.mean, targets[:50], atol=1e-3)
    assert found.std.max() < 1e-3


def test_dynamic_modes_carry_a_linear_law_on_under_its_drive() -> None:
    law, push = 0.9 * torch.linalg.qr(normal(6, 6)).Q, normal(2, 6, seed=2)
    drive = normal(20, 9, 2, seed=3)
    frames = [normal(20, 6, seed=4)]
    for k in range(9):
        frames.append(frames[-1] @ law + drive[:, k] @ push + 3)
    u = torch.stack(frames, 1)
    model = DynamicModes.fit(u[:15], drive[:15])
    assert torch.allclose(model.predict(u[15:, 0], drive[15:]), u[15:, 1:], atol=1e-4)
    alone = DynamicModes.fit(u[:15], drive[:15, :, :0], 3).predict(u[15:, 0], drive[15:, :, :0])
    assert alone.shape == (5, 9, 6)
    with pytest.raises(SciflowError, match="what drives the steps"):
        DynamicModes.fit(u, drive[:, :-1])


def test_noise_is_measured_and_its_correlation_kept() -> None:
    inputs = normal(4000, 3)
    mixing = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 0.3]], dtype=DOUBLE)
    targets = inputs * 2 + normal(4000, 3, seed=1) @ mixing
    model = LinearGaussian.fit(inputs, targets, None)
    covariance = mixing.mT @ mixing
    assert torch.allclose(model.predict(inputs).std.square(), covariance.diag(), rtol=0.06)
    drawn = model.members(inputs[:1], 20000, Streams.range(0, 0, 1))[0]
    assert torch.allclose(drawn.mT.cov(), covariance, atol=0.05)
    # With fewer directions than targets the deviation of each value is still right.
    few = LinearGaussian.fit(inputs, targets, None, directions=1)
    assert torch.allclose(few.predict(inputs).std.square(), covariance.diag(), rtol=0.06)


def test_the_ensemble_is_calibrated_on_new_data_and_belongs_to_its_stream() -> None:
    def pairs(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = normal(500, 8, seed=seed)
        return x, x.roll(1, 1) + 0.5 * normal(500, 8, seed=seed + 1)

    model = LinearGaussian.fit(*pairs(0), components=None)
    inputs, truth = pairs(10)
    members = model.members(inputs, 16, Streams.range(0, 0, 500))
    assert scores.spread_skill(members, truth).ratio == pytest.approx(1, abs=0.05)
    alone = model.members(inputs[7:8], 16, Streams.range(0, 7, 1))
    assert torch.allclose(alone[0], members[7], atol=1e-12)


def test_calibration_matches_the_errors_of_other_pairs() -> None:
    inputs, targets = normal(300, 5), normal(300, 4, seed=1)
    model = LinearGaussian.fit(inputs, targets, None)
    other = 3 * normal(300, 4, seed=2)
    std = model.calibrated(normal(300, 5, seed=3), other).predict(inputs).std
    assert torch.allclose(std, torch.full((4,), 3.0, dtype=DOUBLE), rtol=0.15)


def test_noise_that_predicts_nothing_is_ridged_away() -> None:
    inputs, targets = normal(60, 40), normal(60, 3, seed=1)
    found = LinearGaussian.fit(inputs, targets, None).predict(normal(200, 40, seed=2))
    assert found.mean.std() < 0.35
    with pytest.raises(SciflowError, match="same number"):
        LinearGaussian.fit(inputs, targets[:5])


def test_climatology_is_of_the_season_and_the_hour() -> None:
    time = np.arange("2001-01-01", "2004-01-01", np.timedelta64(12, "h"), dtype="datetime64[ns]")
    day = torch.tensor(((time - time[0]) / np.timedelta64(1, "D")).astype(float))
    season = (2 * torch.pi * day / 365.25).cos() + torch.where(day % 1 > 0.4, 5.0, 0.0)
    climate = Climatology(season[:, None], time)
    asked = np.array(["2005-01-02T12", "2005-07-02T00", "2004-02-29T00"], dtype="datetime64[ns]")
    want = torch.tensor([6.0, -1.0, 0.51], dtype=DOUBLE)
    assert torch.allclose(climate.mean(asked)[:, 0], want, atol=0.05)
    # Around New Year the window runs over the end of the year: 15 days of three years.
    assert climate.members(np.datetime64("2002-12-31T00", "ns")).shape[1] in (42, 43, 44, 45)
    with pytest.raises(SciflowError, match="widen the window"):
        climate.chosen(np.datetime64("2005-01-01T06", "ns"))


@pytest.mark.data
def test_era_interim_one_day_ahead(data_dir: Path) -> None:
    """The published baseline (2000-2007 to 2009-2010), here from fewer components to be quick."""
    train, test = dataset.record("eraint:train"), dataset.record("eraint:test")
    climate = Climatology.fit(train)
    before = (train.values - climate.mean(train.time))[:, :1, ::3, ::3]
    after = (test.values - climate.mean(test.time))[:, :1, ::3, ::3]
    weight = train.weight[::3, ::3]
    starts, ends = test.pairs(1)
    moved = (test.values[starts, 0] - test.values[ends, 0]).abs()
    assert float(metrics.average(moved, train.weight).mean()) == pytest.approx(421, abs=2)
    old, new = train.pairs(1)
    model = LinearGaussian.fit(before[old], before[new], 40, weight.sqrt())
    law = model.predict(after[starts])
    error = scores.crps_gaussian(law.mean, law.std, after[ends])
    # From pressure alone on every third point: between the full baseline (258) and climatology (456).
    assert 258 < float(metrics.average(error, weight).mean()) < 330
