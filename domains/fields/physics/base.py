"""An equation: what is given, what follows from it, the law its data are drawn from, and the solver.

Trajectory k of a seed is a pure function of (equation, seed, k): draws come from per-sample streams and no time step
depends on the other trajectories of a batch. Up to the last bits: a library may sum in another order for another batch.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected
from sciflow.streams import Streams


@dataclass(frozen=True)
class Variable:
    """A named array of a trajectory.

    Args:
        dims: Names of its dimensions behind the sample, e.g. ``("time", "x")``.
        long_name: What it is.
        units: Its unit; ``"1"`` where the equation has none.
    """

    dims: tuple[str, ...]
    long_name: str
    units: str = "1"


@dataclass(frozen=True)
class Equation(ABC):
    """Abstract equation on a grid; a frozen dataclass of numbers."""

    name: ClassVar[str]
    """The word on the command line."""

    @property
    @abstractmethod
    def given(self) -> dict[str, Variable]:
        """What a solution starts from: initial state, force, parameters."""

    @property
    @abstractmethod
    def fields(self) -> dict[str, Variable]:
        """What `solve` returns."""

    @abstractmethod
    def coordinates(self) -> dict[str, Tensor]:
        """Values of the dimensions, float64 by name."""

    @abstractmethod
    def draw(self, streams: Streams, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Draw what is given for each sample of the streams, by the law of the data: ``[B, ...]`` by name."""

    @abstractmethod
    def solve(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the fields that follow.

        Args:
            given: ``[B, ...]`` by the names of `given`.

        Raises:
            SciflowError: Something is missing, has another shape or is not finite; or the solution leaves the range
                in which the time step is stable.
        """

    def simulate(
        self,
        seed: int,
        count: int,
        start: int = 0,
        batch: int = 256,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, Tensor]:
        """Return trajectories start, ..., start + count - 1 of a seed: what is given and what follows.

        Args:
            seed: Any integer.
            count: How many.
            start: Number of the first.
            batch: How many are solved together; it does not change them.
            dtype: Type of the numbers.
            device: Where they are computed.
            progress: Called with the number finished since the last call.

        Returns:
            ``[count, ...]`` by name, on the CPU.
        """
        if count < 1 or start < 0 or batch < 1:
            raise expected(
                "count, start, batch", (count, start, batch), "count and batch >= 1, start >= 0"
            )
        parts: list[dict[str, Tensor]] = []
        for first in range(start, start + count, batch):
            size = min(batch, start + count - first)
            streams = Streams.range(seed, first, size, self.name, device)
            drawn = self.draw(streams, dtype)
            solved = drawn | self.solve(drawn)
            parts.append({name: value.cpu() for name, value in solved.items()})
            if progress is not None:
                progress(size)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def config(self) -> dict[str, Any]:
        """Everything that makes the equation again, JSON-able."""
        return {"equation": self.name, **dataclasses.asdict(self)}

    # -- for subclasses ------------------------------------------------------------------------------------------

    def _take(self, given: Mapping[str, Tensor], name: str, *shape: int | None) -> Tensor:
        """Return one of the givens, checked; None in the shape stands for any length."""
        if name not in given:
            raise expected(
                f"{self.name}: what is given",
                sorted(given),
                f"{sorted(self.given)}",
                f"add {name}",
            )
        value = given[name]
        got = value.shape[1:]
        fits = len(got) == len(shape) and all(
            want is None or have == want for have, want in zip(got, shape, strict=True)
        )
        if not fits:
            dims = ", ".join(self.given[name].dims)
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise expected(f"{self.name}: {name}", list(value.shape), f"[B, {wanted}] ({dims})")
        if not value.isfinite().all():
            raise SciflowError(
                f"{self.name}: {name} holds values that are not finite, expected numbers; fill the gaps first"
            )
        return value
