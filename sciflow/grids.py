"""Time grids: the knots 0 = t_0 < t_1 < ... < t_K = 1 at which a sampler stops, as plain numbers in float64.

A grid is an argument of sampling, never of training. Where it is dense matters more than the order of the solver: a
discrete graph is decided near t = 1, a diffusion is even in log-SNR.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .errors import SciflowError, expected, unknown
from .paths.gaussian import GaussianPath
from .system import System


class Grid(ABC):
    """A family of time grids."""

    @abstractmethod
    def knots(self, steps: int, system: System) -> list[float]:
        """Return the `steps` + 1 knots from 0 to 1, strictly increasing.

        Args:
            steps: Number of steps, >= 1.
            system: The system to be sampled; some grids follow its paths.

        Raises:
            SciflowError: `steps` is below 1, or the grid does not suit the system.
        """


def _fractions(steps: int) -> list[float]:
    if steps < 1:
        raise expected("steps", steps, "at least 1")
    return [i / steps for i in range(steps + 1)]


@dataclass(frozen=True)
class Uniform(Grid):
    """t_i = i / K; or with an early stop t_i = stop * i / (K - 1), and one step from there to 1.

    What a sampler ends with is the believed data. `solvers.renewal` forgets at every step what it believed but for the
    noisy state, and late steps, where the state is trusted most, let the result wander: it gains by an early end.

    Args:
        stop: Time of the last call of the network, in (0, 1); 1 is the even grid. One step goes from 0 to 1.
    """

    stop: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.stop <= 1:
            raise expected("stop of the grid", self.stop, "a number in (0, 1]")

    def knots(self, steps: int, system: System) -> list[float]:
        if self.stop == 1 or steps == 1:
            return _fractions(steps)
        return [*(self.stop * u for u in _fractions(steps - 1)), 1.0]


@dataclass(frozen=True)
class Power(Grid):
    """t_i = 1 - (1 - i / K)^power: dense near the data for power > 1.

    Args:
        power: Exponent > 0.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise expected("power of the grid", self.power, "a positive number")

    def knots(self, steps: int, system: System) -> list[float]:
        return [1 - (1 - u) ** self.power for u in _fractions(steps)]


