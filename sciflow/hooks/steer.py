r"""Steering without gradients of the network: the believed data walk down a loss, and the state follows.

    D <- D - rate grad L(D)   (some times over),     x_0 <- (x_t - a D) / s

at every network call, so the flow heads for the corrected data; the network is called as often as without the hook, and
needs neither memory nor time for a backward pass. With believed class probabilities p, log p takes the place of D.

A correction is worth h / (1 - t) of itself in a step of length h on the linear path, which is the share of the way that
the step makes: early on the flow can still answer, at the end the loss has its way. FlowChef itself moves the state
by - rate grad L(D) at each step, whatever its length, which depends on the number of steps; here the rate does not.
Towards the start D knows little of the sample and pulls all samples alike: `low` waits until it does.

Reference: Patel et al., Steering rectified flow models in the vector field for controlled image generation (FlowChef),
arXiv:2412.00100.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import SciflowError, expected
from ..paths.base import Ends
from ..paths.gaussian import GaussianPath
from ..state import State
from ..system import System
from .base import Hook

_TINY = 1e-20


@dataclass(frozen=True)
class Steer(Hook):
    """Walk down a loss of the believed data.

    Args:
        loss: L, from the believed data (class probabilities, where labels jump) to one number per sample ``[B]``;
            differentiable, each sample by itself.
        rate: Length of a step; for a quadratic loss |y - A D|^2 / 2 with orthonormal rows of A, 1 satisfies it at once.
        iterations: Steps down at each network call.
        low: Time from which on it acts.
        high: Time up to which it acts.
    """

    gradient: ClassVar[bool] = True

    loss: Callable[[State], Tensor]
    rate: float = 1.0
    iterations: int = 1
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise expected("interval of steering", (self.low, self.high), "0 <= low <= high <= 1")
        if self.iterations < 1:
            raise expected("iterations of steering", self.iterations, "at least 1")

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        """Correct the believed data, and the noise with them.

        Raises:
            SciflowError: A component follows a path between two data sets.
        """
        if not self.low <= t <= self.high:
            return ends
        labels = {n for n, c in system.items() if c.kind == "logits" and ends[n].x0 is None}
        points = {
            name: end.x1.clamp_min(_TINY).log() if name in labels else end.x1.detach()
            for name, end in ends.items()
        }
        for _ in range(self.iterations):
            points = self._down(state, points, labels)
        return {
            name: Ends(points[name].softmax(-1))
            if name in labels
            else moved(system, name, t, end, points[name])
            for name, end in ends.items()
        }

    def _down(
        self, state: State, points: Mapping[str, Tensor], labels: set[str]
    ) -> dict[str, Tensor]:
        with torch.enable_grad():
            leaves = {name: x.detach().requires_grad_() for name, x in points.items()}
            data = {name: x.softmax(-1) if name in labels else x for name, x in leaves.items()}
            total = self.loss(state.replace(**data)).sum()
            slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        return {
            name: x if slope is None else x - self.rate * slope
            for (name, x), slope in zip(points.items(), slopes, strict=True)
        }


def moved(system: System, name: str, t: float, end: Ends, x1: Tensor) -> Ends:
    """Return the ends with another x_1 at the same x_t."""
    path = system[name].path
    if end.x0 is None:
        return Ends(x1)
    if end.z is not None or system[name].source or not isinstance(path, GaussianPath):
        raise SciflowError(
            f"hook Steer: got component {name!r} on path {type(path).__name__}, expected a path from noise to data; "
            "use hook Particles"
        )
    c = path.at(t)
    return Ends(x1, end.x0 - (x1 - end.x1) * (c.a / c.s))
