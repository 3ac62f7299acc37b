r"""PFGM++: the path whose noise is that of electric field lines in D further dimensions.

    p(x_t | x_1) ~ (|x_t - x_1|^2 + r^2)^(-(N + D) / 2),    r = sigma sqrt(D),

for data of N dimensions. It is drawn as x_t = x_1 + R u with u uniform on the sphere, R = r sqrt(b / (1 - b)) and
b ~ Beta(N / 2, D / 2); since b / (1 - b) is a ratio of chi-square numbers, that is

    x_t = x_1 + sigma x_0,    x_0 = n sqrt(D / chi^2_D),    n ~ N(0, I):

Student's law with D degrees of freedom in place of the normal one. All that depends on the ends alone stays: the flow
dx / dsigma = (x - E[x_1 | x]) / sigma, the prediction kinds, the solvers of the flow. D to infinity is `EDM`; a smaller
D bears larger errors of the network. It has no diffusion with these marginals and no posterior in closed form.

Reference: Xu et al., PFGM++: unlocking the potential of physics-inspired generative models, arXiv:2302.04265, equation
4, theorem 4.1 and appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import expected
from ..shapes import expand
from ..spaces import Space, Torus
from ..streams import Streams
from .gaussian import EDM

_HALVINGS = 64


def chi_square(streams: Streams, degrees: float) -> Tensor:
    """Draw one chi-square number for each sample by inverting its distribution function, float64 ``[B]``.

    Args:
        streams: Random streams of the batch.
        degrees: Degrees of freedom, > 0.
    """
    level = streams.uniform((), torch.float64)
    half = torch.full_like(level, degrees / 2)
    low = torch.full_like(level, -300.0)
    high = torch.full_like(level, math.log(degrees / 2 + 10 * math.sqrt(degrees) + 50))
    for _ in range(_HALVINGS):  # of the logarithm, which keeps small numbers accurate
        middle = (low + high) / 2
        below = torch.special.gammainc(half, middle.exp()) < level
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 2 * high.exp()


@dataclass(frozen=True)
class PFGM(EDM):
    """PFGM++: the noise levels of `EDM` with Student's noise.

    Args:
        D: Dimensions added, > 0; need not be whole.
    """

    D: float = 128.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.D < math.inf:
            raise expected(
                "D of path pfgm++", self.D, "a positive number; D = infinity is path edm"
            )

    def misfit(self, space: Space) -> str:
        if isinstance(space, Torus):
            return "its noise comes from all coordinates together, which do not wrap together"
        return super().misfit(space)

    def lacks(self, space: Space, need: str) -> str:
        if need in ("score", "posterior"):
            return "its noise is not Gaussian, so that the noise end gives no score"
        return super().lacks(space, need)

    def noise(
        self,
        space: Space,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Draw x_0, ``[B, *shape]``: the standard noise of the space, of one random length for each sample."""
        normal = space.noise(shape, streams, mask, dtype)
        scale = (self.D / chi_square(streams, self.D)).sqrt()
        return normal * expand(scale.to(dtype), normal)

    def evidence(self, x_t: Tensor, t: Tensor, classes: int) -> Tensor:
        # Student's law of these coordinates alone, with as many degrees of freedom.
        s = expand(torch.as_tensor(self.coefficients(t).s), x_t)
        distance = (x_t**2).sum(-1, keepdim=True) - 2 * x_t + 1
        log_p = -(self.D + classes) / 2 * (distance / (self.D * s**2)).log1p()
        return (log_p - log_p.mean(-1, keepdim=True)).clamp(-50, 50)
