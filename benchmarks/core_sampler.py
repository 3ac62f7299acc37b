"""What the benchmark of the core calls a sampler, ours or another library's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core_laws import Mixture, Start
from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """Where a sampler ended, and from where it came."""

    end: Tensor
    start: Start


Run = Callable[[Mixture, Tensor, int], Outcome]


@dataclass(frozen=True)
class Sampler:
    """One setting of one sampler.

    Args:
        library: Whose.
        name: Its name there.
        setting: Schedule and grid.
        family: Which of our solvers it is compared with.
        run: Runs it with a law, noise and a number of calls that it does not exceed.
        stochastic: Whether it draws noise.
        adaptive: Whether the number of calls only stands for a tolerance (see `TOLERANCES`).
    """

    library: str
    name: str
    setting: str
    family: str
    run: Run
    stochastic: bool = False
    adaptive: bool = False


TOLERANCES = {10: 1e-1, 20: 1e-2, 40: 1e-3, 80: 1e-5}
"""Tolerance of adaptive samplers in the place of a number of calls."""
