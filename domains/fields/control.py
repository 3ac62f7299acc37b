r"""Control of the Burgers equation: the task, controllers that need no learning, and generated ones.

The task is WDNO's: from u0, find a force that brings the state at the end close to u*, with

.. math:: J = \int |u(T, x) - u^*(x)|^2 dx + \alpha \int |f|^2 dt\,dx

of the re-simulated trajectory. u* is the end of a trajectory of the law of the data from the same u0, so it can be
reached. `proportional` is feedback, f = k (u* - u); `descend` is open-loop control by the gradient through the solver:
what a surrogate can hope for.

`generated` asks a model of trajectory and force together (`Layout.driven`), given u0 and u*, for several answers, and
judges each by the solver. The answers may be guided (`GUIDES`):

    none        nothing but the conditions.
    surrogate   p(u, f) exp(-strength J), with J of the believed u and f: the model is its own surrogate (WDNO).
    solver      the believed force walks down J by conjugate gradients through the solver, and the believed trajectory
                becomes the one that follows from it.

Reference: WDNO (Hu et al., ICLR 2025), section 3.2 (equations 4 and 5) and 4.2; the first there takes the gradient at
the believed data, not through the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import expected, unknown
from sciflow.hooks import Hook, Steer, Tilt
from sciflow.state import State

from . import files
from .coding import Coding
from .layout import END, START, Layout
from .metrics import control_objective
from .physics import Burgers
from .trajectories import SAMPLE, to_xarray

if TYPE_CHECKING:
    from sciflow.model import Model

GUIDES = ("none", "surrogate", "solver")
"""What may guide generation towards a small J; see the module."""
STRENGTH = 300.0
ITERATIONS = 3
SOLVED = 0.3
"""Time from which on the guide ``solver`` acts: before, little is believed."""
PROBE, FARTHEST = 1e-2, 1.0
"""Largest change of the force by which a curvature is taken, and in one step."""
_TINY = 1e-30


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


# -- generated controls -----------------------------------------------------------------------------------------------


def generated(
    model: Model,
    task: Task,
    members: int = 8,
    effort: float = 0.0,
    guide: str = "surrogate",
    strength: float = STRENGTH,
    iterations: int = ITERATIONS,
    seed: int = 0,
    **settings: Any,
) -> Controlled:
    """Generate forces and re-simulate them.

    Args:
        model: A model of trajectory and force given start and end.
        task: Starts and targets.
        members: Answers to each task.
        effort: alpha.
        guide: One of `GUIDES`.
        strength: Of the guide ``surrogate``, in one over J.
        iterations: Of the guide ``solver``, steps down at each network call.
        seed: Seed.
        settings: Further arguments of `sciflow.runtime.generate.generate`.

    Returns:
        ``members`` times as many as there are tasks; number i is an answer to task i modulo their number. Where the
        model ran, no solver did: the trajectories are those of `judge`.

    Raises:
        SciflowError: The model is none of control, or a force leaves the range of the solver's time step.
    """
    from sciflow.runtime.generate import generate

    coding, equation = controllable(model)
    hooks = guidance(coding, equation, effort, guide, strength, iterations)
    x = list(coding.layout.coordinates["x"])
    points = task.target.shape[1]
    start = task.u0.unflatten(1, (points, -1)).mean(2)
    asked = xr.Dataset(
        {"u0": ((SAMPLE, "x"), start.numpy()), "uT": ((SAMPLE, "x"), task.target.numpy())},
        {"x": x},
    )
    count = members * len(task.u0)
    made = generate(model, count, seed, hooks=hooks, options={"given": asked}, **settings)
    force = torch.stack([torch.from_numpy(one["f"].values) for one in made.objects])
    many = Task(task.u0.repeat(members, 1), task.target.repeat(members, 1))
    return judge(equation, many, force, effort)


def best(found: Controlled, tasks: int) -> Controlled:
    """Return the answer with the least J to each task: a choice that the solver allows before anything is done."""
    objective = found.objective.unflatten(0, (-1, tasks))
    chosen = objective.argmin(0) * tasks + torch.arange(tasks)
    return Controlled(found.force[chosen], found.states[chosen], found.objective[chosen])


def write(layout: Layout, task: Task, found: Controlled, path: str | Path) -> None:
    """Write answers: force, re-simulated trajectory, target and J, along ``sample``.

    Args:
        layout: Of the model.
        task: The tasks.
        found: Answers; number i belongs to task i modulo their number.
        path: File of fields.

    Raises:
        SciflowError: The file cannot be written.
    """
    of = torch.arange(len(found.objective)) % len(task.target)
    equation = layout.law()
    assert equation is not None
    whole = to_xarray(equation, {"u": found.states, "f": found.force})
    whole["uT"] = ((SAMPLE, "x"), task.target[of].numpy(), {"long_name": "target"})
    whole["J"] = ((SAMPLE,), found.objective.numpy(), {"long_name": "control objective"})
    whole["task"] = ((SAMPLE,), of.numpy(), {"long_name": "number of the task"})
    files.write(whole, path)


def controllable(model: Model) -> tuple[Coding, Burgers]:
    """Return the coding and the equation of a model of control.

    Raises:
        SciflowError: It is none.
    """
    coding = getattr(model.adapter, "coding", None)
    if not isinstance(coding, Coding) or not coding.layout.ends or "f" not in coding.layout.driven:
        raise expected(
            f"model {model.name}",
            "a model of other things",
            "one of trajectory and force given start and end",
            'train with generate = ["u", "f"], given = ["end"]',
        )
    equation = coding.layout.law()
    if not isinstance(equation, Burgers):
        raise expected(f"equation of model {model.name}", equation, "Burgers")
    return coding, equation


def guidance(
    coding: Coding,
    equation: Burgers,
    effort: float = 0.0,
    guide: str = "surrogate",
    strength: float = STRENGTH,
    iterations: int = ITERATIONS,
) -> list[Hook]:
    """Return the hooks of a guide (see `generated`).

    Raises:
        SciflowError: There is no such guide.
    """
    if guide not in GUIDES:
        raise unknown("guide", guide, GUIDES)
    if guide == "none":
        return []
    cell, interval = equation.length / equation.points, equation.horizon / equation.frames

    def objective(final: Tensor, target: Tensor, force: Tensor) -> Tensor:
        return control_objective(final, target, force, cell, interval, effort)

    if guide == "surrogate":

        def believed(state: State) -> Tensor:
            found = coding.decode(state)
            box = found["fields"]
            return -objective(box[:, 0, -1], found[END][:, 0], box[:, 1])

        return [Tilt(believed, strength)]

    def apart(state: State) -> Tensor:
        """Half the square of the way to better coefficients: one step down of length 1 goes there."""
        walked = _walked(coding, equation, state, effort, iterations)
        squares = [(state[k] - walked[k]).square().flatten(1).sum(1) for k in walked]
        return 0.5 * torch.stack(squares).sum(0)

    return [Steer(apart, low=SOLVED)]


def _walked(
    coding: Coding, equation: Burgers, state: State, effort: float, iterations: int
) -> dict[str, Tensor]:
    """Coefficients whose force has a smaller J and whose trajectory follows from it.

    Conjugate gradients (Polak, Ribiere) in the coefficients; the length of a step is that of the quadratic model whose
    curvature is J's along the step without the second derivative of the solver (Gauss, Newton). Each sample goes its
    own way.
    """
    found = coding.decode(
        State({k: x.detach() for k, x in state.items()}, condition=state.condition)
    )
    start, target = found[START][:, 0], found[END][:, 0]
    cell, interval = equation.length / equation.points, equation.horizon / equation.frames
    point = {k: x.detach() for k, x in state.items()}

    def solved(force: Tensor) -> Tensor:
        return equation.solve({"u0": start, "f": force})["u"]

    def dot(a: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return torch.stack([(a[k] * b[k]).flatten(1).sum(1) for k in a]).sum(0)

    def times(weight: Tensor, a: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: x * weight.reshape(-1, *[1] * (x.dim() - 1)) for k, x in a.items()}

    way: dict[str, Tensor] = {}
    old: dict[str, Tensor] = {}
    for _ in range(iterations):
        with torch.enable_grad():
            leaves = {k: x.clone().requires_grad_() for k, x in point.items()}
            force = coding.codec.decode(leaves)[:, 1]
            final = solved(force)[:, -1]
            loss = control_objective(final, target, force, cell, interval, effort)
            slopes = torch.autograd.grad(loss.sum(), list(leaves.values()))
        down = {k: -g for k, g in zip(leaves, slopes, strict=True)}
        if old:
            change = {k: down[k] - old[k] for k in down}
            turn = (dot(down, change) / dot(old, old).clamp_min(_TINY)).clamp_min(0)
            kept = times(turn, way)
            way = {k: down[k] + kept[k] for k in down}
        else:
            way = down
        old = down
        with torch.no_grad():
            force, final = force.detach(), final.detach()
            moved = coding.codec.decode({k: point[k] + way[k] for k in way})[:, 1] - force
            size = moved.abs().amax((1, 2)).clamp_min(_TINY)
            small = (PROBE / size)[:, None, None]
            bent = (solved(force + small * moved)[:, -1] - final) / small[:, 0]
            curve = 2 * control_objective(bent, 0 * bent, moved, cell, interval, effort)
            length = (dot(down, way) / curve.clamp_min(_TINY)).clamp_min(0)
            step = (length * size).clamp(max=FARTHEST) / size
            point = {k: point[k] + x for k, x in times(step, way).items()}
    with torch.no_grad():
        force = coding.codec.decode(point)[:, 1]
        return coding.codec.encode(torch.stack((solved(force)[:, 1:], force), 1))
