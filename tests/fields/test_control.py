"""Control of Burgers: the task can be solved, J is that of the re-simulation, controllers beat doing nothing."""

from __future__ import annotations

import pytest
import torch
import xarray as xr

from sciflow.domains.fields import Fields, commands, control
from sciflow.domains.fields.physics import Burgers
from sciflow.domains.fields.trajectories import to_xarray
from sciflow.errors import SciflowError
from sciflow.model import Model

EQUATION = Burgers(8, 4, 2.0, resolution=16, viscosity=0.1)


def test_the_force_of_the_data_solves_its_own_task() -> None:
    made = EQUATION.simulate(0, 3)
    task = control.tasks(EQUATION, 0, 3)
    found = control.judge(EQUATION, task, made["f"])
    assert found.objective.max() < 1e-12
    assert torch.equal(found.states, made["u"])
    effort = control.judge(EQUATION, task, made["f"], 0.5).objective
    assert torch.allclose(effort, 0.5 * made["f"].square().sum((1, 2)) * (1 / 8) * 0.5)


def test_feedback_beats_nothing_and_the_gradient_beats_feedback() -> None:
    task = control.tasks(EQUATION, 1, 3)
    idle = control.uncontrolled(EQUATION, task).objective.mean()
    gain, fed = control.best_gain(EQUATION, task, (0.5, 2.0))
    assert gain in (0.5, 2.0) and fed.objective.mean() < 0.5 * idle
    best = control.descend(EQUATION, task, steps=4, start=fed.force)
    assert best.objective.mean() < 0.5 * fed.objective.mean()
    with pytest.raises(SciflowError, match="at least one"):
        control.best_gain(EQUATION, task, ())


@pytest.fixture(scope="module")
def model() -> Model:
    """An untrained model of trajectory and force; its data are a task each."""
    data = to_xarray(EQUATION, EQUATION.simulate(0, 16))
    network = {"name": "unet", "width": 8, "multiples": [1]}
    adapter = Fields.fit(data, "cosine", network, generate=["u", "f"], given=["end"])
    torch.manual_seed(0)
    return Model(adapter, adapter.network().eval(), name="tiny")


def test_force_and_trajectory_are_generated_given_both_ends(model: Model) -> None:
    layout = model.adapter.layout
    assert layout.made == ("u", "f") and layout.known == ("start", "end") and not layout.given
    data = to_xarray(EQUATION, EQUATION.simulate(0, 3))
    each = [data.isel(sample=k, drop=True) for k in range(3)]
    state = model.adapter.encode(each)
    assert state["bands"].shape[1] == 8
    back = model.adapter.decode(state)
    for one, other in zip(each, back, strict=True):
        for name in ("u", "f"):
            assert abs(one[name].values - other[name].values).max() < 1e-4
        assert abs(one["u"].values[-1] - other["uT"].values).max() < 1e-4
    again = Fields.from_config(model.adapter.config())
    assert again.config() == model.adapter.config()
    with pytest.raises(SciflowError, match="uT"):
        layout.read(data.drop_vars(["u"]), False)
    with pytest.raises(SciflowError, match="all other fields"):
        Fields.fit(data, generate=["f"])


def test_guides_lower_the_objective_of_the_solver(model: Model) -> None:
    task = control.tasks(EQUATION, 3, 3)
    settings = {"members": 2, "steps": 4, "solver": "ddim", "device": "cpu"}
    free = control.generated(model, task, guide="none", **settings)
    assert free.objective.shape == (6,)
    again = control.judge(
        EQUATION, control.Task(task.u0.repeat(2, 1), task.target.repeat(2, 1)), free.force
    )
    assert torch.equal(again.objective, free.objective)
    best = control.best(free, 3).objective
    assert torch.equal(best, torch.minimum(free.objective[:3], free.objective[3:]))
    solved = control.generated(model, task, guide="solver", **settings)
    assert solved.objective.mean() < 0.1 * free.objective.mean()
    costly = control.generated(model, task, guide="solver", effort=1.0, **settings)
    assert costly.force.square().mean() < solved.force.square().mean()
    # A sample does not depend on those beside it.
    alone = control.generated(
        model,
        control.Task(task.u0[:1], task.target[:1]),
        **{**settings, "members": 1},
        guide="solver",
    )
    assert torch.allclose(alone.force[0], solved.force[0], atol=1e-3)
    tilted = control.generated(model, task, guide="surrogate", strength=1.0, **settings)
    assert not torch.equal(tilted.force, free.force)
    with pytest.raises(SciflowError, match="guide"):
        control.generated(model, task, guide="solvr", **settings)
    other = Model(Fields.fit(to_xarray(EQUATION, EQUATION.simulate(0, 2))), torch.nn.Identity())
    with pytest.raises(SciflowError, match="start and end"):
        control.generated(other, task)


def test_the_verb_writes_what_the_solver_made_of_the_forces(
    model: Model, tmp_path, capsys
) -> None:
    folder = model.save(tmp_path / "model")
    data = to_xarray(EQUATION, EQUATION.simulate(5, 2))
    data.to_netcdf(tmp_path / "tasks.nc")
    commands.control(
        tmp_path / "tasks.nc",
        tmp_path / "made.nc",
        str(folder),
        number=2,
        guide="none",
        device="cpu",
    )
    made = xr.load_dataset(tmp_path / "made.nc")
    assert made.sizes["sample"] == 4 and made["task"].values.tolist() == [0, 1, 0, 1]
    final = (made["u"].isel(time=-1) - made["uT"]) ** 2
    assert abs(final.mean("x").values - made["J"].values).max() < 1e-5
    assert "re-simulated" in capsys.readouterr().out
    # Evaluation tries forces on the solver, too, whatever trajectory stands beside them.
    lied = [
        made.isel(sample=k).assign(u=made["u"].isel(sample=k) * (made.time < 0.1))
        for k in range(4)
    ]
    figure = Fields.metrics(lied).figures["miss"]
    assert abs(figure.value - float(made["J"].mean())) < 1e-3 and figure.reference > 0
