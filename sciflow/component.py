"""Components: a space, a path and the kind of prediction that is made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import SciflowError, expected, unknown
from .paths import weighting
from .paths.base import Ends, Path
from .paths.gaussian import GaussianPath
from .prediction import KINDS, combine, error_scale, inverse, resolve
from .shapes import expand
from .spaces import Space
from .streams import Streams


@dataclass(frozen=True)
class Component:
    """One component of a system.

    Args:
        space: Where it lives.
        path: How it goes from noise to data.
        kind: What the network predicts for it (see `prediction`); jumps need ``logits``.
        weight: Its weight in the loss.
        measure: For linear kinds, the kind in whose units the squared error is taken; None is the kind itself. GDSS's
            score-matching loss, |score s + noise|^2, is kind ``score`` measured as ``noise``. Or a weight by time of
            the squared error of the data (see `paths.weighting`), which ``logits`` understand as well: the error is
            then that of the probabilities, in place of the cross-entropy.
        marginal: For ``logits``, class frequencies of the data ``[K]``. If given, the network's output is added to the
            log-posterior of one element taken by itself, log marginal + log q(x_t | x_1), so that it
            only has to learn what the rest of the state says.
        centre: Value that the path falls back to as noise grows (mean-reverting): the path is that of x - centre. A
            number, or the name of a condition with one value per element.
        source: Name of the condition that holds the sample at t = 0, for paths between two data sets.
    """

    space: Space
    path: Path
    kind: str = "data"
    weight: float = 1.0
    measure: str | None = None
    marginal: tuple[float, ...] | None = None
    centre: float | str = 0.0
    source: str = ""
    plain: bool = field(default=True, init=False, repr=False, compare=False)
    """Whether state and prediction give the ends by two weights each: no classes, no lifting, no centre."""

    def __post_init__(self) -> None:
        lifted = self.kind == "data" and type(self.space).lift is not Space.lift
        linear = self.kind != "logits" and not lifted
        object.__setattr__(
            self, "plain", linear and not isinstance(self.centre, str) and not self.centre
        )
        if self.kind not in KINDS:
            raise unknown("prediction kind", self.kind, KINDS)
        misfit = self.path.misfit(self.space)
        if misfit:
            raise SciflowError(
                f"component: got path {type(self.path).__name__} on space {type(self.space).__name__}, expected a path "
                f"that is defined there: {misfit}; choose another path or space"
            )
        refusal = self.path.refuses(self.space, self.kind)
        if refusal:
            raise SciflowError(
                f"component: got prediction kind {self.kind!r} for path {type(self.path).__name__} on space "
                f"{type(self.space).__name__}: {refusal}; set kind = 'velocity'"
            )
        if self.measure is not None:
            weighting.known(self.measure, KINDS)
        if not self.path.continuous and self.kind != "logits":
            raise expected(
                "prediction kind", self.kind, "'logits' for a jump path", "set kind = 'logits'"
            )

    def ends(
        self,
        prediction: Tensor,
        x_t: Tensor,
        t: Tensor,
        centre: Tensor | float = 0.0,
    ) -> Ends:
        """Return the believed ends.

        Args:
            prediction: Network output ``[B, ...]``.
            x_t: State ``[B, ...]``.
            t: Times ``[B]``.
            centre: Value of `centre` (see `System.centre`).
        """
        kind = self.kind
        if kind == "logits":
            kind, prediction = "data", self.logits(prediction, x_t, t).softmax(-1)
        elif kind == "data":
            prediction = self.space.lift(prediction, x_t)
        if not isinstance(self.path, GaussianPath):
            return self.path.believe(kind, prediction, x_t, t)
        if _nowhere(centre):
            return resolve(kind, self.path.coefficients(t), prediction, x_t)
        off = prediction - centre if kind == "data" else prediction
        ends = resolve(kind, self.path.coefficients(t), off, x_t - centre)
        return Ends(ends.x1 + centre, ends.x0)

    def weights(self, c: Any) -> tuple[float, float, float, float] | None:
        """Return what gives both ends from state and prediction (see `prediction.inverse`).

        None where the ends are not linear in them, and at the end of a path where they can't be told.

        Args:
            c: `Path.at` of the time.
        """
        if not isinstance(self.path, GaussianPath):
            return None
        kind = "data" if self.kind == "logits" else self.kind
        try:
            x1_x, x1_p, x0_x, x0_p = inverse(kind, c)
        except ZeroDivisionError:
            return None
        return float(x1_x), float(x1_p), float(x0_x), float(x0_p)

    def near(self, ends: Ends, other: Ends) -> Ends:
        """Return `ends` in the coordinates nearest to those of `other`: they are not unique on a torus."""
        x1 = self.space.lift(ends.x1, other.x1)
        x0 = ends.x0
        point = isinstance(self.path, GaussianPath) and self.path._from_uniform(self.space)
        if x0 is not None and point:  # it moves along
            x0 = x0 + (x1 - ends.x1)
        return Ends(x1, x0, ends.z)

    def prior(
        self,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Draw the state at t = 0, ``[B, *shape]``."""
        x = self.path.prior(self.space, shape, streams, mask, dtype)
        return x if _nowhere(centre) else self.space.project(x + centre, mask)

    def corrupt(
        self,
        x1: Tensor,
        t: Tensor,
        streams: Streams,
        mask: Tensor | None,
        x0: Tensor | None = None,
        centre: Tensor | float = 0.0,
    ) -> tuple[Tensor, Ends]:
        """Draw x_t given the data (see `Path.corrupt`); the ends are those of x - centre."""
        if _nowhere(centre):
            return self.path.corrupt(self.space, x1, t, streams, mask, x0)
        x_t, ends = self.path.corrupt(self.space, x1 - centre, t, streams, mask, x0)
        return self.space.project(x_t + centre, mask), ends

    def posterior(
        self,
        x_t: Tensor,
        ends: Ends,
        now: Any,
        then: Any,
        streams: Streams,
        mask: Tensor | None,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Draw x_s given x_t and the believed ends (see `Path.posterior`)."""
        if _nowhere(centre):
            return self.path.posterior(self.space, x_t, ends, now, then, streams, mask)
        off = Ends(ends.x1 - centre, ends.x0, ends.z)
        x = self.path.posterior(self.space, x_t - centre, off, now, then, streams, mask)
        return self.space.project(x + centre, mask)

    def renew(
        self,
        ends: Ends,
        then: Any,
        streams: Streams,
        mask: Tensor | None,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Draw x_s given the believed data alone (see `Path.renew`)."""
        if _nowhere(centre):
            return self.path.renew(self.space, ends, then, streams, mask)
        off = Ends(ends.x1 - centre, ends.x0, ends.z)
        x = self.path.renew(self.space, off, then, streams, mask)
        return self.space.project(x + centre, mask)

    def clean(self, ends: Ends, mask: Tensor | None) -> Tensor:
        """Return the believed data as a point of the space."""
        return self.path.clean(self.space, ends, mask)

    def logits(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the logits of the data: the network's, plus the single-element posterior if asked for."""
        if self.marginal is None:
            return prediction
        log_marginal = prediction.new_tensor(self.marginal).clamp_min(1e-6).log()
        evidence = self.path.evidence(x_t, t.to(prediction.dtype), prediction.shape[-1])
        return prediction + log_marginal + evidence

    def error(
        self,
        prediction: Tensor,
        x_t: Tensor,
        ends: Ends,
        t: Tensor,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Return the loss of each element: squared error, summed over nothing, or cross-entropy.

        Args:
            prediction: Network output ``[B, ...]``.
            x_t: State ``[B, ...]``.
            ends: The true ends, of x - centre.
            t: Times ``[B]``.
            centre: Value of `centre` (see `System.centre`).
        """
        kind = self.kind
        if kind == "logits":
            logits, x1 = self.logits(prediction, x_t, t), ends.x1
            if self.measure is not None and isinstance(self.path, GaussianPath):
                kind, prediction = "data", logits.softmax(-1)
            elif x1.is_floating_point():
                return -(x1 * logits.log_softmax(-1)).sum(-1)
            else:
                flat = F.cross_entropy(logits.flatten(0, -2), x1.flatten(), reduction="none")
                return flat.view(x1.shape)
        if not isinstance(self.path, GaussianPath):
            return self.path.error(kind, prediction, ends, t)
        c = self.path.coefficients(t)
        target = combine(kind, c, ends)
        if kind == "data":
            # The coordinates in which `ends` reads the prediction; on a torus the mean is taken there.
            error = self.space.lift(prediction, x_t) - (
                target if _nowhere(centre) else target + centre
            )
        else:
            error = prediction - target
        if self.measure is not None and self.measure != kind:
            if weighting.known(self.measure, KINDS):
                weight = weighting.weight(self.path, t, self.measure)
                scale = torch.as_tensor(error_scale(kind, "data", c)) * weight.sqrt()
            else:
                scale = torch.as_tensor(error_scale(kind, self.measure, c))
            error = error * expand(scale.to(error.dtype), error)
        return error**2


def _nowhere(centre: Tensor | float) -> bool:
    """Whether the path is centred at zero, as most are."""
    return isinstance(centre, float) and centre == 0.0
