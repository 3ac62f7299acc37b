r"""Baselines of forecasts: climatology, dynamic modes, and the linear-Gaussian forecast, the one to beat.

The linear-Gaussian forecast regresses the target y on the leading principal components of the input x,

.. math:: y = \bar y + B P (x - \bar x) + \varepsilon, \qquad \varepsilon \sim N(0, \Sigma),

with a ridge on B chosen by generalised cross-validation and \Sigma the covariance of the residuals of training, so it
is a full predictive law: mean, deviation and members with correlated errors. Without a limit on the components it is
kernel ridge regression with the linear kernel. Dynamic mode decomposition is the linear law of one step, carried on.

Reference: Golub, Heath, Wahba, Generalized cross-validation as a method for choosing a good ridge parameter,
Technometrics 21 (1979); Penland, Magorian, Prediction of Nino 3 sea surface temperatures using linear inverse
modeling, J. Climate 6 (1993).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import expected
from sciflow.streams import Streams

from .dataset import Record

_DAYS = 366


@dataclass(frozen=True)
class Climatology:
    """The training times of the same season and hour.

    Args:
        values: Training fields ``[N, ...]``.
        time: Their times, ``datetime64 [N]``.
        window: Days of the year on either side that count as the season; None for all.
    """

    values: Tensor
    time: np.ndarray
    window: int | None = 7

    @classmethod
    def fit(cls, train: Record, window: int | None = 7) -> Climatology:
        """Keep the training record; pass training times only."""
        return cls(train.values, train.time, window)

    def chosen(self, time: np.datetime64) -> Tensor:
        """Positions of the training times that resemble a time: same hour, day of the year within the window.

        Raises:
            SciflowError: There are none.
        """
        day, hour = _day(np.asarray([time])), _hour(np.asarray([time]))
        alike = _hour(self.time) == hour
        if self.window is not None:
            apart = np.abs(_day(self.time) - day)
            alike &= np.minimum(apart, _DAYS - apart) <= self.window
        if not alike.any():
            raise expected(
                "climatology",
                str(time),
                "training times of the same hour and season",
                "widen the window",
            )
        return torch.from_numpy(np.flatnonzero(alike))

    def mean(self, times: np.ndarray) -> Tensor:
        """Mean of the season, ``[len(times), ...]``."""
        key = list(zip(_day(times).tolist(), _hour(times).tolist(), strict=True))
        known: dict[tuple[int, int], Tensor] = {}
        for k, which in enumerate(key):
            if which not in known:
                known[which] = self.values[self.chosen(times[k])].mean(0)
        return torch.stack([known[which] for which in key])

    def members(self, time: np.datetime64) -> Tensor:
        """The season as an ensemble ``[1, M, ...]`` for one time."""
        return self.values[self.chosen(time)].unsqueeze(0)


def _day(time: np.ndarray) -> np.ndarray:
    """Day of the year, 0 to 365; from March on counted as in a leap year."""
    dates = time.astype("datetime64[D]")
    year = dates.astype("datetime64[Y]")
    day = (dates - year).astype(int)
    leap = ((year + 1).astype("datetime64[D]") - year.astype("datetime64[D]")).astype(int) == 366
    return day + (~leap & (day >= 59))


def _hour(time: np.ndarray) -> np.ndarray:
    return (time - time.astype("datetime64[D]")).astype("timedelta64[h]").astype(int)


@dataclass(frozen=True)
class Forecast:
    """Normal forecasts of fields.

    Args:
        mean: ``[N, ...]``.
        std: Deviation of each value ``[...]``, the same for all forecasts.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class LinearGaussian:
    """Linear regression on principal components with normal errors; made by `fit`.

    Args:
        centre: Mean input ``[p]``.
        scale: What inputs are multiplied by ``[p]``.
        basis: Principal directions ``[p, k]``.
        offset: Mean target ``[q]``.
        slope: ``[k, q]``.
        noise: Directions of the residuals times their deviations ``[r, q]``.
        rest: Deviation that they leave out ``[q]``.
        shape: Shape of a target.
        ridge: Ridge chosen, as a share of the mean eigenvalue.
    """

    centre: Tensor
    scale: Tensor
    basis: Tensor
    offset: Tensor
    slope: Tensor
    noise: Tensor
    rest: Tensor
    shape: torch.Size
    ridge: float

    @classmethod
    def fit(
        cls,
        inputs: Tensor,
        targets: Tensor,
        components: int | None = 80,
        scale: Tensor | None = None,
        directions: int = 256,
    ) -> LinearGaussian:
        """Fit to training pairs.

        Args:
            inputs: ``[N, ...]``.
            targets: ``[N, ...]``.
            components: Principal components of the inputs that are used; None for all.
            scale: Broadcasts against an input; what it is multiplied by before the components are taken (the root of
                the area, one over the deviation of a variable).
            directions: Directions of the residuals kept; the remainder is noise without correlation.

        Raises:
            SciflowError: There are fewer than two pairs, or the numbers of inputs and targets differ.
        """
        count = len(inputs)
        if count != len(targets) or count < 2:
            raise expected(
                "training pairs",
                (count, len(targets)),
                "the same number of inputs and targets, 2 or more",
            )
        weight = inputs.new_ones(()) if scale is None else scale.to(inputs)
        weight = weight.expand(inputs.shape[1:]).flatten().double()
        x, y = inputs.flatten(1).double(), targets.flatten(1).double()
        centre, offset = x.mean(0), y.mean(0)
        left, values, basis = _components((x - centre) * weight, components)
        wanted = left.mT @ (y - offset)
        total = (y - offset).square().sum()
        ridge = _validated(values, wanted, float(total), count)
        shrink = values.square() / (values.square() + ridge * values.square().mean())
        slope = (shrink / values)[:, None] * wanted
        residual = y - offset - left @ (shrink[:, None] * wanted)
        free = max(1.0, count - 1 - float(shrink.sum()))
        kept = min(directions, count - 1, y.shape[1])
        _, size, noise = _components(residual, kept)
        noise = (noise * (size / math.sqrt(free))).mT
        variance = residual.square().sum(0) / free - noise.square().sum(0)
        return cls(
            centre,
            weight,
            basis,
            offset,
            slope,
            noise,
            variance.clamp(min=0).sqrt(),
            targets.shape[1:],
            ridge,
        )

    def predict(self, inputs: Tensor) -> Forecast:
        """Return the normal forecasts of inputs ``[N, ...]``."""
        x = (inputs.flatten(1).double() - self.centre) * self.scale
        mean = self.offset + (x @ self.basis) @ self.slope
        std = (self.noise.square().sum(0) + self.rest.square()).sqrt()
        return Forecast(
            mean.to(inputs.dtype).unflatten(1, self.shape),
            std.to(inputs.dtype).reshape(self.shape),
        )

    def calibrated(self, inputs: Tensor, targets: Tensor) -> LinearGaussian:
        """The same forecast with its deviations scaled by one factor, so that they match the errors of other pairs.

        Short training records understate the errors of other weeks; pass pairs that were not trained on.
        """
        law = self.predict(inputs)
        error = (targets - law.mean).square().mean() / law.std.square().mean()
        factor = float(error.sqrt())
        return replace(self, noise=self.noise * factor, rest=self.rest * factor)

    def members(self, inputs: Tensor, count: int, streams: Streams) -> Tensor:
        """Draw ensembles ``[N, count, ...]``; forecast n has stream n."""
        mean = self.predict(inputs).mean.unsqueeze(1)
        common = streams.normal((count, len(self.noise)), torch.float64) @ self.noise
        own = streams.normal((count, len(self.rest)), torch.float64) * self.rest
        return mean + (common + own).to(mean.dtype).unflatten(2, self.shape)


