r"""Candidates: steps that are drawn several times, of which a reward chooses one; for each sample by itself.

* `Candidates`: M draws of every step, one of them chosen with probability ~ exp(scale r(D(x_s))), D the believed data
  at the end of the step (SVDD); with an infinite scale the best.
* `Rollover`: draws one after the other, and goes on as soon as one is better than what it comes from; the draws that it
  did not need are left to later steps (rollover budget forcing). A sample for which nothing better comes up takes the
  best of its draws. It climbs, and does not sample any known law.

The prediction that judges a draw is the one that the next step starts from, so M draws cost M calls. The solver has to
be stochastic. The last step is made once, since it returns believed data and draws nothing.

Reference: Li et al., Derivative-free guidance in continuous and discrete diffusion models with soft value-based
decoding, arXiv:2408.08252 (SVDD-PM); Kim et al., Inference-time scaling for flow models via stochastic
generation and rollover budget forcing, arXiv:2503.19385.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import expected
from ..paths.base import Ends
from ..solvers.base import Predict, Solver, Step
from ..state import State
from ..streams import Streams
from ..system import System
from .base import Hook
from .reward import Reward, clean, judge
from .rows import mix, remembering, scatter, select
from .wrapper import Wrapper


@dataclass(frozen=True)
class Candidates(Hook):
    """Draw every step several times and choose (soft value-based decoding).

    Args:
        reward: r, any function of clean samples.
        count: M, draws per step, >= 1.
        scale: Factor of the reward in the exponent; infinite takes the best.
        low: Time from which on it chooses; steps that begin before are made once.
    """

    reward: Reward
    count: int = 4
    scale: float = math.inf
    low: float = 0.0

    def __post_init__(self) -> None:
        _check(self.count, self.low)

    def solver(self, solver: Solver) -> Solver:
        """Choose among several steps."""
        return _Chosen(solver, self)


@dataclass(frozen=True)
class Rollover(Hook):
    """Draw a step until it is better than what it comes from, within a budget that rolls over.

    Args:
        reward: r, any function of clean samples.
        quota: Draws per step that each sample may make on average, >= 1.
        low: Time from which on it chooses; steps that begin before are made once.
    """

    reward: Reward
    quota: int = 4
    low: float = 0.0

    def __post_init__(self) -> None:
        _check(self.quota, self.low)

    def solver(self, solver: Solver) -> Solver:
        """Choose among as many steps as are needed."""
        return _Forced(solver, self)


def _check(count: int, low: float) -> None:
    if not isinstance(count, int) or count < 1:
        raise expected("draws per step", count, "a whole number >= 1")
    if not 0 <= low <= 1:
        raise expected("time from which draws are chosen", low, "between 0 and 1")


@dataclass(frozen=True)
class _Draw:
    """A step that was made, of some samples.

    Args:
        state: State at its end.
        inner: Carry of the solver.
        ends: Believed ends at its end.
        reward: Reward of the believed data ``[B]``.
    """

    state: State
    inner: Any
    ends: Mapping[str, Ends] | None = None
    reward: Tensor | None = None


@dataclass(frozen=True)
class _Carry:
    """What is remembered between steps.

    Args:
        draw: The step that was chosen.
        budget: Draws that each sample has left, int64 ``[B]``.
    """

    draw: _Draw | None = None
    inner: Any = None
    budget: Tensor | None = None


@dataclass(frozen=True)
class _Drawing(Wrapper):
    """Abstract: makes draws of a step and chooses."""

    hook: Any

    def start(self) -> Any:
        """Nothing chosen yet."""
        return _Carry(inner=self.inner.start())

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Make draws, choose, and keep the prediction of the chosen one."""
        before: _Carry = carry
        known = (
            before.draw.ends if before.draw is not None and before.draw.state is state else None
        )
        predict_here = remembering(predict, state, step.t, known)
        if step.last or step.t < self.hook.low:
            state, inner = self.inner.step(
                system, predict_here, state, step, before.inner, streams
            )
            return state, _Carry(inner=inner, budget=before.budget)
        # Every draw begins with the same prediction, made here once.
        start = _Draw(state, before.inner, known or predict(state, step.t))
        if before.draw is not None:
            start = _Draw(state, before.inner, start.ends, before.draw.reward)
        chosen, budget = self.choose(system, predict, start, step, before.budget, streams)
        return chosen.state, _Carry(chosen, chosen.inner, budget)

    @abstractmethod
    def choose(
        self,
        system: System,
        predict: Predict,
        start: _Draw,
        step: Step,
        budget: Tensor | None,
        streams: Streams,
    ) -> tuple[_Draw, Tensor | None]:
        """Return the chosen draw and the budget that is left."""

    def draw(
        self,
        system: System,
        predict: Predict,
        start: _Draw,
        step: Step,
        attempt: int,
        streams: Streams,
    ) -> _Draw:
        """Make the step once and judge where it leads."""
        own = Streams(streams.seed, streams.index, f"{streams.purpose} {step.t!r} draw {attempt}")
        known = remembering(predict, start.state, step.t, start.ends)
        state, inner = self.inner.step(system, known, start.state, step, start.inner, own)
        ends = {name: Ends(e.x1, e.x0, e.z) for name, e in predict(state, step.s).items()}
        samples = clean(system, state, ends, step.s, own)
        return _Draw(state, inner, ends, judge(self.hook.reward, samples))


