r"""Rewinding: a step of the forward process, from the data's side back towards noise.

On a Gaussian path x_t = r x_s + sqrt(v) z with r = a_t / a_s and v = s_t^2 - r^2 s_s^2, t < s; on a jump path a label
stays with probability t / s and is else redrawn from the prior. If x_s has the law of its time, so has x_t.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..errors import SciflowError
from ..paths.gaussian import GaussianPath
from ..paths.jump import Jump
from ..solvers.base import Step
from ..state import State
from ..streams import Streams
from ..system import Component, System


def lacks(component: Component) -> str:
    """Return why a component cannot be rewound, or "" where it can."""
    path = component.path
    if component.source:
        return "a path between two data sets has no forward process of its own"
    if isinstance(path, GaussianPath):
        return path.lacks(component.space, "posterior")
    return "" if isinstance(path, Jump) else "its forward process is not known here"


def check(system: System, what: str, remedy: str) -> None:
    """Refuse a system that cannot be rewound.

    Raises:
        SciflowError: Names `what` wants to rewind, the component and the `remedy`.
    """
    for name, component in system.items():
        reason = lacks(component)
        if reason:
            raise SciflowError(
                f"{what}: got component {name!r} on path {type(component.path).__name__}, expected one whose noise can "
                f"be added step by step: {reason}; {remedy}"
            )


def rewind(system: System, state: State, step: Step, streams: Streams) -> State:
    """Draw the state at ``step.t`` given that at ``step.s``.

    Args:
        system: A system that `check` has passed.
        state: State at ``step.s``.
        step: A step, which is undone.
        streams: Random streams of the batch.
    """
    fields = {}
    for name, component in system.items():
        back = _labels if isinstance(component.path, Jump) else _numbers
        fields[name] = back(
            component,
            state[name],
            step.now[name],
            step.then[name],
            streams,
            state.mask(name),
            system.centre(name, state),
        )
    return state.replace(**fields)


def _numbers(
    component: Component,
    x: Tensor,
    now: Any,
    then: Any,
    streams: Streams,
    mask: Tensor | None,
    centre: Tensor | float,
) -> Tensor:
    r = float(now.a) / float(then.a)
    v = float(now.s) ** 2 - (r * float(then.s)) ** 2
    noise = component.space.noise(x.shape[1:], streams, mask, x.dtype)
    x = (x - centre) * r + centre + math.sqrt(max(v, 0.0)) * noise
    return component.space.project(x, mask)


def _labels(
    component: Component,
    x: Tensor,
    now: float,
    then: float,
    streams: Streams,
    mask: Tensor | None,
    centre: Tensor | float,
) -> Tensor:
    path = component.path
    assert isinstance(path, Jump)
    keep = streams.uniform(x.shape[1:]) < now / then
    pi = torch.tensor(path.prior_probabilities, device=x.device).expand(*x.shape, -1)
    return component.space.project(torch.where(keep, x, streams.categorical(pi)), mask)