class _ByNoise(Grid):
    """Abstract: knots at given noise levels of one Gaussian component; the ends 0 and 1 are added where they are not.

    A subclass is a dataclass with a field `component`.
    """

    component: str

    @abstractmethod
    def _bounds(self, path: GaussianPath, ends: tuple[float, float]) -> tuple[float, float]:
        """Log-SNR of the first and the last inner knot, given that of the path's ends, which may be infinite."""

    @abstractmethod
    def _levels(self, first: float, last: float, count: int) -> Tensor:
        """Log-SNR of all inner knots."""

    def knots(self, steps: int, system: System) -> list[float]:
        _fractions(steps)
        name, title = self.component or next(iter(system)), type(self).__name__
        if name not in system:
            raise unknown(f"component of grid {title}", name, system)
        path = system[name].path
        if not isinstance(path, GaussianPath):
            raise SciflowError(
                f"grid {title}: got component {name!r} on path {type(path).__name__}, expected a Gaussian path, which "
                "has a noise level; use grid 'power'"
            )
        ends = path.log_snr(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        inner = [math.isfinite(e) for e in ends]
        first, last = self._bounds(path, (ends[0], ends[1]))
        count = steps + 1 - (not inner[0]) - (not inner[1])
        if count < 2:
            middle = float(path.time(torch.tensor((first + last) / 2, dtype=torch.float64)))
            return [0.0, 1.0] if steps == 1 else [0.0, middle, 1.0]
        times = path.time(self._levels(first, last, count)).tolist()
        times = [0.0] * (not inner[0]) + times + [1.0] * (not inner[1])
        times[0], times[-1] = 0.0, 1.0
        if any(t >= s for t, s in pairwise(times)):
            raise expected(
                f"grid {title} on component {name!r}",
                (first, last),
                f"log signal-to-noise ratios that increase from that at t = 0, {ends[0]:g}, to that at t = 1, "
                f"{ends[1]:g}",
            )
        return times


@dataclass(frozen=True)
class LogSNR(_ByNoise):
    """Even in the log signal-to-noise ratio of one Gaussian component between two times.

    Args:
        component: Name of the component to follow; empty takes the first.
        start: Time of the first inner knot where the ratio at t = 0 is not finite, else 0 is used.
        stop: Time of the last inner knot where the ratio at t = 1 is not finite, else 1 is used.
    """

    component: str = ""
    start: float = 1e-3
    stop: float = 1 - 1e-3

    def _bounds(self, path: GaussianPath, ends: tuple[float, float]) -> tuple[float, float]:
        inner = path.log_snr(torch.tensor([self.start, self.stop], dtype=torch.float64)).tolist()
        first, last = (e if math.isfinite(e) else i for e, i in zip(ends, inner, strict=True))
        return first, last

    def _levels(self, first: float, last: float, count: int) -> Tensor:
        return torch.linspace(first, last, count, dtype=torch.float64)


@dataclass(frozen=True)
class Karras(_ByNoise):
    """Even in (s / a)^(1 / rho), the root of the noise level sigma = s / a, of one Gaussian component.

        sigma_i = (sigma_max^(1/rho) + i / (K - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, i < K,  sigma_K = 0

    Reference: Karras et al., arXiv:2206.00364, equation 5.

    Args:
        component: Name of the component to follow; empty takes the first.
        sigma_max: Noise level of the first inner knot where that at t = 0 is not finite; else that is the first.
        sigma_min: Noise level of the last inner knot where that at t = 1 is zero; else that is the last.
        rho: How much denser the knots are near the data; as it grows, the grid tends to `LogSNR`.
    """

    component: str = ""
    sigma_max: float = 80.0
    sigma_min: float = 0.002
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max or not self.rho > 0:
            raise expected(
                "sigma_min, sigma_max and rho of grid karras",
                (self.sigma_min, self.sigma_max, self.rho),
                "0 < sigma_min < sigma_max and rho > 0",
            )

    def _bounds(self, path: GaussianPath, ends: tuple[float, float]) -> tuple[float, float]:
        inner = -2 * math.log(self.sigma_max), -2 * math.log(self.sigma_min)
        first, last = (e if math.isfinite(e) else i for e, i in zip(ends, inner, strict=True))
        return first, last

    def _levels(self, first: float, last: float, count: int) -> Tensor:
        most, least = (math.exp(-level / (2 * self.rho)) for level in (first, last))
        return -2 * self.rho * torch.linspace(most, least, count, dtype=torch.float64).log()


@dataclass(frozen=True)
class Chart(Grid):
    """Knots at u = 1 - (1 - i / K)^power, u = a / (a + s): on every path those of ``power`` on the linear one.

    Args:
        power: Exponent > 0; dense near the data for power > 1.
        component: Name of the component to follow; empty takes the first.
    """

    power: float = 1.5
    component: str = ""

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise expected("power of the grid", self.power, "a positive number")

    def knots(self, steps: int, system: System) -> list[float]:
        name = self.component or next(iter(system))
        if name not in system:
            raise unknown("component of grid Chart", name, system)
        path = system[name].path
        if not isinstance(path, GaussianPath):
            raise SciflowError(
                f"grid Chart: got component {name!r} on path {type(path).__name__}, expected a Gaussian path, which "
                "has a noise level; use grid 'power'"
            )
        ends = (path.at(0.0), path.at(1.0))
        first, last = (float(c.a) / (float(c.a) + float(c.s)) for c in ends)
        shares = torch.tensor(_fractions(steps), dtype=torch.float64)
        u = first + (last - first) * (1 - (1 - shares) ** self.power)
        times = path.time(2 * torch.logit(u[1:-1])).tolist()
        return [0.0, *times, 1.0]


GRIDS: dict[str, type[Grid]] = {
    "uniform": Uniform,
    "power": Power,
    "log-snr": LogSNR,
    "karras": Karras,
    "chart": Chart,
}


def make(choice: str | Mapping[str, Any]) -> Grid:
    """Make a grid from its name, or from a table with ``name`` and options.

    Raises:
        SciflowError: The name or an option is unknown.
    """
    options = {"name": choice} if isinstance(choice, str) else dict(choice)
    name = options.pop("name", "")
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    for option in options:
        if option not in GRIDS[name].__dataclass_fields__:
            raise unknown(f"option of grid {name}", option, GRIDS[name].__dataclass_fields__)
    return GRIDS[name](**options)
