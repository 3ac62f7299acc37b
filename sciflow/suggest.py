r"""Suggestions: what the scales of a path and a grid should be for given data, each with its reason.

    sigma_data   root mean square of x - centre, of one real element
    sigma_max    largest distance between two samples: noise as large makes them all alike
    sigma_min    a tenth of the way to the nearest neighbour, for each element; at most sigma_data / 50

On a torus the noise must fill the period instead. Distances are those of whole samples, noise is that of one element:
the largest distance makes the start forget which sample it came from, the nearest neighbours say how fine the data are.

Reference: Song, Ermon, Improved techniques for training score-based generative models, arXiv:2006.09011, technique 1
(sigma_max); Karras et al., arXiv:2206.00364, table 1 (the noise levels that training takes, there for sigma_data = .5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .errors import expected
from .shapes import expand
from .spaces import Categorical, Euclidean, Space, Torus

_MOST = 2000
_NEAREST = 0.1
_FINEST = 0.02
_CENTRED = 0.1


@dataclass(frozen=True)
class Advice:
    """One suggested number.

    Args:
        value: The number.
        reason: Why, in one line.
    """

    value: float
    reason: str


@dataclass(frozen=True)
class Suggestion:
    """What `suggest` found for one component.

    Args:
        sigma_data: Standard deviation of the data, for kind ``edm`` and path ``edm``.
        sigma_min: Noise at the data end, for paths ``ve``, ``edm`` and ``pfgm++``.
        sigma_max: Noise at the noise end, for the same.
        centre: `Component.centre`.
        std: Noise end of path ``ou``.
        log_mean: Mean of log sigma in training, P_mean of Karras et al.
        log_std: Its standard deviation, P_std.
        log_snr_start: log(a^2 / s^2) from which a grid should start.
        log_snr_stop: log(a^2 / s^2) at which it should stop.
    """

    sigma_data: Advice
    sigma_min: Advice
    sigma_max: Advice
    centre: Advice
    std: Advice
    log_mean: Advice
    log_std: Advice
    log_snr_start: Advice
    log_snr_stop: Advice

    def __iter__(self) -> Iterator[tuple[str, Advice]]:
        """Return names and advice, in the order of the table."""
        return iter([(field.name, getattr(self, field.name)) for field in fields(self)])

    def __str__(self) -> str:
        return "\n".join(
            f"{name:14s} {advice.value:10.4g}  {advice.reason}" for name, advice in self
        )


def suggest(data: Tensor, space: Space | None = None, mask: Tensor | None = None) -> Suggestion:
    """Propose scales for one component.

    Args:
        data: Samples ``[B, ...]`` as the path will see them (encoded, normalised); B >= 2. Of very many, 2000 spread
            evenly are looked at for the distances.
        space: Where they live; None is Euclidean.
        mask: Mask of the component, or None.

    Raises:
        SciflowError: The data are labels, not finite, fewer than two, or all alike.
    """
    space = space or Euclidean()
    if isinstance(space, Categorical) or not data.is_floating_point():
        raise expected(
            "data for suggestions", str(data.dtype), "numbers that move; labels have no scale"
        )
    if len(data) < 2 or not data.isfinite().all():
        raise expected("data for suggestions", tuple(data.shape), "two or more finite samples")
    x = space.project(data.detach().double(), mask)
    real = torch.ones_like(x) if mask is None else expand(mask, x).to(x.dtype).expand_as(x)
    count = real.sum().clamp_min(1)
    mean = 0.0 if isinstance(space, Torus) else float((x * real).sum() / count)
    spread = math.sqrt(float((((x - mean) * real) ** 2).sum() / count))
    if spread == 0:
        raise expected("data for suggestions", "samples that are all alike", "samples that differ")
    # A small mean is a matter of chance, or of symmetry.
    centre = mean if abs(mean) > _CENTRED * spread else 0.0
    scale = math.hypot(spread, mean - centre)
    if isinstance(space, Torus):
        return _on_torus(space, x, real)
    farthest, nearest = _distances(x * real)
    elements = float(real.flatten(1).sum(1).mean())
    per_element = nearest / math.sqrt(elements)
    finest = min(max(_NEAREST * per_element, 1e-4 * scale), _FINEST * scale)
    fine = f"at most 1/50 of sigma_data; a tenth of the way to the nearest neighbour is {_NEAREST * per_element:.3g}"
    return _suggestion(
        scale,
        Advice(finest, fine),
        Advice(
            farthest, "largest distance between two samples: noise as large makes them all alike"
        ),
        Advice(
            centre,
            f"the mean {mean:.3g} is small beside sigma_data"
            if centre == 0
            else "mean of all elements",
        ),
    )


def _suggestion(scale: float, low: Advice, high: Advice, centre: Advice) -> Suggestion:
    start, stop = -2 * math.log(high.value), -2 * math.log(low.value)
    return Suggestion(
        sigma_data=Advice(scale, "root mean square of x - centre over all real elements"),
        sigma_min=low,
        sigma_max=high,
        centre=centre,
        std=Advice(scale, "noise of the size of the data: the variance stays the same on the way"),
        log_mean=Advice(
            math.log(scale) - 0.5, "half a unit below log(sigma_data), where most is learnt"
        ),
        log_std=Advice(1.2, "covers sigma_data / 20 to 10 sigma_data in two standard deviations"),
        log_snr_start=Advice(
            start, "-2 log(sigma_max): the samples can't be told from each other"
        ),
        log_snr_stop=Advice(stop, "-2 log(sigma_min): what is left is finer than the data"),
    )


def _on_torus(space: Torus, x: Tensor, real: Tensor) -> Suggestion:
    angle = 2 * math.pi / space.period * x
    # Circular variance of each element over the samples says how much they are spread.
    weight = real.sum(0).clamp_min(1)
    length = torch.hypot(
        (angle.cos() * real).sum(0) / weight, (angle.sin() * real).sum(0) / weight
    )
    used = real.sum(0) > 1
    spread = (-2 * length[used].clamp(1e-12, 1).log()).sqrt().clamp_max(math.pi / math.sqrt(3))
    scale = (
        float(spread.square().mean().sqrt()) * space.period / (2 * math.pi) if used.any() else 0.0
    )
    if scale == 0:
        raise expected("data for suggestions", "samples that are all alike", "samples that differ")
    return _suggestion(
        scale,
        Advice(
            min(0.005 * space.period, _FINEST * scale),
            "1/200 of the period, at most 1/50 of sigma_data",
        ),
        Advice(
            0.5 * space.period, "half the period: the wrapped law is then uniform to within 1.5 %"
        ),
        Advice(0.0, "a torus has no centre"),
    )


def _distances(x: Tensor) -> tuple[float, float]:
    """Largest distance between two samples, and the median of those to the nearest different neighbour."""
    flat = x.flatten(1)
    flat = flat[:: max(1, math.ceil(len(flat) / _MOST))]
    distance = torch.cdist(flat, flat)
    same = distance <= 1e-9 * distance.max()
    nearest = distance.masked_fill(same, math.inf).min(1).values
    return float(distance.max()), float(nearest[nearest.isfinite()].median())
