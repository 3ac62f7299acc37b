r"""Guidance: push a prediction away from a weaker one, by a weight.

    guided = weak + weight (strong - weak)

Classifier-free guidance takes the same network twice, strong with the condition, weak without it; autoguidance takes a
network that is worse at everything. At a fixed x_t every linear prediction kind is an affine function of the believed
data, so the sum may be taken in any of them; for ``logits`` it multiplies probabilities, p_strong^w p_weak^(1-w), which
is guidance of a jump process by its posterior. Both calls are one call of twice the batch.

Guidance changes the law: it does not draw from p(x) p(c | x)^w. It is wanted in the middle of the way, where classes
part, and harms at both ends; hence the interval.

Reference: Ho, Salimans, Classifier-free diffusion guidance, arXiv:2207.12598, equation 6 (there w + 1); Kynkaanniemi et
al., arXiv:2404.07724 (interval); Karras et al., arXiv:2406.02507 (autoguidance); Nisonoff et al., arXiv:2406.01572
(discrete guidance).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import expected, unknown
from ..shapes import expand
from ..state import State, concatenate
from ..system import Network
from .base import Hook, repeated

Null = float | int | Tensor
"""Value that says "not given": a number, or a tensor that broadcasts to one sample's condition."""


def without(state: State, null: Mapping[str, Null], drop: Tensor | None = None) -> State:
    """Replace conditions by the values that say "not given".

    Args:
        state: State with its condition.
        null: Null value of each condition to replace.
        drop: Where to replace, bool ``[B]``; None replaces everywhere.

    Raises:
        SciflowError: The state has no such condition.
    """
    changed = {}
    for name, value in null.items():
        if name not in state.condition:
            raise unknown("condition to drop", name, state.condition)
        given = state.condition[name]
        empty = torch.as_tensor(value, dtype=given.dtype, device=given.device).expand_as(given)
        changed[name] = empty if drop is None else torch.where(expand(drop, given), empty, given)
    return state.with_condition(**changed)


@dataclass(frozen=True)
class _Interval(Hook):
    """Abstract: guidance within an interval.

    Args:
        weight: 0 is the weak prediction, 1 the strong one, above 1 beyond it; a number or one per sample ``[B]``.
        low: Time from which on it acts.
        high: Time up to which it acts.
    """

    weight: float | Tensor = 2.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise expected("interval of guidance", (self.low, self.high), "0 <= low <= high <= 1")

    def idle(self, t: float) -> bool:
        """Whether nothing is added at `t`."""
        outside = not self.low <= t <= self.high
        return outside or (not isinstance(self.weight, Tensor) and self.weight == 1)

    def mix(self, strong: Mapping[str, Tensor], weak: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weak + weight (strong - weak)."""
        weight = self.weight
        mixed = {}
        for name, up in strong.items():
            down = weak[name]
            if isinstance(weight, Tensor):
                w = repeated(weight, up.shape[0], "weights of guidance")
                mixed[name] = torch.lerp(down, up, expand(w.to(up.device, up.dtype), up))
            else:
                mixed[name] = torch.lerp(down, up, weight)
        return mixed


@dataclass(frozen=True)
class Guidance(_Interval):
    """Classifier-free guidance.

    The network must have been trained with the same null values (see `sciflow.learning.Dropout`). Outside the interval
    it is called once, with the condition.

    Args:
        weight: 0 ignores the condition, 1 is the plain conditional network, above 1 obeys it more than the data do.
        low: Time from which on it acts.
        high: Time up to which it acts.
        null: For each condition that guides, the value that says "not given".
    """

    null: Mapping[str, Null] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.null:
            raise expected(
                "null values of guidance", {}, "at least one", "name the conditions that guide"
            )

    def network(self, network: Network, t: float) -> Network:
        """Call the network once, for the given and the empty condition together."""
        if self.idle(t):
            return network

        def guided(state: State, times: Tensor) -> Mapping[str, Tensor]:
            both = concatenate([state, without(state, self.null)])
            output = network(both, torch.cat([times, times]))
            count = state.batch_size
            return self.mix(
                {name: x[:count] for name, x in output.items()},
                {name: x[count:] for name, x in output.items()},
            )

        return guided


@dataclass(frozen=True)
class Autoguidance(_Interval):
    """Guidance by a worse network: fewer weights, or less training, same data.

    Args:
        weight: 1 is the network itself.
        low: Time from which on it acts.
        high: Time up to which it acts.
        worse: The worse network, in evaluation mode, on the same device.
    """

    worse: Network | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.worse is None:
            raise expected("worse network of autoguidance", None, "a network")

    def network(self, network: Network, t: float) -> Network:
        """Call both networks."""
        worse = self.worse
        if self.idle(t) or worse is None:
            return network
        return lambda state, times: self.mix(network(state, times), worse(state, times))
