"""Trajectories as datasets, PDEBench's and The Well's files: round trips through files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from sciflow.domains.fields import Fields, files, trajectories
from sciflow.domains.fields.commands import simulate
from sciflow.domains.fields.growing import Growing
from sciflow.domains.fields.layout import Layout
from sciflow.domains.fields.pdebench import PDEBenchFile
from sciflow.domains.fields.physics import Burgers, Incompressible
from sciflow.domains.fields.well import WellFile
from sciflow.errors import SciflowError

BURGERS = Burgers(8, 4, 1.0, resolution=32, viscosity=0.05)


def test_a_simulation_survives_the_way_through_a_file_and_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "burgers.nc"
    with Growing(path) as out:
        for start in (0, 2):
            made = BURGERS.simulate(7, 2, start=start)
            out.append(trajectories.to_xarray(BURGERS, made, start))
    data = files.read(path)
    assert data["u"].dims == ("sample", "time", "x") and data["u0"].dims == ("sample", "x_solver")
    assert data["sample"].values.tolist() == [0, 1, 2, 3]
    assert data["u"].attrs["units"] == "1" and data["x"].attrs["axis"] == "X"
    equation = trajectories.equation_of(data)
    assert equation == BURGERS
    given = trajectories.from_xarray(data, equation)
    want = trajectories.from_xarray(data, equation, ("u",))["u"]
    assert torch.equal(equation.solve(given)["u"], want)
    assert torch.equal(want, BURGERS.simulate(7, 4)["u"])
    smoke = Incompressible(8, 2, resolution=8)
    described = trajectories.to_xarray(smoke, {"smoke0": torch.zeros(1, 8, 8)})
    assert trajectories.equation_of(described) == smoke


def test_what_a_user_gives_is_checked_by_name() -> None:
    x = BURGERS.coordinates()["x"].numpy()
    u0 = xr.DataArray(np.sin(np.pi * x), {"x": x}, ("x",))
    f = xr.DataArray(
        np.zeros((4, 8)), {"interval": [0.125, 0.375, 0.625, 0.875]}, ("interval", "x")
    )
    good = xr.Dataset({"u0": u0, "f": f})
    given = trajectories.from_xarray(good, BURGERS)
    assert given["u0"].shape == (1, 8) and BURGERS.solve(given)["u"].shape == (1, 5, 8)

    def refused(data: xr.Dataset, match: str) -> None:
        with pytest.raises(SciflowError, match=match):
            trajectories.from_xarray(data, BURGERS)

    refused(good.drop_vars("f"), "add f")
    refused(good.assign(u0=u0.rename(x="y"), f=f), "dimensions of u0")
    refused(
        good.assign_coords(x=x * 100), "coordinate x: got 6.25 to 93.75, expected 0.0625 to 0.9375"
    )
    refused(good.drop_vars("x"), "coordinates: got.*one named 'x'.*assign x")
    refused(good.isel(x=slice(0, 6)), "length of x in u0: got 6, expected '?8")
    refused(good.assign_coords(x=np.where(x > 0.5, np.nan, x)), "coordinate x: got 4 missing")
    refused(
        good.assign(u0=u0.where(u0 < 0.9)), "variable u0: got 2 values that are missing.*'x': 3"
    )
    refused(good.assign(u0=u0.assign_attrs(units="m s-1")), "units of u0")
    refused(good.assign(f=f.expand_dims(sample=3)), "the same number")
    with pytest.raises(SciflowError, match="'equation'"):
        trajectories.equation_of(good)
    with pytest.raises(SciflowError, match="did you mean 'burgers'"):
        trajectories.equation_of(good.assign_attrs(equation='{"equation": "burger"}'))
    with pytest.raises(SciflowError, match="did you mean"):
        trajectories.to_xarray(BURGERS, {"u1": torch.zeros(1, 8)})


def test_pdebench_in_its_three_layouts(tmp_path: Path) -> None:
    values = np.arange(3 * 5 * 8, dtype=np.float32).reshape(3, 5, 8)
    x, t = np.linspace(0, 1, 8), np.linspace(0, 1, 6)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["tensor"], file["x-coordinate"], file["t-coordinate"] = values, x, t
    with PDEBenchFile(tmp_path / "a.hdf5") as file:
        assert len(file) == 3
        data = file.read(1, 2)
        assert data["tensor"].dims == ("sample", "time", "x")
        assert np.array_equal(data["tensor"].values, values[1:]) and data["sample"].values[0] == 1
        assert np.allclose(data["time"].values, t[:5])
        assert [len(b["sample"]) for b in file.batches(2)] == [2, 1]
        with pytest.raises(SciflowError, match="some of 0 to 3"):
            file.read(2, 2)
    lazy = files.read(tmp_path / "a.hdf5")
    some = lazy["tensor"].isel(sample=[2, 0], time=slice(None, None, -2), x=3)
    assert np.array_equal(some.values, values[[2, 0], ::-2, 3])
    layout = Layout.of(lazy)
    assert layout.fields == ("tensor",) and layout.read(lazy)["fields"].shape == (3, 1, 4, 8)
    assert len(Fields.read(tmp_path / "a.hdf5").objects) == 3
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for name in ("density", "Vx", "Vy", "pressure"):
            file[name] = np.zeros((2, 3, 4, 5))
        file["x-coordinate"], file["y-coordinate"] = np.arange(4.0), np.arange(5.0)
    with PDEBenchFile(tmp_path / "b.h5") as file:
        assert file.read()["Vx"].dims == ("sample", "time", "x", "y")
        assert set(file.variables) == {"density", "Vx", "Vy", "pressure"}
    with h5py.File(tmp_path / "c.h5", "w") as file:
        for k in range(2):
            file[f"{k:04d}/data"] = np.full((3, 4, 4, 2), [k, 10 + k])
            file[f"{k:04d}/grid/x"] = np.arange(4.0)
    with PDEBenchFile(tmp_path / "c.h5") as file:
        data = file.read()
        assert (data["channel1"].isel(sample=1) == 11).all() and len(file) == 2
    whole = (tmp_path / "a.hdf5").read_bytes()
    (tmp_path / "cut.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SciflowError, match="truncated"):
        PDEBenchFile(tmp_path / "cut.hdf5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = np.zeros((3, 3))
    with pytest.raises(SciflowError, match="is it of PDEBench"):
        PDEBenchFile(tmp_path / "other.h5")


def test_the_well(tmp_path: Path) -> None:
    path = tmp_path / "well.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["n_trajectories"], file.attrs["dataset_name"] = 2, "made_up"
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x", "y"]
        for name, size in (("time", 3), ("x", 4), ("y", 5)):
            dims[name] = np.arange(float(size))
        scalar = file.create_group("t0_fields")
        scalar["pressure"] = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
        scalar["mask"] = np.ones((4, 5))
        scalar["mask"].attrs.update(sample_varying=False, time_varying=False)
        scalar["profile"] = np.ones((2, 3, 4, 1))
        vector = file.create_group("t1_fields")
        vector["velocity"] = np.zeros((2, 3, 4, 5, 2))
        file["scalars/Re"] = 100.0
    with WellFile(path) as file:
        data = file.read(1)
    assert data["pressure"].dims == ("sample", "time", "x", "y") and data.sizes["sample"] == 1
    assert data["mask"].dims == ("x", "y") and data["profile"].dims == ("sample", "time", "x")
    assert {"velocity_x", "velocity_y"} <= set(data) and float(data["Re"]) == 100
    assert files.read(path)["velocity_y"].isel(sample=1, time=2).dims == ("x", "y")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = np.zeros((3, 3))
    with pytest.raises(SciflowError, match="is it a file of The Well"):
        WellFile(tmp_path / "other.h5")


def test_what_a_file_gives_is_solved_again(tmp_path: Path) -> None:
    made, again = tmp_path / "made.nc", tmp_path / "again.nc"
    numbers = ["points=8", "frames=4", "horizon=1.0", "resolution=32", "viscosity=0.05"]
    simulate("burgers", made, number=3, option=numbers)
    simulate("burgers", again, source=made)
    a, b = files.read(made).load(), files.read(again).load()
    assert np.array_equal(a.u, b.u) and a.attrs["equation"] == b.attrs["equation"]
    simulate("burgers", again, source=made, start=2)
    assert np.array_equal(files.read(again).u[0], a.u[2])
    simulate("burgers", again, source=made, option=["viscosity=0.5"])
    assert files.read(again).u.isel(time=-1).std() < 0.7 * a.u.isel(time=-1).std()
    a.drop_vars(["u0", "x_solver"], errors="ignore").to_netcdf(tmp_path / "samples.nc")
    simulate("burgers", again, source=tmp_path / "samples.nc")  # from the first frame
    assert np.allclose(files.read(again).u[:, 0], a.u[:, 0], atol=0.1)
    a.assign(u0=50 * a.u0).to_netcdf(tmp_path / "wild.nc")
    with pytest.raises(SciflowError, match="CFL.*larger speed"):
        simulate("burgers", again, source=tmp_path / "wild.nc")
    with pytest.raises(SciflowError, match="simulate burgers"):
        simulate("kuramoto", again, source=made)
