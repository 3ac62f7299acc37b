"""Climatology, linear forecasts and steering against laws that are known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sciflow.domains.fields.arrays import packed, rounded, unpacked
from sciflow.domains.fields.climatology import Harmonics
from sciflow.domains.fields.dataset import Record
from sciflow.domains.fields.regression import Regression
from sciflow.domains.fields.steering import advected, wind
from sciflow.errors import SciflowError


def record(hours: np.ndarray, values: torch.Tensor) -> Record:
    grid = torch.tensor([50.0, 48.0]), torch.tensor([0.0, 2.0])
    box = values[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    return Record(box, ("t",), ("K",), hours, *grid, torch.ones(2, 2, dtype=torch.bool))


def test_a_season_of_two_harmonics_is_found_exactly_for_each_hour() -> None:
    time = np.arange("2000-01-01", "2004-01-01", 12, dtype="datetime64[h]").astype(
        "datetime64[ns]"
    )
    days = time.astype("datetime64[D]")
    day = torch.from_numpy((days - days.astype("datetime64[Y]")).astype(float))
    noon = torch.from_numpy((time - days) / np.timedelta64(1, "h")) > 6
    angle = 2 * math.pi * day / 366
    season = 280 + 10 * angle.cos() - 3 * (2 * angle).sin() + 4 * noon
    law = Harmonics.fit(record(time, season.float()), 1, 3)
    assert law.hours == (0, 12) and law.waves == 3
    again = Harmonics.from_config(law.config())
    later = time[100:200] + np.timedelta64(366, "D")
    found = again.at(later)[:, 0, 1, 1]
    assert (
        found - season[100:200]
    ).abs().max() < 0.25  # the window and the leap day blur a little
    assert torch.equal(found, law.at(later)[:, 0, 1, 1])
    with pytest.raises(SciflowError, match="hours of the day"):
        law.at(later + np.timedelta64(3, "h"))


def test_a_month_has_the_mean_of_its_hours() -> None:
    time = np.arange("2019-03-01", "2019-03-11", dtype="datetime64[h]").astype("datetime64[ns]")
    hour = torch.arange(240) % 24
    law = Harmonics.fit(record(time, hour.float()), None)
    assert torch.equal(law.at(time[:24])[:, 0, 0, 0], torch.arange(24.0)) and law.waves == 0


def test_a_linear_law_is_found_and_no_group_sees_itself() -> None:
    torch.manual_seed(0)
    known = torch.randn(600, 2, 6) * torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 0.5])
    mix = torch.randn(2, 12, 6) * 0.3
    future = torch.einsum("nf,lfc->nlc", known.flatten(1), mix)
    groups = torch.arange(600) // 100
    law, crossed = Regression.cross_fitted(known, future, groups, 6, 6)
    assert (law.predict(known) - future).square().mean() < 0.01 * future.square().mean()
    noise = torch.randn(600, 2, 6)
    _, crossed = Regression.cross_fitted(known, noise, groups, 6, 6)
    held = (crossed - noise).square().mean()
    assert 1.0 <= held < 1.1  # nothing can be known of noise, and nothing is learnt by heart
    moved = noise.clone()
    moved[groups == 3] += 100
    _, other = Regression.cross_fitted(known, moved, groups, 6, 6)
    mine = groups == 3  # forecast by the others, who did not see the jump
    assert torch.allclose(other[mine], crossed[mine], atol=1e-4)
    assert (other - crossed)[~mine].mean() > 5
    again = Regression.from_config(law.config())
    assert torch.equal(again.predict(known), law.predict(known)) and again.ridges == law.ridges
    with pytest.raises(SciflowError, match="two or more"):
        Regression.cross_fitted(known, noise, groups * 0)


def test_a_uniform_west_wind_carries_a_field_eastward() -> None:
    latitude, longitude = torch.linspace(50, 40, 21), torch.linspace(0, 20, 41)
    north = torch.deg2rad(latitude)
    speed, omega, radius = 5.0, 7.292e-5, 6.371e6
    height = 2 * omega * speed * radius * north.cos()  # u = -(1/f) dPhi/dy, f = 2 omega sin
    winds = wind(height[None, :, None].expand(2, -1, 41), latitude, longitude)
    inside = winds[:, :, 4:-4, 4:-4]
    assert (inside[:, 0] - speed).abs().max() < 0.2 and inside[:, 1].abs().max() < 1e-4
    field = torch.exp(-(((longitude - 6) / 2) ** 2)).expand(2, 1, 21, 41)
    hours = 24.0
    moved = advected(field, winds, latitude, longitude, hours, 1.0)
    degrees = torch.rad2deg(speed * hours * 3600 / (radius * north.cos()))
    centre = (moved[0, 0] * longitude).sum(1) / moved[0, 0].sum(1)
    assert (centre - 6 - degrees)[4:-4].abs().max() < 0.4
    still = advected(field, winds * 0, latitude, longitude, hours)
    assert torch.allclose(still, field, atol=1e-5)


def test_numbers_survive_a_configuration() -> None:
    values = torch.randn(3, 4)
    assert torch.equal(unpacked(packed(values)), values)
    assert torch.equal(unpacked(packed(rounded(values), half=True)), rounded(values))
    with pytest.raises(SciflowError, match="copy the model again"):
        unpacked({**packed(values), "data": "AAAA"})
