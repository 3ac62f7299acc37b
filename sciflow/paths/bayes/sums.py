r"""Exact draws of sums of von Mises observations, without drawing the observations.

Let R = sum_j alpha_j e^{i y_j} with independent y_j ~ vM(x, alpha_j): CrysBFN's belief after the observations 1 .. n.
Since vM(y | x, alpha) is the uniform law on the circle weighted by exp(alpha cos(y - x)), R has the law p_0(|R|) of a
random walk with uniform directions, weighted by exp(R . e^{i x}). Two facts follow:

* given c = |R|, the direction is exactly vM(x, c): one draw;
* c has the density f(c) = 2 pi c I_0(c) p_0(c) / prod I_0(alpha_j), and Kluyver's integral for p_0, taken along the
  line Re w = 1 on which nothing cancels, is

      f(c) = (2 c / pi) I_0(c) Re int_0^inf w K_0(w c) prod_j I_0(alpha_j w) / I_0(alpha_j) du,    w = 1 + i u.

Quantiles of c are tabulated from that integral on the host, once for each number of steps; a draw is then one
interpolation and one von Mises draw, whatever the number of observations. Sums of up to `DIRECT` observations, whose
law is not smooth, are drawn as they are defined.

Reference: Kluyver, A local probability problem, Proc. KNAW 8 (1905) 341-350; Wu et al., A periodic Bayesian flow for
material generation, arXiv:2502.02016, section 4.2 (the sums).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ...shapes import expand
from ...streams import Streams
from .additive import TINY
from .entropic import concentration, observation
from .von_mises import draw, mean_length

DIRECT = 12
"""Largest number of observations that are drawn one by one."""

_LIMIT = 5.5
_SCORES = 221
_RADII = 400
_GROWTH = 1.035
_EULER = 0.5772156649015329


def _asymptotic(z: Tensor, sign: int) -> Tensor:
    """Sum of ((2k-1)!!)^2 / (k! (8 z)^k) sign^k up to its smallest term for |z| = 9."""
    total, term = torch.ones_like(z), torch.ones_like(z)
    for k in range(1, 18):
        term = term * (sign * (2 * k - 1) ** 2 / (8 * k)) / z
        total = total + term
    return total


def _log_i0(z: Tensor) -> Tensor:
    """Log of I_0 (up to a multiple of 2 pi i) for Re z > 0, Im z >= 0."""
    near = torch.where(z.abs() < 12, z, 1.0)
    square, term, total = near * near / 4, torch.ones_like(z), torch.ones_like(z)
    for k in range(1, 40):
        term = term * square / (k * k)
        total = total + term
    far = torch.where(z.abs() < 12, 12.0, z)
    both = _asymptotic(far, 1) + 1j * (-2 * far).exp() * _asymptotic(far, -1)
    return torch.where(z.abs() < 12, total.log(), far - (2 * math.pi * far).log() / 2 + both.log())


def _k0e(z: Tensor) -> Tensor:
    """The function e^z K_0(z) for Re z > 0, to 1e-7."""
    near = torch.where(z.abs() < 9, z, 1.0)
    square, term = near * near / 4, torch.ones_like(z)
    total, log, harmonic = torch.zeros_like(z), -((near / 2).log() + _EULER), 0.0
    for k in range(40):
        total = total + term * (log + harmonic)
        harmonic += 1 / (k + 1)
        term = term * square / ((k + 1) ** 2)
    far = torch.where(z.abs() < 9, 9.0, z)
    return torch.where(
        z.abs() < 9, near.exp() * total, (math.pi / (2 * far)).sqrt() * _asymptotic(far, -1)
    )


def _density(alpha: Tensor, c: Tensor, spread: float) -> Tensor:
    """Density of the length c of the sum of observations `alpha` ``[n]``, at `c` ``[R]``, of width about `spread`."""
    log_scale = torch.special.i0e(alpha).log() + alpha
    step = 2 * math.pi / (32 * spread)
    stop = 6 / spread
    while True:
        u = torch.arange(0, stop, step, dtype=torch.float64)
        w = torch.complex(torch.ones_like(u), u)
        log_ratio = (_log_i0(alpha.unsqueeze(1) * w) - log_scale.unsqueeze(1)).sum(0)
        if float(log_ratio[-1].real) < -18 or u.shape[0] > 4000:
            break
        stop *= 1.5
    weight = w * log_ratio.exp() * step
    weight[0] = weight[0] / 2
    phase = torch.complex(torch.zeros_like(c).unsqueeze(1), -c.unsqueeze(1) * u)
    integral = (_k0e(c.unsqueeze(1) * w) * phase.exp() * weight).real.sum(1)
    return 2 / math.pi * c * torch.special.i0e(c) * integral


def _quantiles(alpha: Tensor, middle: float, spread: float) -> Tensor:
    """Lengths at the normal scores -_LIMIT .. _LIMIT, ``[_SCORES]``."""
    low, high = max(middle - 10 * spread, 0.0), middle + 10 * spread
    power = 1 if low > 0 else 2  # near zero the score runs away like the log
    s = torch.linspace(0, 1, _RADII + 1, dtype=torch.float64)[1:]
    c = low + (high - low) * s**power
    g = _density(alpha, c, spread).clamp_min(0) * (high - low) * power * s ** (power - 1)
    h = 1 / _RADII
    slope = torch.gradient(g, spacing=h)[0]
    # Cumulative trapezium with the first correction of Euler and Maclaurin.
    mass = (g.cumsum(0) - (g + g[0]) / 2) * h - h * h / 12 * (slope - slope[0]) + g[0] * h / 2
    mass = (mass / mass[-1]).clamp(1e-12, 1 - 1e-12)
    score = math.sqrt(2) * torch.erfinv(2 * mass - 1)
    score = torch.cummax(score, 0).values
    wanted = torch.linspace(-_LIMIT, _LIMIT, _SCORES, dtype=torch.float64)
    right = torch.searchsorted(score, wanted).clamp(1, _RADII - 1)
    width = (score[right] - score[right - 1]).clamp_min(1e-300)
    part = ((wanted - score[right - 1]) / width).clamp(0, 1)
    return c[right - 1] + part * (c[right] - c[right - 1])


@dataclass(frozen=True)
class SumLaw:
    """Law of the belief after each of N observations.

    Args:
        alpha: Accuracies of the observations, float64 ``[N]``.
        scale: Root mean square length of the sum of the first 0 .. N of them, ``[N + 1]``.
        spread: About the standard deviation of that length, ``[N + 1]``.
        below: For each number of observations the row of `shape` at or below it, ``[N + 1]``.
        part: How far it is from there to the next row, in [0, 1), ``[N + 1]``.
        shape: Lengths less `scale`, over `spread`, at even normal scores, ``[rows, scores]``.
    """

    alpha: Tensor
    scale: Tensor
    spread: Tensor
    below: Tensor
    part: Tensor
    shape: Tensor

    def draw(self, count: Tensor, shape: tuple[int, ...], streams: Streams) -> Tensor:
        """Draw sums of the first `count` observations of the angle 0.

        Args:
            count: Number of observations of each sample, int64 ``[B]``, 0 .. N.
            shape: Shape of the angles of one sample.
            streams: Random streams of the batch.

        Returns:
            Natural parameters, float64 ``[B, *shape, 2]``; of length about 1e-6 where `count` is 0.
        """
        device = count.device
        place = (streams.normal(shape).double().reshape(len(count), -1) + _LIMIT) * (
            (_SCORES - 1) / (2 * _LIMIT)
        )
        left = place.floor().clamp(0, _SCORES - 2)
        f, left = place - left, left.long()
        rows = self.shape.to(device)
        below, part = self.below.to(device)[count], self.part.to(device)[count]
        lower, upper = (
            torch.lerp(
                rows[r].gather(1, k), rows[(r + 1).clamp(max=len(rows) - 1)].gather(1, k), p
            )
            for r, k, p in (
                (below, left, part.unsqueeze(1)),
                (below, left + 1, part.unsqueeze(1)),
            )
        )
        scale, spread = (v.to(device)[count].unsqueeze(1) for v in (self.scale, self.spread))
        c = (scale + spread * torch.lerp(lower, upper, f)).clamp_min(0).reshape(len(count), *shape)
        angle = draw(c, streams)
        y = torch.stack((c * angle.cos(), c * angle.sin()), dim=-1)
        few = (count <= DIRECT).nonzero().squeeze(1)
        if few.shape[0]:
            y[few] = self._direct(count[few], shape, streams.select(few))
        streams.draws += DIRECT + 1  # whether or not this batch needed them
        return y

    def _direct(self, count: Tensor, shape: tuple[int, ...], streams: Streams) -> Tensor:
        y = streams.normal((*shape, 2)).double() * TINY
        for j in range(min(DIRECT, self.alpha.shape[0])):
            alpha = torch.where(count > j, self.alpha[j].to(count.device), 0.0)
            alpha = expand(alpha, y[..., 0]).expand(y.shape[:-1])
            angle = draw(alpha, streams)
            y = y + torch.stack((alpha * angle.cos(), alpha * angle.sin()), dim=-1)
        return y


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def accuracies(steps: int, beta_1: float) -> Tensor:
    """Return the accuracies alpha_1 .. alpha_N of N even steps, float64 ``[N]`` (see `entropic`)."""
    beta = concentration(torch.arange(steps + 1, dtype=torch.float64) / steps, beta_1)
    return observation(beta[:-1], beta[1:])


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def sum_law(steps: int, beta_1: float) -> SumLaw:
    """Return the law of the belief after each of N even steps; seconds for the first call.

    Args:
        steps: Number N of steps.
        beta_1: Concentration of the last belief.
    """
    alpha = accuracies(steps, beta_1)
    mean = mean_length(alpha)
    along = (alpha * mean).cumsum(0)  # of the mean vector
    across = (alpha * mean).cumsum(0)  # variance of the sum across x is sum alpha A(alpha)
    ahead = (alpha**2 * (1 - mean**2) - alpha * mean).cumsum(0)  # and the rest is along it
    scale = (along**2 + across + ahead).sqrt()
    spread = (ahead + 0.5 * (across / scale) ** 2).sqrt()
    rows: list[int] = []
    n = float(DIRECT)
    while n < steps:
        n = max(n + 1, n * _GROWTH)
        rows.append(min(int(n), steps))
    table = [
        (_quantiles(alpha[:n], float(scale[n - 1]), float(spread[n - 1])) - scale[n - 1])
        / spread[n - 1]
        for n in rows
    ] or [torch.zeros(_SCORES, dtype=torch.float64)]
    at = torch.tensor(rows or [steps], dtype=torch.float64)
    count = torch.arange(steps + 1, dtype=torch.float64).clamp_min(float(at[0]))
    below = torch.searchsorted(at, count, right=True) - 1
    after = at[(below + 1).clamp(max=len(at) - 1)]
    part = ((count / at[below]).log() / (after / at[below]).log().clamp_min(1e-12)).clamp(0, 1)
    scale, spread = (torch.cat((v.new_zeros(1), v)) for v in (scale, spread))
    return SumLaw(alpha, scale, spread, below, part, torch.stack(table))