@dataclass(frozen=True)
class DynamicModes:
    r"""Dynamic mode decomposition with control: the best linear law of one step, and the trajectory that it makes.

    .. math:: u_{k+1} = \bar u + V \, [A \; B] \, (V^T (u_k - \bar u), \, f_k - \bar f)

    with V the leading principal components of all frames.

    Args:
        centre: Mean frame ``[C]``.
        basis: V, ``[C, r]``.
        drive: Mean of what drives the step ``[D]``.
        slope: ``[r + D, r]``.
        offset: ``[r]``.

    Reference: Proctor, Brunton, Kutz, Dynamic mode decomposition with control, SIAM J. Appl. Dyn. Syst. 15 (2016),
    section 3.2.
    """

    centre: Tensor
    basis: Tensor
    drive: Tensor
    slope: Tensor
    offset: Tensor

    @classmethod
    def fit(cls, frames: Tensor, drive: Tensor, components: int | None = None) -> DynamicModes:
        """Fit to trajectories.

        Args:
            frames: ``[N, T + 1, C]``.
            drive: What drives each step ``[N, T, D]``; D may be 0.
            components: Modes; None for all.

        Raises:
            SciflowError: There are not as many drives as steps.
        """
        if drive.shape[:2] != (len(frames), frames.shape[1] - 1):
            wanted = f"{[len(frames), frames.shape[1] - 1]} and its values"
            raise expected("what drives the steps", list(drive.shape), wanted)
        u, f = frames.double(), drive.double().flatten(0, 1)
        centre, middle = u.flatten(0, 1).mean(0), f.mean(0)
        _, _, basis = _components((u - centre).flatten(0, 1), components)
        z = (u - centre) @ basis
        known = torch.cat((z[:, :-1].flatten(0, 1), f - middle), 1)
        known = torch.cat((known, torch.ones_like(known[:, :1])), 1)
        following = z[:, 1:].flatten(0, 1)
        gram = known.mT @ known
        gram += 1e-10 * gram.diagonal().mean() * torch.eye(len(gram)).to(gram)
        slope = torch.linalg.solve(gram, known.mT @ following)
        return cls(centre, basis, middle, slope[:-1], slope[-1])

    def predict(self, start: Tensor, drive: Tensor) -> Tensor:
        """Carry starts ``[N, C]`` on under ``[N, T, D]``: ``[N, T, C]``."""
        z, found = (start.double() - self.centre) @ self.basis, []
        for f in (drive.double() - self.drive).unbind(1):
            z = torch.cat((z, f), 1) @ self.slope + self.offset
            found.append(z)
        return (torch.stack(found, 1) @ self.basis.mT + self.centre).to(start.dtype)


