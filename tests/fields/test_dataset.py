"""Fields in and out of files: round trips, CF attributes, splits by date, and one clear error for what is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciflow.domains.fields import dataset, files
from sciflow.domains.fields.growing import Growing
from sciflow.errors import SciflowError


def weather(days: int = 10, **changes: object) -> xr.Dataset:
    """A small record with the names that files use."""
    time = np.arange("2001-01-01", days, dtype="datetime64[D]").astype("datetime64[ns]")
    values = np.random.default_rng(0).normal(size=(days, 4, 5)).astype(np.float32)
    coords = {"time": time, "lat": np.linspace(50, 47, 4), "lon": np.linspace(0, 4, 5), **changes}
    return xr.Dataset({"msl": (("time", "lat", "lon"), values, {"units": "Pa"})}, coords)


def saved(data: xr.Dataset, folder: Path, name: str = "a.nc") -> Path:
    data.to_netcdf(folder / name)
    return folder / name


def test_a_record_survives_the_way_through_a_file(tmp_path: Path) -> None:
    first = dataset.read(saved(weather(), tmp_path))
    files.write(first.to_xarray(), tmp_path / "b.nc")
    again = dataset.read(tmp_path / "b.nc", ["msl"])
    assert torch.equal(first.values, again.values) and (first.time == again.time).all()
    assert again.units == ("Pa",) and again.step == 24
    with xr.open_dataset(tmp_path / "b.nc") as data:
        assert data.latitude.attrs["units"] == "degrees_north"
        assert data.attrs["Conventions"].startswith("CF-")
    part = again.during("2001-01-03", "2001-01-05")
    assert len(part) == 3 and torch.equal(part.values, again.values[2:5])
    starts, ends = again.pairs(2, history=3)
    assert starts[0] == 2 and ends[-1] == 9 and (ends - starts == 2).all()


def test_a_mask_is_kept_and_a_gap_is_refused(tmp_path: Path) -> None:
    data = weather()
    data["msl"][:, 1, 2] = np.nan
    record = dataset.read(saved(data, tmp_path))
    assert not record.mask[1, 2] and record.mask.sum() == 19
    assert record.values.isfinite().all() and record.weight[1, 2] == 0
    assert np.isnan(record.to_xarray()["msl"].values[:, 1, 2]).all()
    data["msl"][3, 0, 0] = np.nan
    with pytest.raises(
        SciflowError, match="variable msl has values that are missing at 1 of 10 times"
    ):
        dataset.read(saved(data, tmp_path, "b.nc"))


def test_broken_files_and_coordinates_are_named_with_a_remedy(tmp_path: Path) -> None:
    whole = saved(weather(200), tmp_path).read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SciflowError, match=r"cut\.nc: .*cannot be read.*truncated"):
        dataset.read(tmp_path / "cut.nc")
    (tmp_path / "text.nc").write_text("not a file of fields")
    with pytest.raises(SciflowError, match="another kind"):
        dataset.read(tmp_path / "text.nc")
    with pytest.raises(SciflowError, match="no such file"):
        dataset.read(tmp_path / "none.nc")
    with pytest.raises(SciflowError, match="file type"):
        dataset.read(tmp_path / "a.grib")

    gap = weather().isel(time=[0, 1, 2, 4, 5, 6])
    with pytest.raises(
        SciflowError, match="coordinate time: got the step 48 h between positions 2 and 3"
    ):
        dataset.read(saved(gap, tmp_path, "gap.nc"))
    short = weather().isel(time=[0, 1, 3])
    with pytest.raises(SciflowError, match="step 48 h between positions 1 and 2, expected 24 h"):
        dataset.read(saved(short, tmp_path, "short.nc"))
    lost = weather(lat=[50, np.nan, 48, 47])
    with pytest.raises(
        SciflowError, match="coordinate latitude: got 1 missing values, the first at position 1"
    ):
        dataset.read(saved(lost, tmp_path, "lost.nc"))
    mixed = weather().isel(time=[0, 2, 1])
    with pytest.raises(SciflowError, match="sort by time"):
        dataset.read(saved(mixed, tmp_path, "mixed.nc"))
    bare = weather().drop_vars("lat")
    with pytest.raises(SciflowError, match="'latitude'"):
        dataset.read(saved(bare, tmp_path, "bare.nc"))
    flat = weather().rename(lat="y")
    with pytest.raises(SciflowError, match="dimensions"):
        dataset.read(saved(flat, tmp_path, "flat.nc"), ["msl"])
    with pytest.raises(SciflowError, match="did you mean 'msl'"):
        dataset.read(tmp_path / "a.nc", ["mls"])
    with pytest.raises(SciflowError, match="units of msl: got 'Pa'"):
        dataset.from_xarray(files.read(tmp_path / "a.nc"), ["msl"], {"msl": "hPa"})
    with pytest.raises(SciflowError, match="dates of the standard calendar"):
        dataset.read(saved(weather(time=np.arange(10.0)), tmp_path, "numbers.nc"))
    with pytest.raises(SciflowError, match="such as 2009-01-31"):
        dataset.read(tmp_path / "a.nc").during("spring", "summer")
    with pytest.raises(SciflowError, match="some of 2001-01-01 to 2001-07-19"):
        dataset.read(tmp_path / "a.nc").during("1999-01-01", "1999-02-01")


def test_levels_and_forecasts_follow_weatherbench(tmp_path: Path) -> None:
    low = weather().rename(msl="geopotential")
    data = xr.concat([low, low.assign(geopotential=low["geopotential"] + 7)], dim="level")
    data = data.assign_coords(level=[500, 850])
    path = saved(data.transpose("time", "level", "lon", "lat"), tmp_path)
    record = dataset.read(path, ["geopotential@500", "geopotential@850"])
    assert torch.allclose(record.values[:, 1] - record.values[:, 0], torch.tensor(7.0), atol=1e-5)
    with pytest.raises(SciflowError, match=r"one of \[500, 850\]"):
        dataset.read(path, ["geopotential@700"])
    values = torch.randn(3, 2, 4, 2, 4, 5)
    out = dataset.forecasts(record, values, record.time[:3], (1, 3))
    files.write(out, tmp_path / "forecast.nc")
    again = files.read(tmp_path / "forecast.nc")["geopotential@850"]
    assert again.dims == ("time", "prediction_timedelta", "number", "latitude", "longitude")
    assert np.array_equal(again.values, values[:, :, :, 1].numpy())
    assert again["prediction_timedelta"].values[1] == np.timedelta64(3, "D")


def test_units_may_be_spelled_in_many_ways() -> None:
    for text in ("m**2 s**-2", "m2 s-2", "m^2/s^2", "m2/s2"):
        files.check_units(xr.DataArray(0.0, attrs={"units": text}, name="z"), "m2 s-2")


def test_a_writer_keeps_what_was_appended(tmp_path: Path) -> None:
    def batch(start: int, count: int) -> xr.Dataset:
        values = np.arange(start, start + count, dtype=np.float32)[:, None] * np.ones(
            3, np.float32
        )
        return xr.Dataset(
            {"u": (("sample", "x"), values)},
            {"sample": np.arange(start, start + count), "x": [0.0, 0.5, 1.0]},
        )

    path = tmp_path / "new" / "u.nc"
    with pytest.raises(RuntimeError), Growing(path) as out:
        out.append(batch(0, 2))
        out.append(batch(2, 3))
        with xr.open_dataset(path) as seen:  # on disk at once
            assert seen.sizes["sample"] == 5
        raise RuntimeError("interrupted")
    with xr.open_dataset(path) as seen:
        assert np.array_equal(seen["u"].values[:, 0], np.arange(5))
        assert np.array_equal(seen["sample"].values, np.arange(5))
    with Growing(path) as out:
        pass
    assert path.exists()
    with pytest.raises(SciflowError, match="one named 'sample'"), Growing(path) as out:
        out.append(batch(0, 1).rename(sample="member"))


def test_zarr_is_read_and_written_where_it_is_installed(tmp_path: Path) -> None:
    try:
        import zarr  # noqa: F401
    except ImportError:
        with pytest.raises(SciflowError, match="zarr: not installed"):
            files.read(tmp_path / "a.zarr")
        return
    files.write(weather(), tmp_path / "a.zarr")
    again = files.read(tmp_path / "a.zarr")
    assert again.sizes["latitude"] == 4 and again.attrs["Conventions"].startswith("CF")
    with Growing(tmp_path / "b.zarr") as out:  # grows batch by batch
        for start in (0, 2):
            data = {"u": (("sample", "x"), np.full((2, 3), start, np.float32))}
            out.append(xr.Dataset(data, {"sample": [start, start + 1], "x": [0.0, 0.5, 1.0]}))
    grown = files.read(tmp_path / "b.zarr")
    assert grown["u"].values[:, 0].tolist() == [0, 0, 2, 2]
    assert grown["sample"].values.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_does_not_fit_in_memory_is_read_by_pieces(tmp_path: Path, suffix: str) -> None:
    array = pytest.importorskip("dask.array")
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"a{suffix}"
    files.write(weather(), path)
    lazy = files.read(path, {"time": 2})
    (name, *_) = lazy.data_vars
    assert isinstance(lazy[name].data, array.Array) and lazy[name].chunks[0][0] == 2
    loaded = files.load(lazy, [str(name)])
    assert isinstance(loaded[name].data, np.ndarray)
    assert np.array_equal(loaded[name], weather()[name], equal_nan=True)


@pytest.mark.data
def test_reanalyses_by_name(data_dir: Path) -> None:
    whole, test = dataset.record("eraint"), dataset.record("eraint:test")
    assert whole.variables == ("msl", "z500", "t850") and whole.values.shape == (4018, 3, 21, 24)
    assert len(dataset.record("eraint:train")) == 2922 and len(test) == 730
    assert str(test.time[0])[:10] == "2009-01-01" and test.step == 24
    assert dataset.record("era5_t2m:test").step == 1
    assert len(dataset.record("era5_t2m:test")) == 168
    sea = dataset.read(data_dir / "fields" / "ncep_slp_daily_2001-2010.nc")
    assert sea.variables == ("slp",) and sea.mask.all()
    sst = dataset.read(data_dir / "fields" / "noaa_ersst_sst_monthly_2010-2020.nc")  # by months
    assert 0.6 < sst.mask.float().mean() < 0.75 and sst.units == ("degC",)


def test_unknown_names() -> None:
    with pytest.raises(SciflowError, match="did you mean 'eraint'"):
        dataset.record("eraintt")
    with pytest.raises(SciflowError, match="validate"):
        dataset.record("eraint:valid")
    with pytest.raises(SciflowError, match="SCIFLOW_DATA.*download"):
        dataset.record("eraint:train")
