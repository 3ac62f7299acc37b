r"""Particles: samples from p(x) exp(scale r(x)) for any reward r, by resampling a group on its way.

Every sample that is asked for becomes a group of K particles. At each knot a particle has the potential
scale r(D(x_t)), of its believed data, and the weight

    log w <- log w + scale (r(D(x_t)) - r(D(x_t')))

of the way since the last knot t'; at t = 1 it is the reward of the particle itself, so the potentials telescope to
scale r(x_1), and the weighted group is exact as K grows, whatever the potentials in between. Where the effective number
of particles, (sum w)^2 / sum w^2, falls below a share of K, the group is resampled (systematic), its weights made
even. The solver has to be stochastic, or copies stay copies; a network that was trained for a deterministic flow serves
as it is (`ancestral`, `euler-maruyama`).

Groups know nothing of each other: a sample is a function of its own number. Particles cost K times the network calls,
but none beyond, since the prediction that is judged is the one that the solver moves by.

Reference: Wu et al., Practical and asymptotically exact conditional sampling in diffusion models, arXiv:2306.17775;
Singhal et al., A general framework for inference-time scaling and steering of diffusion models (Feynman-Kac steering),
arXiv:2501.06848 (potential "difference"); Kim et al., arXiv:2503.19385 (flows).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import expected, unknown
from ..solvers.base import Predict, Solver, Step
from ..state import Frame, State
from ..streams import Streams
from ..system import System
from .base import Hook
from .reward import Reward, clean, judge
from .rows import remembering, select
from .wrapper import Wrapper

KEEP = ("one", "best", "all")


@dataclass(frozen=True)
class Particles(Hook):
    """Steer by resampling groups of particles (sequential Monte Carlo, Feynman-Kac steering).

    With threshold 0 and keep ``best`` it is best-of-n.

    Args:
        reward: r, any function of clean samples.
        count: K, particles per sample, >= 1.
        scale: Factor of the reward in the exponent; the inverse of a temperature.
        threshold: Share of K below which the effective number of particles leads to resampling; 0 never, 1 always.
        keep: What is handed back of each group: ``one`` particle drawn by weight, a sample of the tilted law; the
            ``best``; or ``all`` of them, resampled to even weights, K samples in place of one.
        low: Time from which on believed data are judged; before, they say little, and judging may be dear.
        strict: Whether believed data worth minus infinity end a particle on its way; else they say nothing, and it has
            the mean potential of its group, until it is judged itself.
    """

    reward: Reward
    count: int = 8
    scale: float = 1.0
    threshold: float = 0.5
    keep: str = "one"
    low: float = 0.0
    strict: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.count, int) or self.count < 1:
            raise expected("number of particles", self.count, "a whole number >= 1")
        for name in ("threshold", "low"):
            if not 0 <= getattr(self, name) <= 1:
                raise expected(f"{name} of particles", getattr(self, name), "between 0 and 1")
        if self.keep not in KEEP:
            raise unknown("what to keep of particles", self.keep, KEEP)

    def open(
        self, frame: Frame, start: State | None, streams: Streams
    ) -> tuple[Frame, State | None, Streams]:
        """Repeat every sample K times; particle k of sample i has the stream i K + k, of a purpose of its own."""
        count = self.count

        def spread(x: Tensor) -> Tensor:
            return x.repeat_interleave(count, 0)

        masks = {name: spread(x) for name, x in frame.masks.items()}
        condition = {name: spread(x) for name, x in frame.condition.items()}
        place = torch.arange(count, device=streams.index.device)
        index = (streams.index.unsqueeze(1) * count + place).flatten()
        own = Streams(streams.seed, index, f"{streams.purpose} particles {count}")
        start = None if start is None else start.map(spread)
        return replace(frame, masks=masks, condition=condition), start, own

    def solver(self, solver: Solver) -> Solver:
        """Resample before the steps of the solver."""
        return _Resampling(solver, self)

    def close(self, state: State) -> State:
        """Keep the first particle of each group, where the last step put the chosen one."""
        return state if self.keep == "all" else state.select(slice(None, None, self.count))


@dataclass(frozen=True)
class _Carry:
    """What is remembered between steps.

    Args:
        inner: Carry of the solver.
        weights: Log weights ``[B]``.
        potential: Potential of the last knot ``[B]``.
    """

    inner: Any
    weights: Tensor | None
    potential: Tensor | None


@dataclass(frozen=True)
class _Resampling(Wrapper):
    """Judge, resample, step.

    Args:
        inner: Solver of the steps.
        hook: The particles.
    """

    hook: Particles

    def start(self) -> Any:
        """Even weights."""
        return _Carry(self.inner.start(), None, None)

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Resample by the believed data of this knot and move on; after the last step, by the particles themselves."""
        hook, count = self.hook, state.batch_size
        inner, ends = carry.inner, None
        weights, potential = carry.weights, carry.potential
        if hook.threshold > 0 and hook.low <= step.t:
            ends = predict(state, step.t)
            weights, potential = self._weigh(
                clean(system, state, ends, step.t, streams), weights, potential, self.hook.strict
            )
            index, weights = self._choose(weights, streams, step.t, hook.threshold)
            state, potential = state.select(index), potential[index]
            inner, ends = select((inner, dict(ends)), index, count)
        known = remembering(predict, state, step.t, ends)
        state, inner = self.inner.step(system, known, state, step, inner, streams)
        if step.last:
            state = self._finish(state, weights, potential, streams)
        return state, _Carry(inner, weights, potential)

    def _weigh(
        self,
        samples: State,
        weights: Tensor | None,
        potential: Tensor | None,
        strict: bool = True,
    ) -> tuple[Tensor, Tensor]:
        now = self.hook.scale * judge(self.hook.reward, samples)
        if not strict:
            now = _forgiving(now.view(-1, self.hook.count)).flatten()
        if weights is None or potential is None:
            return now, now
        # Where the last potential was minus infinity, all of the group's were: it starts anew.
        return weights + now - torch.where(torch.isfinite(potential), potential, 0.0), now

    def _choose(
        self, weights: Tensor, streams: Streams, t: float, threshold: float
    ) -> tuple[Tensor, Tensor]:
        """Return which particles go on, and their new log weights."""
        k = self.hook.count
        log_w = weights.view(-1, k)
        w = _normalised(log_w)
        effective = 1 / (w**2).sum(1)
        again = effective < threshold * k if threshold < 1 else torch.ones_like(effective) > 0
        u = _groups(streams, k, f"resampling {t!r}").uniform((1,), torch.float64)
        level = (u + torch.arange(k, device=w.device)) / k
        chosen = torch.searchsorted(w.cumsum(1), level).clamp_max(k - 1)
        stay = torch.arange(k, device=w.device).expand_as(chosen)
        first = torch.arange(len(w), device=w.device).unsqueeze(1) * k
        again = again.unsqueeze(1)
        index = (torch.where(again, chosen, stay) + first).flatten()
        return index, torch.where(again, 0.0, log_w).flatten()

    def _finish(
        self, state: State, weights: Tensor | None, potential: Tensor | None, streams: Streams
    ) -> State:
        """Judge the samples; put the one to keep in the first place of its group."""
        k, keep = self.hook.count, self.hook.keep
        weights, potential = self._weigh(state, weights, potential)
        if keep == "all":
            index, _ = self._choose(weights, streams, 1.0, 1.0)
            return state.select(index)
        log_w = (potential if keep == "best" else weights).view(-1, k)
        if keep == "best":
            chosen = log_w.argmax(1)
        else:
            own = _groups(streams, k, "choice")
            chosen = own.categorical(_normalised(log_w))
        place = torch.arange(len(log_w), device=log_w.device)
        index = torch.arange(state.batch_size, device=log_w.device)
        return state.select(index.index_copy(0, place * k, place * k + chosen))


def _forgiving(potential: Tensor) -> Tensor:
    """Potentials ``[G, K]`` with the mean of the others of its group in the place of minus infinity."""
    none = potential == -torch.inf
    known = torch.where(none, 0.0, potential).sum(1, keepdim=True)
    mean = known / (~none).sum(1, keepdim=True).clamp_min(1)
    return torch.where(none, mean, potential)


def _normalised(log_w: Tensor) -> Tensor:
    """Weights ``[G, K]`` that sum to 1 in each group; even where all are zero."""
    top = log_w.amax(1, keepdim=True)
    w = torch.where(torch.isfinite(top), log_w - top, 0.0).exp()
    return w / w.sum(1, keepdim=True)


def _groups(streams: Streams, count: int, purpose: str) -> Streams:
    """Streams of the groups, one each, for one purpose."""
    index = streams.index[::count] // count
    return Streams(streams.seed, index, f"{streams.purpose} {purpose}")
