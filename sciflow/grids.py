"""Time grids: the knots 0 = t_0 < t_1 < ... < t_K = 1 at which a sampler stops, as plain numbers in float64.

A grid is an argument of sampling, never of training. Where it is dense matters more than the order of the solver: a
discrete graph is decided near t = 1, a diffusion is even in log-SNR.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

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
    """t_i = i / K."""

    def knots(self, steps: int, system: System) -> list[float]:
        return _fractions(steps)


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


@dataclass(frozen=True)
class LogSNR(Grid):
    """Even in the log signal-to-noise ratio of one Gaussian component between two times; the ends 0 and 1 are added.

    Args:
        component: Name of the component to follow; empty takes the first.
        start: Time of the first inner knot where the ratio at t = 0 is not finite, else 0 is used.
        stop: Time of the last inner knot where the ratio at t = 1 is not finite, else 1 is used.
    """

    component: str = ""
    start: float = 1e-3
    stop: float = 1 - 1e-3

    def knots(self, steps: int, system: System) -> list[float]:
        _fractions(steps)
        name = self.component or next(iter(system))
        if name not in system:
            raise unknown("component of the log-SNR grid", name, system)
        path = system[name].path
        if not isinstance(path, GaussianPath):
            raise SciflowError(
                f"grid log-snr: got component {name!r} on a jump path, expected a Gaussian path; use grid 'power'"
            )
        ends = path.log_snr(torch.tensor([0.0, 1.0], dtype=torch.float64))
        inner = [bool(torch.isfinite(e)) for e in ends]
        first, last = (0.0 if inner[0] else self.start), (1.0 if inner[1] else self.stop)
        count = steps + 1 - (not inner[0]) - (not inner[1])
        if count < 2:
            return [0.0, 1.0] if steps == 1 else [0.0, (first + last) / 2, 1.0]
        bounds = path.log_snr(torch.tensor([first, last], dtype=torch.float64))
        levels = torch.linspace(float(bounds[0]), float(bounds[1]), count, dtype=torch.float64)
        times = path.time(levels).tolist()
        times[0], times[-1] = first, last
        return [0.0] * (not inner[0]) + times + [1.0] * (not inner[1])


GRIDS: dict[str, type[Grid]] = {"uniform": Uniform, "power": Power, "log-snr": LogSNR}


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
