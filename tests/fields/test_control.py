"""Control of Burgers: the task can be solved, J is that of the re-simulation, controllers beat doing nothing."""

from __future__ import annotations

import pytest
import torch

from sciflow.domains.fields import control
from sciflow.domains.fields.physics import Burgers
from sciflow.errors import SciflowError

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
