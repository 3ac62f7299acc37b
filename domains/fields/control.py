r"""Control of the Burgers equation: the task, and two controllers that need no learning.

The task is WDNO's: from u0, find a force that brings the state at the end close to u*, with

.. math:: J = \int |u(T, x) - u^*(x)|^2 dx + \alpha \int |f|^2 dt\,dx

of the re-simulated trajectory. u* is the end of a trajectory of the law of the data from the same u0, so it can be
reached. `proportional` is feedback, f = k (u* - u); `descend` is open-loop control by the gradient through the solver:
what a surrogate can hope for.

Reference: WDNO (Hu et al., ICLR 2025), section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciflow.errors import expected

from .metrics import control_objective
from .physics import Burgers


@dataclass(frozen=True)
class Task:
    """Control tasks.

    Args:
        u0: Initial states ``[B, points or more]``.
        target: u*, ``[B, points]``.
    """

    u0: Tensor
    target: Tensor


@dataclass(frozen=True)
class Controlled:
    """Forces and what they do.

    Args:
        force: ``[B, frames, points]``.
        states: Re-simulated ``[B, frames + 1, points]``.
        objective: J, ``[B]``.
    """

    force: Tensor
    states: Tensor
    objective: Tensor


def tasks(equation: Burgers, seed: int, count: int, start: int = 0) -> Task:
    """Draw tasks from the law of the data: starts and ends of its trajectories."""
    made = equation.simulate(seed, count, start)
    return Task(made["u0"], made["u"][:, -1])


def judge(equation: Burgers, task: Task, force: Tensor, effort: float = 0.0) -> Controlled:
    """Re-simulate forces and measure them.

    Args:
        equation: The equation.
        task: Starts and targets.
        force: ``[B, frames, points]``.
        effort: alpha.

    Raises:
        SciflowError: The force leaves the range of the solver's time step.
    """
    u = equation.solve({"u0": task.u0, "f": force})["u"]
    cell = equation.length / equation.points
    interval = equation.horizon / equation.frames
    value = control_objective(u[:, -1], task.target, force, cell, interval, effort)
    return Controlled(force, u, value)


def uncontrolled(equation: Burgers, task: Task) -> Controlled:
    """No force at all."""
    shape = (len(task.u0), equation.frames, equation.points)
    return judge(equation, task, task.u0.new_zeros(shape))


def proportional(equation: Burgers, task: Task, gain: float, effort: float = 0.0) -> Controlled:
    """Feedback f = k (u* - u), renewed at each saved time.

    Args:
        equation: The equation.
        task: Starts and targets.
        gain: k, in one over time.
        effort: alpha.

    Raises:
        SciflowError: The gain drives the state out of the range of the solver's time step.
    """
    steered = equation.steer(task.u0, lambda k, u: gain * (task.target - u))
    return judge(equation, task, steered["f"], effort)


def best_gain(
    equation: Burgers, task: Task, gains: Sequence[float], effort: float = 0.0
) -> tuple[float, Controlled]:
    """Return the gain with the least mean J, and what it does.

    Raises:
        SciflowError: There are no gains.
    """
    if not gains:
        raise expected("gains", gains, "at least one number")
    found = {gain: proportional(equation, task, gain, effort) for gain in gains}
    best = min(found, key=lambda gain: float(found[gain].objective.mean()))
    return best, found[best]


def descend(
    equation: Burgers,
    task: Task,
    steps: int = 20,
    effort: float = 0.0,
    start: Tensor | None = None,
) -> Controlled:
    """Minimise J by L-BFGS on the gradient through the solver.

    Args:
        equation: The equation.
        task: Starts and targets.
        steps: Iterations.
        effort: alpha.
        start: First force ``[B, frames, points]``; None for zero.
    """
    shape = (len(task.u0), equation.frames, equation.points)
    force = (
        task.u0.new_zeros(shape) if start is None else start.detach().clone()
    ).requires_grad_()
    search = torch.optim.LBFGS([force], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = judge(equation, task, force, effort).objective.sum()
        value.backward()
        return value

    search.step(loss)
    with torch.no_grad():
        return judge(equation, task, force.detach(), effort)
