r"""Renewal: forget the state and draw x_s anew from q(x_s | x_1) with the believed data; and its opposite, the update.

Given the data, a draw of x_s that remembers x_t (see `ancestral`) and one that does not have the same law, and so has
any mixture of both: at rate r an element is renewed with probability 1 - exp(-r (s - t)), else it takes the ancestral
step.

On paths between labels the believed law of the data is drawn from, and every rate has the exact law for one element
under a perfect network, on any grid; a finite rate lets labels that were fixed too early jump again (the
stochasticity of DeFoG). Elsewhere the believed data are a mean, which full renewal treats as if it were certain:
it seeks modes. On N(0, 1) data the variance follows v_s = (a_s a_t / (a_t^2 + s_t^2))^2 v_t + s_s^2, below
the true one, and an undertrained network gains by it (CrysBFN and MolCRAFT sample this way).

Reference: Qu et al., MolCRAFT, arXiv:2404.12141, section 4.2; Wu et al., arXiv:2502.02016, algorithm 2; Qin et al.,
DeFoG: discrete flow matching for graph generation, arXiv:2410.04263, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import expected, unknown
from ..paths.base import Ends
from ..shapes import expand
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .ancestral import Ancestral
from .base import Predict, Solver, Step


@dataclass(frozen=True)
class Renewal(Solver):
    """Fresh draws at every knot; one network call per step, any path.

    Args:
        rate: Rate r of renewal, >= 0: infinite renews everything at every knot, 0 is ancestral sampling.
            A label is renewed by itself, a sample of anything else as a whole.
        draws: Number of fresh draws that the answer is a mean over, 0 for none. At the end, in `rounds` rounds at times
            that rise evenly from `back` to `forth`, the state is drawn anew this many times around the last mean, and
            what the network believes then is averaged. What is clear at these times stays; what single draws decided
            at random is decided again in the mean, by the majority as the times rise. It costs draws times rounds
            calls of the network.
        rounds: Number of rounds.
        back: Time of the first round.
        forth: Time of the last.
        keep: Names of components that take the ancestral step at any rate. Labels that depend on each other need it:
            fresh draws of all of them at once are independent of each other, and what they agreed on is lost.
    """

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "renewal"

    rate: float = math.inf
    draws: int = 0
    rounds: int = 4
    back: float = 0.15
    forth: float = 0.4
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", tuple(self.keep))  # a list in a configuration
        if not self.rate >= 0:
            raise expected("rate of renewal", self.rate, "a number >= 0")
        if self.draws < 0 or self.rounds < 1:
            raise expected(
                "draws and rounds of renewal", (self.draws, self.rounds), "numbers >= 0 and >= 1"
            )
        if not 0 < self.back <= self.forth < 1:
            raise expected(
                "back and forth of renewal", (self.back, self.forth), "times in (0, 1) that rise"
            )

    def lacks(self, component: Component) -> str:
        reason = super().lacks(component)
        if not reason and (self.keep or math.isfinite(self.rate)):
            reason = component.path.lacks(component.space, "posterior")
        return reason

    def check(self, system: System) -> None:
        super().check(system)
        for name in self.keep:
            if name not in system:
                raise unknown("component that renewal keeps", name, system)

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Draw every component anew; the last step returns the believed data."""
        ends = predict(state, step.t)
        if step.last and self.draws:
            ends = self._mean(system, predict, state, ends, streams)
        fields = {}
        for name, component in system.items():
            x, end, mask = state[name], ends[name], state.mask(name)
            if step.last:
                fields[name] = component.clean(end, mask)
                continue
            centre = system.centre(name, state)
            fresh = kept = x
            rate = 0.0 if name in self.keep else self.rate
            if rate > 0:
                fresh = component.renew(end, step.then[name], streams, mask, centre)
            if math.isfinite(rate):
                kept = component.posterior(
                    x, end, step.now[name], step.then[name], streams, mask, centre
                )
            fields[name] = _mix(component, rate, kept, fresh, step.s - step.t, streams)
        return state.replace(**fields), carry

    def _mean(
        self,
        system: System,
        predict: Predict,
        state: State,
        ends: Mapping[str, Ends],
        streams: Streams,
    ) -> Mapping[str, Ends]:
        """Return the believed data, averaged over fresh draws at times before the end."""
        for number in range(self.rounds):
            t = self.back + (self.forth - self.back) * number / max(self.rounds - 1, 1)
            then = system.at(t)
            sums: dict[str, Tensor] = {}
            for _ in range(self.draws):
                fresh = {
                    name: component.renew(
                        ends[name],
                        then[name],
                        streams,
                        state.mask(name),
                        system.centre(name, state),
                    )
                    for name, component in system.items()
                }
                for name, end in predict(state.replace(**fresh), t).items():
                    sums[name] = end.x1 if name not in sums else sums[name] + end.x1
            ends = {name: Ends(total / self.draws) for name, total in sums.items()}
        return ends


def _mix(
    component: Component, rate: float, kept: Tensor, fresh: Tensor, length: float, streams: Streams
) -> Tensor:
    if rate == 0 or math.isinf(rate):
        return kept if rate == 0 else fresh
    shape = () if component.path.continuous else kept.shape[1:]
    renewed = streams.uniform(shape) < -math.expm1(-rate * length)
    return torch.where(expand(renewed, kept), fresh, kept)


@dataclass(frozen=True)
class BayesianUpdate(Ancestral):
    """Bayesian update: ancestral sampling under the name that Bayesian flows have for it.

    On an additive flow the ancestral step is y_s = y_t + (b_s - b_t) x_1 + sqrt(b_s - b_t) z, the update of the belief
    by one observation of the believed data (see `sciflow.paths.bayes.additive`).

    Reference: Graves et al., Bayesian flow networks, arXiv:2308.07037, algorithms 3, 6 and 9.
    """
