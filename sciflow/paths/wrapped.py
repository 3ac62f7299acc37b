r"""The wrapped normal law: Gaussian noise on a circle.

With x_t = x_1 + s x_0 modulo the period L, the density of the difference d = x_t - x_1 is the sum over all images,

    q(d) = sum_k N(d + k L; 0, s^2),      -s^2 d log q / dd = E[d + k L | d].

The right side, the expected way from x_1 to x_t, is what training should show the network: the raw noise x_0 has the
same expectation given (x_t, x_1), but says besides by which image x_t was reached, which nothing can know. For small s
a few images are enough; for large s the Fourier series of the theta function 1 + 2 sum_n e_n cos(2 pi n d / L),
e_n = exp(-2 (pi n s / L)^2), is. Each is exact to rounding on its side of s = L / 2.

Reference: De Bortoli et al., Riemannian score-based generative modelling, arXiv:2202.02763, appendix E; Jing et al.,
Torsional diffusion, arXiv:2206.01729, equation 5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_IMAGES = 4
_WAVES = 4


def pull(difference: Tensor, s: Tensor, period: float) -> Tensor:
    """Return E[d + k L | d], the expected way from x_1 to x_t over all images.

    Args:
        difference: x_t - x_1 in [-L / 2, L / 2], ``[B, ...]``.
        s: Standard deviation of the noise, broadcast against `difference`, >= 0.
        period: The period L.
    """
    s = s.to(difference.dtype)
    # Each series sees only the noise that it is exact for: no overflow, no 0 / 0, also in gradients.
    near = s.clamp(period * 1e-6, period / 2)
    k = torch.arange(-_IMAGES, _IMAGES + 1, dtype=s.dtype, device=s.device)
    ways = difference.unsqueeze(-1) + k * period
    shares = (-(ways**2) / (2 * near.unsqueeze(-1) ** 2)).softmax(-1)
    by_images = (shares * ways).sum(-1)

    far = s.clamp_min(period / 2)
    n = torch.arange(1, _WAVES + 1, dtype=s.dtype, device=s.device)
    e = (-2 * (math.pi * n * far.unsqueeze(-1) / period) ** 2).exp()
    angle = (2 * math.pi / period) * n * difference.unsqueeze(-1)
    theta = 1 + 2 * (e * angle.cos()).sum(-1)
    slope = (4 * math.pi / period) * (n * e * angle.sin()).sum(-1)
    return torch.where(s < period / 2, by_images, far**2 * slope / theta)