@dataclass(frozen=True)
class _Chosen(_Drawing):
    """Chooses one of M draws by weight, from a running choice: draw m replaces it with its share of the weight."""

    def choose(
        self,
        system: System,
        predict: Predict,
        start: _Draw,
        step: Step,
        budget: Tensor | None,
        streams: Streams,
    ) -> tuple[_Draw, Tensor | None]:
        """As in the base class."""
        hook: Candidates = self.hook
        chosen = self.draw(system, predict, start, step, 0, streams)
        assert chosen.reward is not None
        lots = Streams(streams.seed, streams.index, f"{streams.purpose} {step.t!r} choice")
        total = _finite(hook.scale * chosen.reward) if math.isfinite(hook.scale) else None
        for attempt in range(1, hook.count):
            new = self.draw(system, predict, start, step, attempt, streams)
            assert new.reward is not None and chosen.reward is not None
            if total is None:
                take = new.reward > chosen.reward
            else:
                weight = _finite(hook.scale * new.reward)
                total = torch.logaddexp(total, weight)
                take = lots.uniform((), torch.float64).log() < weight - total
            chosen = mix(take, new, chosen)
        return chosen, budget


def _finite(x: Tensor) -> Tensor:
    return x.clamp(-1e300, 1e300)


@dataclass(frozen=True)
class _Forced(_Drawing):
    """Draws until a draw is better than its start, within each sample's own budget."""

    def choose(
        self,
        system: System,
        predict: Predict,
        start: _Draw,
        step: Step,
        budget: Tensor | None,
        streams: Streams,
    ) -> tuple[_Draw, Tensor | None]:
        """As in the base class."""
        count = start.state.batch_size
        device = start.state.device
        left = torch.zeros(count, dtype=torch.int64, device=device) if budget is None else budget
        left = left + self.hook.quota - 1
        bar = start.reward
        if bar is None:
            assert start.ends is not None
            bar = judge(self.hook.reward, clean(system, start.state, start.ends, step.t, streams))
        best = self.draw(system, predict, start, step, 0, streams)
        attempt = 0
        while True:
            assert best.reward is not None
            place = ((best.reward <= bar) & (left > 0)).nonzero().squeeze(1)
            if not len(place):
                return best, left
            attempt += 1
            left = left.index_add(0, place, torch.full_like(place, -1))
            part = select(start, place, count)
            new = self.draw(system, predict, part, step, attempt, streams.select(place))
            old = select(best, place, count)
            better = mix(new.reward > old.reward, new, old)
            best = scatter(place, better, best)
