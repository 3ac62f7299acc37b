r"""Langevin corrections, alone and before each step of a predictor.

    x <- x + e score + scale sqrt(2 e) z,   e = 2 alpha (snr n)^2,   alpha = (a_t / a_s)^2

moves x at a fixed time t and leaves its law as it is, up to O(snr^2). The length n stands for |z| / |score|:

* ``path``: n = s, which is what the quotient is where noise dominates (annealed Langevin dynamics). It depends on
  neither the sample nor its batch mates, and leaves the law alone in any dimension.
* ``sample``: the norms over the real elements of the sample itself. Its step is long where the score is small, and that
  changes the law: in d dimensions the variance ends up too large by about 4 / d (12 % for 36, 58 % for 8), and without
  bound for d <= 2. The score of x_t is Lipschitz with constant 1 / s^2 at most, whatever the data, so e is kept <= s^2.
* ``batch``: the means of both norms over the batch, as in the authors' programs. Every sample then depends on its batch
  mates; it serves to reproduce their results.

Reference: Song et al., arXiv:2011.13456, algorithms 2 to 5 (norms; alpha = 1 for VE, 1 - beta_k for VP: the same as
here); Song, Ermon, Generative modeling by estimating gradients of the data distribution, arXiv:1907.05600, algorithm 1
(path).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import expected, unknown
from ..paths.base import Ends
from ..shapes import expand
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .affine import Scalar, total
from .ancestral import Ancestral
from .base import Predict, Solver, Step
from .ode import Euler, Heun, Midpoint
from .sde import EulerMaruyama, ReverseDiffusion

NORMS = ("path", "sample", "batch")

PREDICTORS: dict[str, type[Solver]] = {
    "ancestral": Ancestral,
    "reverse-diffusion": ReverseDiffusion,
    "euler-maruyama": EulerMaruyama,
    "euler": Euler,
    "midpoint": Midpoint,
    "heun": Heun,
}


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


@dataclass(frozen=True)
class Langevin:
    """Langevin move of all components from one prediction.

    Args:
        snr: Signal-to-noise ratio of the move, >= 0; 0 moves nothing and draws nothing.
        scale: Scale of the noise, >= 0; below 1 the law is sharpened.
        norm: What the length of a move is measured by: ``"path"``, ``"sample"`` or ``"batch"``; see this module.
    """

    snr: float = 0.16
    scale: float = 1.0
    norm: str = "path"

    def __post_init__(self) -> None:
        for name in ("snr", "scale"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise expected(f"{name} of the Langevin corrector", value, "a number >= 0")
        if self.norm not in NORMS:
            raise unknown("norm of the Langevin corrector", self.norm, NORMS)

    @staticmethod
    def alpha(step: Step, name: str) -> Scalar:
        """Share of the squared signal at `step.t` in that at `step.s`."""
        return (step.now[name].a / step.then[name].a) ** 2

    def idle(self, system: System, step: Step) -> bool:
        """Whether nothing would move: no ratio, or no signal (a = 0) in any component."""
        signals = [step.now[name].a for name in system]
        return self.snr == 0 or not any(isinstance(a, Tensor) or a for a in signals)

    def correct(
        self,
        system: System,
        state: State,
        scores: Mapping[str, Tensor],
        step: Step,
        streams: Streams,
    ) -> State:
        """Move every component at ``step.t``.

        Args:
            system: The system.
            state: State at ``step.t``.
            scores: Scores there (see `scores`).
            step: Scalars of the step that comes next.
            streams: Random streams of the batch.
        """
        fields = {}
        for name, component in system.items():
            x, score = state[name], scores[name]
            noise = component.space.noise(x.shape[1:], streams, state.mask(name), x.dtype)
            alpha, s = self.alpha(step, name), step.now[name].s
            if self.norm == "path":
                size = 2 * alpha * (self.snr * s) ** 2
                x = total(x, 1.0, ((size, score), ((2 * size) ** 0.5 * self.scale, noise)))
            else:
                length = self._size(noise, score, alpha, s)
                spread = (2 * length).sqrt() * self.scale
                x = torch.addcmul(x, expand(length, x), score)
                x = torch.addcmul(x, expand(spread, x), noise)
            fields[name] = x
        return state.replace(**fields)

    def _size(self, noise: Tensor, score: Tensor, alpha: Scalar, s: Scalar) -> Tensor:
        up, down = _norm(noise), _norm(score)
        if self.norm == "batch":
            up, down = up.mean(0, keepdim=True), down.mean(0, keepdim=True)
        # A sample without real elements has no score, and stays.
        ratio = torch.where(down > 0, up / down, 0.0)
        size = 2 * alpha * (self.snr * ratio) ** 2
        return size if self.norm == "batch" else size.clamp_max(s**2)


def scores(
    system: System, state: State, ends: Mapping[str, Ends], step: Step
) -> dict[str, Tensor]:
    """Return the scores -E[x_0 | x_t] / s at ``step.t``, in their spaces, zero on padding."""
    result = {}
    for name, component in system.items():
        end, now = ends[name], step.now[name]
        if end.z is not None:  # between two data sets only the latent noise has a score
            score = end.z * (-1.0 / now.gamma)
        else:
            assert end.x0 is not None
            score = end.x0 * (-1.0 / now.s)
        result[name] = component.space.tangent(score, state.mask(name))
    return result


@dataclass(frozen=True)
class PredictorCorrector(Solver):
    """At each knot Langevin corrections, then the predictor's step from a new prediction.

    Converges as its predictor does when `snr` goes to 0; the corrector's own error, O(snr^2), does
    not vanish with the step. Its worth is that it forgets the errors of a learned score and of a
    predictor with few steps.

    Args:
        predictor: Name of the solver that moves on: one of `PREDICTORS`.
        snr: See `Langevin`.
        scale: See `Langevin`.
        norm: See `Langevin`.
        corrections: Corrections per step, each with a network call of its own.
    """

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 2
    needs: ClassVar[str] = "score"

    predictor: str = "reverse-diffusion"
    snr: float = 0.16
    scale: float = 1.0
    norm: str = "path"
    corrections: int = 1

    def __post_init__(self) -> None:
        if self.predictor not in PREDICTORS:
            raise unknown("predictor", self.predictor, PREDICTORS)
        if not isinstance(self.corrections, int) or self.corrections < 0:
            raise expected("corrections per step", self.corrections, "a whole number >= 0")
        predictor, langevin = self.parts()
        # On the instance, since both depend on the options; the class shows the default.
        object.__setattr__(self, "order", predictor.order)
        object.__setattr__(self, "calls", predictor.calls + self.corrections * (langevin.snr > 0))

    def lacks(self, component: Component) -> str:
        """As for every solver; the path must have a linear part besides, by which noise is measured."""
        path, space = component.path, component.space
        return super().lacks(component) or path.lacks(space, "exponential")

    def parts(self) -> tuple[Solver, Langevin]:
        """Return the predictor and the corrector."""
        return PREDICTORS[self.predictor](), Langevin(self.snr, self.scale, self.norm)

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Let the predictor plan, and keep both parts in each step."""
        predictor, langevin = self.parts()
        return [
            replace(step, extra=(step, predictor, langevin))
            for step in predictor.plan(system, knots)
        ]

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Correct all components at ``step.t``, then move them."""
        own, predictor, langevin = step.extra
        if not langevin.idle(system, step):
            for _ in range(self.corrections):
                score = scores(system, state, predict(state, step.t), step)
                state = langevin.correct(system, state, score, step, streams)
        return predictor.step(system, predict, state, own, carry, streams)
