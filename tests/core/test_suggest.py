"""Suggestions: scales that follow the data, and that a path and a grid take as they are."""

from __future__ import annotations

import math

import pytest
import torch

from sciflow import Component, SciflowError, Streams, System
from sciflow.grids import Karras
from sciflow.paths import EDM, OU
from sciflow.spaces import Categorical, Euclidean, Torus
from sciflow.suggest import suggest
from tests.core.analytic import F64

DATA = 3.0 + 0.25 * Streams.range(0, 0, 400).normal((6,), F64)


def test_scales_are_those_of_the_data() -> None:
    found = suggest(DATA)
    assert found.centre.value == pytest.approx(3.0, abs=0.05)
    assert found.sigma_data.value == pytest.approx(0.25, rel=0.05) == found.std.value
    assert found.sigma_max.value == pytest.approx(float(torch.cdist(DATA, DATA).max()))
    assert 0 < found.sigma_min.value <= found.sigma_data.value / 50
    assert found.log_snr_start.value == pytest.approx(-2 * math.log(found.sigma_max.value))
    assert found.log_snr_start.value < found.log_snr_stop.value
    assert len(str(found).splitlines()) == len(list(found)) == 9
    assert all(advice.reason and "\n" not in advice.reason for _, advice in found)


def test_they_scale_and_shift_with_the_data() -> None:
    first, second = suggest(DATA), suggest(10 * (DATA - 3.0) + 3.0)
    for name in ("sigma_data", "sigma_max", "sigma_min", "std"):
        assert getattr(second, name).value == pytest.approx(
            10 * getattr(first, name).value, rel=0.02
        )
    assert second.centre.value == pytest.approx(3.0, abs=0.3)
    # Karras et al. take P_mean = -1.2 for sigma_data = .5.
    assert suggest((DATA - 3) * 2).log_mean.value == pytest.approx(-1.2, abs=0.06)


def test_padding_does_not_count_and_a_small_mean_is_no_centre() -> None:
    mask = torch.ones(400, 6, dtype=torch.bool)
    mask[:, 4:] = False
    dirty = torch.where(mask, DATA, 99.0)
    found, wanted = suggest(dirty, mask=mask), suggest(DATA[:, :4])
    for (name, ours), (_, theirs) in zip(found, wanted, strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-6), name
    assert suggest(DATA - 2.99).centre.value == 0.0


def test_a_path_and_a_grid_take_them() -> None:
    found = suggest(DATA)
    path = EDM(found.sigma_min.value, found.sigma_max.value, sigma_data=found.sigma_data.value)
    system = System({"x": Component(Euclidean(), path, "edm", centre=found.centre.value)})
    assert len(Karras().knots(10, system)) == 11
    assert path.log_snr(torch.tensor(1.0, dtype=F64)) == pytest.approx(found.log_snr_stop.value)
    assert OU(std=found.std.value).prior_scale == found.std.value
    angles = Streams.range(1, 0, 50).uniform((3, 3), F64) * 2
    on = suggest(angles, Torus(2.0))
    Component(Torus(2.0), EDM(on.sigma_min.value, on.sigma_max.value), "velocity")
    assert on.sigma_data.value == pytest.approx(
        2 / math.sqrt(12), rel=0.05
    )  # spread over all of it


def test_data_without_a_scale_are_refused() -> None:
    with pytest.raises(SciflowError, match="labels have no scale"):
        suggest(torch.zeros(3, 2, dtype=torch.int64), Categorical(2))
    with pytest.raises(SciflowError, match="all alike"):
        suggest(torch.ones(3, 2))
    with pytest.raises(SciflowError, match="finite"):
        suggest(torch.tensor([[1.0], [math.nan]]))
    with pytest.raises(SciflowError, match="two or more"):
        suggest(torch.ones(1, 2))
