r"""The kinetic-optimal Gaussian path: the least energy int E|v(x_t)|^2 dt among all x_t = a x_1 + s x_0.

For data of dimension d and second moment M = E|x_1|^2, with r = a / s and the error mmse(r) that is left in the data
when r x_1 + x_0 is known, the velocity v = a' E[x_1 | x_t] + s' E[x_0 | x_t] has

    E|v|^2 = M a'^2 + d s'^2 - mmse(r) (s r')^2 .

With R^2 = E|x_t|^2 / d and the angle u = atan(m r), m^2 = M / d, this is the metric of a cone,

    E|v|^2 / d = R'^2 + R^2 theta'^2,    dtheta = k(u) du,    k(u)^2 = 1 - mmse(r) / lmmse(r),

where lmmse = M / (1 + m^2 r^2) is the error of the best linear guess. A cone unrolls into the plane: the Euler-Lagrange
equation is solved by the straight line from (R, theta) = (1, 0) to (m, Theta), Theta = int_0^{pi / 2} k du, traversed
evenly. Its energy is d (1 + m^2 - 2 m cos Theta). All that the data say is the profile k, between 0 (Gaussian data:
the path is that of optimal transport between Gaussians) and 1 (data that noise hides nothing of, as many dimensions
make it: the path is the linear one).

Reference: Shaul et al., On kinetic optimal probability paths for generative models, arXiv:2306.06626, sections 3 and 4,
where the one profile is the data separation function; the unrolled form is this module's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import expected
from ..streams import Streams
from .gaussian import Coefficients, GaussianPath

FLOOR = 0.1
"""Least value of a measured profile: where it vanishes, a' or s' would be infinite."""
NODES = 65


@dataclass(frozen=True)
class KineticOptimal(GaussianPath):
    """Kinetic-optimal path of data with a given profile; without one, the linear path scaled to the data.

    Args:
        profile: k at even angles u from 0 to pi / 2, each in (0, 1]; piecewise linear between (see `measure`).
        signal: Root mean square m of a coordinate of the data, > 0.
        dimension: With `points`: the dimension of data that are `points` random ones, whose profile is taken.
        points: See `dimension`; the profile then need not be given.
    """

    profile: Sequence[float] = ()
    signal: float = 1.0
    dimension: int = 0
    points: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "profile", tuple(self.profile)
        )  # tables of configurations are lists
        if any(not 0 < k <= 1 for k in self.profile) or len(self.profile) == 1:
            raise expected("profile of path kinetic-optimal", self.profile, "numbers in (0, 1]")
        if not self.signal > 0:
            raise expected("signal of path kinetic-optimal", self.signal, "a positive number")
        counts = (self.dimension, self.points)
        if counts != (0, 0) and (min(counts) < 1 or self.profile):
            raise expected(
                "dimension and points of path kinetic-optimal",
                counts,
                "two positive numbers and no profile, or a profile alone",
            )

    @property
    def knots(self) -> tuple[float, ...]:
        """The profile in use."""
        if self.points:
            return _random_points(self.dimension, self.points)
        return tuple(self.profile) or (1.0, 1.0)

    @property
    def angle(self) -> float:
        """The angle Theta between noise and data, at most pi / 2."""
        return float(_table(self.knots, torch.device("cpu"))[2][-1])

    @property
    def energy(self) -> float:
        """Kinetic energy int E|v|^2 dt for each dimension, if the profile is that of the data; else a bound on it."""
        m = self.signal
        return 1 + m**2 - 2 * m * math.cos(self.angle)

    def coefficients(self, t: Tensor) -> Coefficients:
        m, end = self.signal, self.angle
        time = t.double()
        across, along = time * m * math.sin(end), (1 - time) + time * m * math.cos(end)
        radius = (across**2 + along**2).sqrt()
        rate = (m * math.sin(end)) / radius**2  # of theta
        u, k = self._unroll(torch.atan2(across, along))
        u = torch.where(time < 1, u, math.pi / 2)
        growth = (across * m * math.sin(end) + along * (m * math.cos(end) - 1)) / radius
        du = rate / k
        # cos as sin of the rest: exactly zero at the data end.
        sine, cosine = u.sin(), (math.pi / 2 - u).sin()
        a, s = radius * sine / m, radius * cosine
        da = (growth * sine + radius * cosine * du) / m
        ds = growth * cosine - radius * sine * du
        a, s, da, ds = (v.to(t.dtype) for v in (a, s, da, ds))
        return Coefficients(a, s, da, ds)

    def time(self, log_snr: Tensor) -> Tensor:
        u = ((log_snr.double() / 2).exp() * self.signal).atan()
        theta = self._roll(u)
        # The line meets the angle theta at t.
        far, near = theta.sin(), self.signal * (self.angle - theta).sin()
        return (far / (far + near)).to(log_snr.dtype)

    def _roll(self, u: Tensor) -> Tensor:
        nodes, k, theta = _table(self.knots, u.device)
        i, h = self._segment(u, nodes)
        w = u - nodes[i]
        return theta[i] + w * (k[i] + (k[i + 1] - k[i]) * w / (2 * h))

    def _unroll(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and k(u) of an angle theta: on every segment theta is a parabola in u."""
        nodes, k, thetas = _table(self.knots, theta.device)
        i, h = self._segment(theta, thetas)
        rest, slope = theta - thetas[i], (k[i + 1] - k[i]) / float(nodes[1])
        k_here = (k[i] ** 2 + 2 * rest * slope).clamp_min(1e-12).sqrt()
        return nodes[i] + 2 * rest / (k[i] + k_here), k_here

    @staticmethod
    def _segment(value: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
        i = (torch.searchsorted(nodes, value.detach().contiguous(), right=True) - 1).clamp(
            0, len(nodes) - 2
        )
        return i, nodes[i + 1] - nodes[i]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for later calls, which may record gradients
def _table(profile: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Angles u, profile k there, and theta, the integral of k."""
    k = torch.tensor(profile, dtype=torch.float64, device=device)
    nodes = torch.linspace(0, math.pi / 2, len(k), dtype=torch.float64, device=device)
    pieces = (k[1:] + k[:-1]) / 2 * nodes[1]
    return nodes, k, torch.cat([pieces.new_zeros(1), pieces.cumsum(0)])


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _random_points(dimension: int, points: int) -> tuple[float, ...]:
    data = Streams.range(0, 0, points, "kinetic-optimal").normal((dimension,), torch.float64)
    return tuple(measure(data).profile)


def linear_error(signal: float, dimension: int, r: Tensor) -> Tensor:
    """Return lmmse(r), the error of the best linear guess of data with the given root mean square per coordinate."""
    return dimension * signal**2 / (1 + (signal * r) ** 2)


def guess_error(
    data: Tensor, weights: Tensor, width: float, r: Tensor, streams: Streams
) -> Tensor:
    """Return mmse(r): the error of the best guess of x_1 given r x_1 + x_0, by drawing, float64 like `r`.

    Args:
        data: Points ``[N, d]``.
        weights: Their weights ``[N]``, summing to 1.
        width: Standard deviation of the normal law around each point.
        r: Signal-to-noise ratios a / s ``[K]``, finite.
        streams: Random streams, one for each draw.
    """
    count, dimension = len(streams), data.shape[1]
    own = data[streams.categorical(weights.expand(count, 1, -1)).squeeze(1)]
    own = own + width * streams.normal((dimension,), torch.float64)
    noise = streams.normal((dimension,), torch.float64)
    errors = []
    for ratio in r.tolist():
        v = (ratio * width) ** 2 + 1
        log_p = weights.log() - torch.cdist(ratio * own + noise, ratio * data) ** 2 / (2 * v)
        p = log_p.softmax(-1)
        centre = p @ data
        scatter = (p * torch.cdist(centre, data) ** 2).sum(-1).mean()
        errors.append(dimension * width**2 / v + float(scatter) / v**2)
    return torch.tensor(errors, dtype=torch.float64)


def measure(
    data: Tensor,
    weights: Tensor | None = None,
    width: float = 0.0,
    *,
    draws: int = 1024,
    nodes: int = NODES,
    floor: float = FLOOR,
) -> KineticOptimal:
    """Return the kinetic-optimal path of data.

    The data stand for their law: a few thousand points are enough, and more are thinned out evenly.

    Args:
        data: Points ``[N, ...]``; more dimensions are flattened. Normalise them as the path will see them.
        weights: Weights of the points ``[N]``; None takes them all alike.
        width: Standard deviation of a normal law around every point, for data known to be smooth.
        draws: Points drawn to measure the error of the best guess.
        nodes: Number of angles at which the profile is measured.
        floor: Least value of the profile.

    Raises:
        SciflowError: There are no two different points, or some are not finite.
    """
    points = data.detach().double().flatten(1)
    if len(points) < 2 or not points.isfinite().all() or float(points.std(0).max()) == 0:
        raise expected(
            "data of a kinetic-optimal path", tuple(data.shape), "different finite points"
        )
    every = max(1, len(points) // 4096)
    points = points[::every]
    w = (
        torch.ones(len(points), dtype=torch.float64)
        if weights is None
        else weights.double()[::every]
    )
    w = w.to(points.device) / w.sum()
    dimension = points.shape[1]
    signal = math.sqrt(float((w * points.square().sum(1)).sum()) / dimension + width**2)
    u = torch.linspace(0, math.pi / 2, nodes, dtype=torch.float64)
    r = u[:-1].tan() / signal
    streams = Streams.range(0, 0, draws, "kinetic-optimal", points.device)
    share = guess_error(points, w, width, r, streams) / linear_error(signal, dimension, r)
    # In the end a point is told from all others; of a smooth law the linear guess is then as good as the best.
    share = torch.cat([share, share.new_tensor([1.0 if width else 0.0])])
    profile = (1 - share).clamp_min(0).sqrt().clamp(floor, 1.0)
    return KineticOptimal(tuple(profile.tolist()), signal)
