"""Paths: how a component goes from noise (t = 0) to data (t = 1).

A path gives the law of x_t given the data x_1, for every t in [0, 1], and the exact step of the reversed process once
the data is known. What the network adds is its belief about the data; nothing else is learned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..spaces import Space
from ..streams import Streams


@dataclass(frozen=True)
class Ends:
    """The two ends of a path as a network believes them to be.

    Args:
        x1: Data end: ``[B, ...]``, for a categorical path class probabilities ``[B, ..., K]``.
        x0: Noise end ``[B, ...]``; None where the path has no such thing (jumps).
        z: Latent noise ``[B, ...]`` of a path between two data sets; None elsewhere.
    """

    x1: Tensor
    x0: Tensor | None = None
    z: Tensor | None = None


NEEDS: Mapping[str, str] = {
    "posterior": "a draw of x_s given x_t and the data",
    "renewal": "a draw of x_s given the data alone",
    "velocity": "a velocity",
    "score": "a score",
    "exponential": "a linear part that is solved exactly",
}
"""What solvers may ask of a path."""


class Path(ABC):
    """The law of x_t given x_1 on a space, and its exact reversal."""

    continuous: bool
    """True where x_t moves in a vector space, so that differential equations apply; False for jumps."""
    heads: int = 1
    """Values that the network predicts for each element; where above 1, in a new last dimension."""

    @abstractmethod
    def lacks(self, space: Space, need: str) -> str:
        """Return why the path on `space` does not offer `need` (one of `NEEDS`), or "" where it does."""

    def misfit(self, space: Space) -> str:
        """Return why the path is not defined on `space`, or "" where it is."""
        return ""

    def refuses(self, space: Space, kind: str) -> str:
        """Return why predictions of `kind` mean nothing here, or "" where they do."""
        return ""

    @abstractmethod
    def prior(
        self,
        space: Space,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Draw the state at t = 0 from which generation starts, ``[B, *shape]``."""

    @abstractmethod
    def corrupt(
        self,
        space: Space,
        x1: Tensor,
        t: Tensor,
        streams: Streams,
        mask: Tensor | None,
        x0: Tensor | None = None,
    ) -> tuple[Tensor, Ends]:
        """Draw x_t given the data.

        Args:
            space: Space of the component.
            x1: Data ``[B, ...]``.
            t: Times in [0, 1], ``[B]``.
            streams: Random streams of the batch.
            mask: Mask of the component, or None.
            x0: The noise end to use (a coupling chose it); None draws it.

        Returns:
            x_t and the ends that made it.
        """

    def believe(self, kind: str, prediction: Tensor, x_t: Tensor, t: Tensor) -> Ends:
        """Return the ends that a prediction of `kind` means; Gaussian paths leave this to `prediction.resolve`.

        Args:
            kind: Prediction kind; ``data`` is understood by every path.
            prediction: Network output.
            x_t: State ``[B, ...]``.
            t: Times ``[B]``.
        """
        return Ends(prediction)

    def error(self, kind: str, prediction: Tensor, ends: Ends, t: Tensor) -> Tensor:
        """Return the squared error of a prediction of `kind`, per element.

        Args:
            kind: Prediction kind.
            prediction: Network output.
            ends: The true ends.
            t: Times ``[B]``.
        """
        return (prediction - ends.x1) ** 2

    @abstractmethod
    def at(self, t: float) -> Any:
        """Return the scalars of the path at one time, computed on the host in float64."""

    def table(self, times: Sequence[float]) -> list[Any]:
        """Return `at` of several times; a path that can computes them together."""
        return [self.at(t) for t in times]

    @abstractmethod
    def posterior(
        self,
        space: Space,
        x_t: Tensor,
        ends: Ends,
        now: Any,
        then: Any,
        streams: Streams,
        mask: Tensor | None,
    ) -> Tensor:
        """Draw x_s given x_t and the believed data, s > t (ancestral sampling).

        Args:
            space: Space of the component.
            x_t: State at t.
            ends: Believed ends.
            now: `at(t)`.
            then: `at(s)`.
            streams: Random streams of the batch.
            mask: Mask of the component, or None.
        """

    @abstractmethod
    def renew(
        self, space: Space, ends: Ends, then: Any, streams: Streams, mask: Tensor | None
    ) -> Tensor:
        """Draw x_s given the believed data alone, as if x_t had not been seen.

        Args:
            space: Space of the component.
            ends: Believed ends.
            then: `at(s)`.
            streams: Random streams of the batch.
            mask: Mask of the component, or None.
        """

    @abstractmethod
    def clean(self, space: Space, ends: Ends, mask: Tensor | None) -> Tensor:
        """Return the believed data as a point of the space (the last step of a sampler)."""

    @abstractmethod
    def evidence(self, x_t: Tensor, t: Tensor, classes: int) -> Tensor:
        """Log-likelihood of what is seen at one element, for each class the data could have there.

        Args:
            x_t: State: labels ``[B, ...]`` for jumps, one-hot-like vectors ``[B, ..., K]`` else.
            t: Times ``[B]``.
            classes: Number of classes K of the data.

        Returns:
            log q(x_t | x_1 = k) up to a constant, ``[B, ..., K]``.
        """
