r"""Jump paths: each element keeps its clean class with probability t and is else redrawn from a prior pi.

    q(x_t = k | x_1) = t [k = x_1] + (1 - t) pi_k

With pi the marginal of the data this is DiGress's and DeFoG's noise, with pi all on an extra class it is masking, with
pi flat it is uniform noise. The reversal is exact for one element on any grid: for t < s and r = t / s,

    p(x_s = k | x_t) = sum_x1 p(x_1 | x_t) q(x_t | x_s = k) q(x_s = k | x_1) / q(x_t | x_1),
    q(x_t | x_s = k) = r [x_t = k] + (1 - r) pi(x_t).

Reference: Austin et al., Structured denoising diffusion models in discrete state-spaces, arXiv:2107.03006, equation 3;
Campbell et al., Generative flows on discrete state-spaces, arXiv:2402.04997.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import expected
from ..shapes import expand
from ..spaces import Categorical, Space
from ..streams import Streams
from .base import Ends, Path

_TINY = 1e-20


@dataclass(frozen=True)
class Jump(Path):
    """Jumps towards a prior; see `marginal`, `mask` and `uniform`.

    Args:
        prior_probabilities: pi, over the classes of the data and, behind them, states of the path's own.
    """

    prior_probabilities: tuple[float, ...]

    continuous = False

    def __post_init__(self) -> None:
        total = sum(self.prior_probabilities)
        if min(self.prior_probabilities, default=-1.0) < 0 or abs(total - 1) > 1e-4:
            raise expected(
                "prior of a jump path",
                self.prior_probabilities,
                "probabilities that sum to 1",
            )

    @property
    def states(self) -> int:
        """Number of values that x_t can take: the classes of the data and the path's own states."""
        return len(self.prior_probabilities)

    def _pi(self, like: Tensor) -> Tensor:
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        return torch.tensor(self.prior_probabilities, dtype=dtype, device=like.device)

    def misfit(self, space: Space) -> str:
        return "" if isinstance(space, Categorical) else "jumps are between labels"

    def lacks(self, space: Space, need: str) -> str:
        if need not in ("posterior", "renewal"):
            return "labels jump, they have no velocity and no score"
        return self.misfit(space)

    def at(self, t: float) -> float:
        return t

    def prior(
        self,
        space: Space,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        pi = torch.tensor(self.prior_probabilities, dtype=dtype, device=streams.index.device)
        return space.project(streams.categorical(pi.expand(len(streams), *shape, -1)), mask)

    def corrupt(
        self,
        space: Space,
        x1: Tensor,
        t: Tensor,
        streams: Streams,
        mask: Tensor | None,
        x0: Tensor | None = None,
    ) -> tuple[Tensor, Ends]:
        keep = streams.uniform(x1.shape[1:], t.dtype) < expand(t, x1)
        if x0 is None:
            x0 = streams.categorical(self._pi(t).expand(*x1.shape, -1))
        return space.project(torch.where(keep, x1, x0), mask), Ends(x1)

    def renew(
        self, space: Space, ends: Ends, then: float, streams: Streams, mask: Tensor | None
    ) -> Tensor:
        believed = then * F.pad(ends.x1, (0, self.states - ends.x1.shape[-1]))
        return space.project(streams.categorical(believed + (1 - then) * self._pi(ends.x1)), mask)

    def posterior(
        self,
        space: Space,
        x_t: Tensor,
        ends: Ends,
        now: float,
        then: float,
        streams: Streams,
        mask: Tensor | None,
    ) -> Tensor:
        weights = self.posterior_probabilities(x_t, ends.x1, now, then)
        return space.project(streams.categorical(weights), mask)

    def posterior_probabilities(self, x_t: Tensor, p1: Tensor, now: float, then: float) -> Tensor:
        """Law of x_s given x_t and the believed law of the data.

        Args:
            x_t: Labels ``[B, ...]``.
            p1: Believed class probabilities of the data ``[B, ..., K]``.
            now: Time t of `x_t`.
            then: Time s, t < s <= 1.

        Returns:
            Probabilities ``[B, ..., states]``.
        """
        pi = self._pi(p1)
        seen = F.one_hot(x_t, self.states).to(p1.dtype)
        pi_seen = pi[x_t].unsqueeze(-1)
        ratio = now / then
        step = ratio * seen + (1 - ratio) * pi_seen
        # p(x_1) / q(x_t | x_1); a class under which x_t is impossible has no weight.
        likelihood = now * seen[..., : p1.shape[-1]] + (1 - now) * pi_seen
        weight = p1.clamp_min(_TINY) / likelihood
        weight = weight.masked_fill_(likelihood == 0, 0.0)
        mixed = (1 - then) * pi * weight.sum(-1, keepdim=True)
        mixed[..., : p1.shape[-1]] += then * weight
        value = step * mixed
        return value / value.sum(-1, keepdim=True)

    def clean(self, space: Space, ends: Ends, mask: Tensor | None) -> Tensor:
        return space.project(ends.x1.argmax(-1), mask)

    def evidence(self, x_t: Tensor, t: Tensor, classes: int) -> Tensor:
        seen = F.one_hot(x_t, self.states)[..., :classes].to(t.dtype)
        t = expand(t, seen)
        return (t * seen + (1 - t) * self._pi(t)[x_t].unsqueeze(-1)).clamp_min(1e-5).log()


def marginal(probabilities: Sequence[float]) -> Jump:
    """Jumps towards the marginal of the data (``[K]`` class frequencies)."""
    total = float(sum(probabilities))
    return Jump(tuple(float(p) / total for p in probabilities))


def mask(classes: int) -> Jump:
    """Jumps towards a state of its own, the mask, with label `classes`."""
    return Jump((0.0,) * classes + (1.0,))


def uniform(classes: int) -> Jump:
    """Jumps towards the uniform law over `classes` classes."""
    return Jump((1.0 / classes,) * classes)
