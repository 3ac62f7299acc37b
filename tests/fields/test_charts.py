"""Charts: drawn where there is something to see, and only there; the page carries them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciflow.domains.fields import Fields, charts
from sciflow.domains.fields.physics import Burgers
from sciflow.domains.fields.trajectories import to_xarray
from sciflow.errors import SciflowError
from sciflow.runtime.evaluate import show

EQUATION = Burgers(16, 8, 2.0, resolution=16, viscosity=0.1)


def samples(count: int) -> list[xr.Dataset]:
    data = to_xarray(EQUATION, EQUATION.simulate(0, count))
    return [data.isel(sample=k, drop=True) for k in range(count)]


def test_a_fan_needs_an_ensemble(tmp_path: Path) -> None:
    one, other = samples(2)
    alike = [one.assign(u=one.u + (0.01 * k * (one.time > 0))) for k in range(4)]
    assert charts.fan(alike, tmp_path / "a.svg")
    assert (
        "median" in (tmp_path / "a.svg").read_text() or (tmp_path / "a.svg").stat().st_size > 5000
    )
    assert not charts.fan(alike[:3], tmp_path / "b.svg")
    assert not charts.fan([one, other] * 4, tmp_path / "c.svg")
    assert charts.fan([one, other] * 4, tmp_path / "c.png", [one, other])
    with pytest.raises(SciflowError, match=r"\.gif"):
        charts.animation(alike, tmp_path / "d.svg")
    with pytest.raises(SciflowError, match="none"):
        charts.spectra([], tmp_path / "d.svg")


def test_the_page_shows_fan_spectrum_and_animation(tmp_path: Path) -> None:
    (one,) = samples(1)
    alike = xr.concat(
        [one.assign(u=one.u + (0.01 * k * (one.time > 0))) for k in range(4)], "sample"
    )
    alike.to_netcdf(tmp_path / "made.nc")
    one.to_netcdf(tmp_path / "true.nc")
    page = show(
        tmp_path / "made.nc", tmp_path / "page.html", against=tmp_path / "true.nc"
    ).read_text()
    assert page.count('class="picture"') == 4 and "image/gif" in page
    Fields.draw([one], tmp_path / "one.gif")
    assert (tmp_path / "one.gif").read_bytes().startswith(b"GIF8")


def test_pictures_of_two_dimensions_move(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    one = xr.Dataset({"q": (("time", "y", "x"), values)}, {"time": [0.0, 1.0, 2.0]})
    assert charts.animation([one], tmp_path / "a.gif", [one])
    assert charts.spectra([one], tmp_path / "a.svg")
