"""Forecasts of records keep the contract, know only what was known, and are verified against what followed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciflow.adapter import check
from sciflow.domains.fields import Fields, dataset, verification
from sciflow.domains.fields.forecast import ForecastCoding
from sciflow.domains.fields.forecaster import Forecaster, linear_gaussian
from sciflow.domains.fields.maps import draw
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling, load
from sciflow.runtime.generate import generate
from sciflow.streams import Streams

NETWORK = {"name": "unet", "width": 8, "multiples": [1, 2]}
LAT, LON = np.linspace(60, 46, 8), np.linspace(-10, 8, 10)


def weather(first: str = "2000-01-01", days: int = 1100, seed: int = 0) -> xr.Dataset:
    """Waves that drift eastward through a season, with noise: what a linear forecast can partly know."""
    time = np.datetime64(first, "D") + np.arange(days)
    day = (time - np.datetime64("2000-01-01")).astype(float)
    rng = np.random.default_rng(seed)
    season = 5 * np.cos(2 * np.pi * day / 365.25)
    amplitude = np.zeros((days, 2, 3))
    for k in range(1, days):  # a slow random walk that returns
        amplitude[k] = 0.9 * amplitude[k - 1] + rng.normal(size=(2, 3))
    x, y = np.meshgrid(np.linspace(0, 2 * np.pi, 10), np.linspace(0, np.pi, 8))
    parts = [
        amplitude[:, 0, j, None, None] * np.cos((j + 1) * x - 0.7 * day[:, None, None]) * np.sin(y)
        for j in range(3)
    ]
    z = sum(parts) + amplitude[:, 1, 0, None, None] * np.sin(2 * y)
    base = {"z500": (50000, 300.0, "m**2 s**-2"), "t850": (280, 2.0, "K")}
    data = {}
    for name, (level, size, units) in base.items():
        value = level + size * (z + 0.1 * rng.normal(size=z.shape)) + size * season[:, None, None]
        data[name] = (
            ("time", "latitude", "longitude"),
            value.astype(np.float32),
            {"units": units},
        )
    noon = (time + np.timedelta64(12, "h")).astype("datetime64[ns]")
    return xr.Dataset(data, {"time": noon, "latitude": LAT, "longitude": LON})


def record(data: xr.Dataset) -> dataset.Record:
    return dataset.from_xarray(data, ["z500", "t850"])


OPTIONS = {"leads": [1, 2, 4], "history": 2, "steering": "z500", "components": 20, "kept": 10}


@pytest.fixture(scope="module")
def adapter() -> Forecaster:
    coding, _ = ForecastCoding.fit(record(weather()), OPTIONS)
    return Forecaster(coding, network=NETWORK)


@pytest.fixture(scope="module")
def later() -> xr.Dataset:
    return weather("2003-02-01", 40, seed=5)


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    return all(
        np.allclose(a[n], b[n], rtol=1e-5, atol=0.01, equal_nan=True) for n in b.data_vars
    ) and bool(a["time"] == b["time"])


def true(adapter: Forecaster, data: xr.Dataset, starts: tuple[int, ...]) -> list[xr.Dataset]:
    """What followed some starts, as forecasts."""
    steps = [*range(1 - adapter.forecast.box.history, 1), *adapter.forecast.box.leads]
    found = []
    for k in starts:
        part = data.isel(time=[k + s for s in steps])
        leads = (part["time"].values - data["time"].values[k]).astype("timedelta64[ns]")
        part = part.rename(time="prediction_timedelta").assign_coords(prediction_timedelta=leads)
        found.append(part.assign_coords(time=data["time"].values[k]))
    return found


def test_the_adapter_keeps_the_contract(adapter: Forecaster, later: xr.Dataset) -> None:
    objects = true(adapter, later, (3, 10, 20))
    check(adapter, objects, same)
    made = adapter.decode(adapter.encode(objects))
    assert made[1]["valid_time"].values[-1] == later["time"].values[14]
    assert made[0]["z500"].attrs["units"] == "m**2 s**-2"


@pytest.mark.parametrize("process", ["vp", "linear", "edm", "gaussian-bayes", "interpolant"])
def test_any_path_by_one_key(adapter: Forecaster, later: xr.Dataset, process: str) -> None:
    other = Forecaster(adapter.forecast, process, NETWORK)
    check(other, true(other, later, (3, 10)), same)


def test_an_untrained_network_is_the_linear_forecast_with_an_honest_spread(
    adapter: Forecaster, tmp_path: Path
) -> None:
    """A network that says nothing leaves residuals a spread of about their own size about the linear forecast."""
    held = weather("2003-02-01", 70, seed=7)
    held.to_netcdf(tmp_path / "held.nc")
    model = Model(adapter, adapter.network().eval(), Sampling("ddim", steps=4), name="tiny")
    options = {"given": str(tmp_path / "held.nc"), "start": "2003-02-05/2003-04-01"}
    count = len(adapter.given(tmp_path / "held.nc", options["start"])["time"])
    made = generate(model, n=8 * count, options=options).objects
    found = verification.evaluate(made, [held])
    for lead in (24, 48, 96):
        ratio = found[f"spread_skill of t850, {lead} h"]
        score = found.figures[f"crps of t850, {lead} h"]
        assert ratio is not None and 0.5 < ratio < 1.5
        assert score.value is not None and score.reference is not None
        assert score.value < 0.8 * score.reference and score.over == count
    again = generate(model, n=3, batch_size=2, options=options).objects
    assert all(same(a, b) for a, b in zip(made, again, strict=False))


def test_the_linear_gaussian_forecast_knows_its_errors() -> None:
    """Its network is exact: better than none at every noise, and spread and error of its ensembles agree."""
    model = linear_gaussian(record(weather()), **OPTIONS)
    adapter, rows = Forecaster.from_data(
        {"train": record(weather()), **OPTIONS},
        {"network": {**NETWORK, "directions": 20}},
    )
    clean, streams = rows.batch(torch.arange(64)), Streams.range(0, 0, 64)
    t = streams.uniform(())
    loss = {
        name: float(adapter.system().loss(network, clean, t, streams).total)
        for name, network in (
            ("exact", model.network),
            ("beside", adapter.network()),
            ("none", lambda state, t: {"bands": torch.zeros_like(state["bands"])}),
        )
    }
    assert max(loss["exact"], loss["beside"]) < loss["none"]
    held = weather("2003-02-01", 70, seed=7)
    options = {"given": held, "start": "2003-02-05/2003-04-01"}
    made = generate(model, n=448, options=options).objects
    found = verification.evaluate(made, [held], train=[weather()])
    for lead in (24, 48, 96):
        ratio = found[f"spread_skill of t850, {lead} h"]
        assert ratio is not None and 0.75 < ratio < 1.35
        beyond = found.figures[f"outside of t850, {lead} h"]
        assert beyond.value == pytest.approx(beyond.reference, rel=0.5)
    near, far = (found[f"acc of t850, {lead} h"] for lead in (24, 96))
    assert near is not None and far is not None and 1 > near > max(far, 0.3)


def test_forecasts_survive_files_and_are_evaluated_there(
    adapter: Forecaster, later: xr.Dataset, tmp_path: Path
) -> None:
    objects = true(adapter, later, (3, 10, 20))
    decoded = adapter.decode(adapter.encode(objects))
    with Fields.writer(tmp_path / "ens.nc") as out:
        out.append(decoded[:2])
        out.append(decoded[2:])
    read = Fields.read(tmp_path / "ens.nc").objects
    assert all(same(a, b) for a, b in zip(decoded, read, strict=True))
    assert (read[2]["valid_time"].values == decoded[2]["valid_time"].values).all()
    with xr.open_dataset(tmp_path / "ens.nc") as data:
        assert data["time"].attrs["standard_name"] == "forecast_reference_time"
        assert data["latitude"].attrs["units"] == "degrees_north"
    perfect = Fields.metrics(read, [later])
    assert perfect["mae of z500, 48 h"] == pytest.approx(0, abs=0.05)
    assert len(Fields.describe(read)) == 3 and "RMSE of the ensemble mean" in perfect.to_text()
    draw(read, tmp_path / "a.svg")
    draw([read[0], read[0] * 1.001], tmp_path / "b.png")
    with pytest.raises(SciflowError, match="bring what followed"):
        Fields.metrics(read, [weather("2010-01-01", 20)])
    with pytest.raises(SciflowError, match="another field than the reference"):
        Fields.metrics(read, [weather("2003-02-01", 40, seed=9)])


def test_the_future_does_not_change_what_is_given(adapter: Forecaster, later: xr.Dataset) -> None:
    whole = adapter.given(later, "2003-02-10")
    short = adapter.given(later.isel(time=slice(0, 10)))
    assert torch.equal(whole["past"], short["past"]) and torch.equal(whole["time"], short["time"])
    turned = later.isel(latitude=slice(None, None, -1), time=slice(0, 10))
    assert torch.allclose(adapter.given(turned)["past"], short["past"], atol=1e-5)


def test_a_model_survives_its_folder(
    adapter: Forecaster, later: xr.Dataset, tmp_path: Path
) -> None:
    model = Model(adapter, adapter.network().eval(), Sampling("ddim", steps=2))
    again = load(model.save(tmp_path / "m"))
    assert isinstance(again.adapter, Forecaster)
    options = {"given": later}
    a, b = (m.adapter.frame(Streams.range(0, 0, 2), options) for m in (model, again))
    assert all(torch.equal(a.condition[n], b.condition[n]) for n in a.condition)


def test_masked_cells_stay_without_values(tmp_path: Path) -> None:
    data = weather(days=900)
    for name in data:
        data[name][:, 2:4, 5:7] = np.nan
    adapter, rows = Fields.from_data(
        {"train": record(data), "leads": [1, 2], "history": 1, "components": 10, "kept": 5},
        {"network": NETWORK},
    )
    assert isinstance(adapter, Forecaster) and len(rows) == 898
    made = adapter.decode(
        adapter.system().prior(
            (frame := adapter.frame(Streams.range(0, 0, 2), {"given": data})).shapes,
            Streams.range(0, 0, 2),
            condition=frame.condition,
        )
    )
    gone = np.isnan(made[0]["z500"].values)
    assert gone[:, 2:4, 5:7].all() and not gone[:, :2].any()
    again = Forecaster.from_config(adapter.config())
    assert again.forecast.box == adapter.forecast.box
    filled = data.fillna(0.0)
    assert again.given(filled)["past"].abs().max() < 50
    other = weather(days=30)
    other["t850"][:, 0, 0] = np.nan
    with pytest.raises(SciflowError, match="latitude 60, longitude -10.*fill them"):
        again.given(other)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.drop_vars("t850"), "variable.*t850"),
        (lambda d: d.assign(t850=d.t850.assign_attrs(units="degC")), "units of t850.*convert"),
        (lambda d: d.isel(time=[0, 1, 3, 4]), "coordinate time.*fill the gap"),
        (lambda d: d.isel(time=slice(0, 8, 2)), "step of time.*24 h"),
        (lambda d: d.isel(time=[0]), "times up to the start.*add the times"),
        (lambda d: d.isel(latitude=slice(0, 5)), "coordinate latitude.*interpolate"),
        (lambda d: d.assign_coords(longitude=d.longitude + 180), "coordinate longitude"),
        (lambda d: d.rename(latitude="row"), "latitude"),
        (lambda d: d.assign_coords(time=np.arange(d.sizes["time"])), "coordinate time.*dates"),
        (lambda d: d.assign_coords(time=d.time + np.timedelta64(3, "h")), "hours of the day"),
        (lambda d: d.assign(t850=d.t850.where(d.time > d.time[1])), "t850.*missing"),
    ],
)  # fmt: skip
def test_wrong_files_name_variable_and_remedy(
    adapter: Forecaster, later: xr.Dataset, tmp_path: Path, spoil, message: str
) -> None:
    spoil(later.copy(deep=True)).to_netcdf(tmp_path / "state.nc")
    with pytest.raises(SciflowError, match=message):
        adapter.frame(Streams.range(0, 0, 2), {"given": str(tmp_path / "state.nc")})


def test_wrong_wishes_and_configurations(
    adapter: Forecaster, later: xr.Dataset, tmp_path: Path
) -> None:
    streams = Streams.range(0, 0, 2)
    for options, message in (
        ({"gven": 1}, "did you mean 'given'"),
        ({"start": "2003-02-05"}, "name the file"),
        ({"given": later, "start": "1999-02-05"}, "some of 2003-02-01"),
        ({"given": later, "start": "2003-02-01"}, "times up to the start"),
        ({"given": str(tmp_path / "none.nc")}, "no such file"),
    ):
        with pytest.raises(SciflowError, match=message):
            adapter.frame(streams, options)
    for data, message in (
        ({"leads": [0]}, "steps ahead"),
        ({"leads": [1], "histroy": 2}, "did you mean 'history'"),
        ({"leads": [1], "steering": "z50"}, "did you mean 'z500'"),
        ({"leads": [1], "codec": {"levels": 2}}, "codec of forecasts"),
    ):
        with pytest.raises(SciflowError, match=message):
            Fields.from_data({"train": record(later), **data}, {})
    whole = tmp_path / "whole.nc"
    later.to_netcdf(whole)
    (tmp_path / "cut.nc").write_bytes(whole.read_bytes()[:9000])
    with pytest.raises(SciflowError, match="truncated"):
        adapter.frame(streams, {"given": str(tmp_path / "cut.nc")})


def test_widths_stretch_what_is_generated_about_the_linear_forecast(
    adapter: Forecaster, later: xr.Dataset
) -> None:
    """Residuals of each lead and variable by its factor, of the same noise; encoding undoes it."""
    factors = ((0.5, 1.0), (2.0, 0.25), (1.0, 1.5))
    coding = replace(adapter.forecast, widths=factors)
    other = Forecaster(coding, network=NETWORK)
    network = (
        adapter.network().eval()
    )  # of the residuals before they are stretched: the same for both
    known = adapter.given(later, "2003-02-10")
    base = coding.fields(
        coding.base(known["past"], known["time"]),
        coding.box.times(known["time"].numpy().astype("datetime64[m]"), coding.box.leads),
    )[0]
    plain, wide = (
        generate(Model(one, network, Sampling("ddim", steps=2)), n=2, options={"given": later.isel(time=slice(0, 10))})
        for one in (adapter, other)
    )  # fmt: skip
    for a, b in zip(plain.objects, wide.objects, strict=True):
        for v, name in enumerate(coding.box.variables):
            before = torch.from_numpy(a[name].values[2:]) - base[:, v]
            after = torch.from_numpy(b[name].values[2:]) - base[:, v]
            factor = torch.tensor(factors)[:, v, None, None]
            assert float(before.std()) > 0
            assert torch.allclose(after, before * factor, atol=1e-3 * float(before.abs().max()))
            assert (a[name].values[:2] == b[name].values[:2]).all()  # what is known stays
    check(other, true(other, later, (3, 10)), same)
    assert "widths" not in adapter.config()["forecast"]
    again = Forecaster.from_config(json.loads(json.dumps(other.config())))
    assert again.forecast.widths == factors
    for wrong in (
        ((1.0, 1.0),),
        ((1.0, 1.0),) * 2 + ((1.0, -1.0),),
        ((1.0,), (1.0, 2.0), (1.0, 2.0)),
    ):
        with pytest.raises(SciflowError, match="3 rows of 2 factors above 0"):
            replace(adapter.forecast, widths=wrong)