def _components(x: Tensor, count: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Leading part of the singular value decomposition, from the smaller Gram matrix: u, s, v."""
    tall = len(x) >= x.shape[1]
    gram = x.mT @ x if tall else x @ x.mT
    values, vectors = torch.linalg.eigh(gram)
    rank = int((values > 1e-12 * values[-1].clamp(min=1e-300)).sum())
    keep = max(1, rank if count is None else min(count, rank))
    values, vectors = values[-keep:].flip(0).clamp(min=1e-300).sqrt(), vectors[:, -keep:].flip(1)
    if tall:
        return x @ vectors / values, values, vectors
    return vectors, values, x.mT @ vectors / values


def _validated(values: Tensor, wanted: Tensor, total: float, count: int) -> float:
    """Ridge with the least generalised cross-validation error, in units of the mean eigenvalue."""
    energy = wanted.square().sum(1)
    outside = max(0.0, total - float(energy.sum()))
    best, chosen = math.inf, 0.0
    for ridge in torch.logspace(-8, 2, 41, dtype=torch.float64).tolist():
        shrink = values.square() / (values.square() + ridge * values.square().mean())
        missed = outside + float(((1 - shrink).square() * energy).sum())
        error = missed / max(1e-9, 1 - (1 + float(shrink.sum())) / count) ** 2
        if error < best:
            best, chosen = error, ridge
    return chosen
