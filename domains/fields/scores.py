r"""Scores of ensembles: proper ones (CRPS, energy score), and whether the spread is right (spread-skill, ranks).

Ensembles are ``[B, M, ...]``, M members of each sample, against truths ``[B, ...]``. Weights as in `metrics`.

Reference: Gneiting, Raftery, Strictly proper scoring rules, prediction, and estimation, JASA 102 (2007); Ferro, Fair
scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140 (2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sciflow.errors import expected

from .metrics import average

_HALVINGS = 24


def _check(ensemble: Tensor, truth: Tensor, least: int = 1) -> int:
    if ensemble.dim() != truth.dim() + 1 or (
        ensemble.shape[:1] + ensemble.shape[2:] != truth.shape
    ):
        wanted = ["B", "M", *truth.shape[1:]]
        raise expected("ensemble", list(ensemble.shape), f"{wanted} for {list(truth.shape)}")
    if ensemble.shape[1] < least:
        raise expected("members of an ensemble", ensemble.shape[1], f"at least {least}")
    return ensemble.shape[1]


def _apart(ensemble: Tensor, fair: bool = True) -> Tensor:
    """Half the mean distance of two members, ``[B, ...]``."""
    count = ensemble.shape[1]
    ordered = ensemble.sort(dim=1).values
    rank = torch.arange(1, count + 1, device=ensemble.device, dtype=ensemble.dtype)
    factor = (2 * rank - count - 1).reshape(-1, *[1] * (ensemble.dim() - 2))
    return (factor * ordered).sum(1) / (count * (count - 1 if fair else count))


def crps_map(ensemble: Tensor, truth: Tensor, fair: bool = True) -> Tensor:
    r"""Continuous ranked probability score of every value, ``[B, ...]``.

    .. math:: \frac 1 M \sum_i |x_i - y| - \frac{1}{2 M (M - 1)} \sum_{ij} |x_i - x_j|

    The fair score, whose mean does not depend on M; with M^2 for M (M - 1), the score of the ensemble as it is.

    Args:
        ensemble: ``[B, M, ...]``.
        truth: ``[B, ...]``.
        fair: Which of the two.

    Raises:
        SciflowError: The shapes do not fit, or a fair score is asked of one member.

    Reference: Ferro 2014, equation 8; the pairs by sorting, in M log M.
    """
    _check(ensemble, truth, 2 if fair else 1)
    return (ensemble - truth.unsqueeze(1)).abs().mean(1) - _apart(ensemble, fair)


def crps(
    ensemble: Tensor, truth: Tensor, weight: Tensor | None = None, fair: bool = True
) -> Tensor:
    """Mean of `crps_map` over each sample, ``[B]``."""
    return average(crps_map(ensemble, truth, fair), weight)


def width(deviation: Tensor, miss: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Factor w of the members' deviations from a forecast with the least fair CRPS, ``[...]``.

    .. math:: \frac 1 M \sum_i |w d_i - m| - \frac{w}{2 M (M - 1)} \sum_{ij} |d_i - d_j|

    is convex in w, so its slope is bisected, between 1/8 and 8.

    Args:
        deviation: Members less the forecast, ``[B, M, ..., Y, X]``.
        miss: Truth less the forecast, ``[B, ..., Y, X]``; samples with NaN count nowhere.
        weight: Weights of the area, ``[Y, X]``.

    Raises:
        SciflowError: The shapes do not fit, or there is one member.
    """
    _check(deviation, miss, 2)
    there = torch.isfinite(miss)
    areas = there if weight is None else there * weight
    areas = areas / areas.sum((0, -2, -1), keepdim=True)
    deviation, miss = deviation.nan_to_num(), miss.nan_to_num()
    apart = (_apart(deviation) * areas).sum((0, -2, -1))
    low, high = torch.full_like(apart, 1 / 8), torch.full_like(apart, 8.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        factor = middle[..., None, None]
        side = torch.zeros_like(miss)
        for d in deviation.unbind(1):
            side += d * torch.sign(factor * d - miss)
        slope = (side / deviation.shape[1] * areas).sum((0, -2, -1)) - apart
        low, high = torch.where(slope < 0, middle, low), torch.where(slope < 0, high, middle)
    return (low + high) / 2


def crps_gaussian(mean: Tensor, std: Tensor, truth: Tensor) -> Tensor:
    r"""CRPS of normal distributions: :math:`\sigma [ z (2 \Phi(z) - 1) + 2 \varphi(z) - \pi^{-1/2} ]`.

    Args:
        mean: Any shape.
        std: Broadcasts against it, > 0.
        truth: Broadcasts against it.

    Reference: Gneiting, Raftery 2007, equation 21 (there with the other sign).
    """
    z = (truth - mean) / std
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    inside = torch.erf(z / math.sqrt(2))  # 2 Phi(z) - 1
    return std * (z * inside + 2 * density - 1 / math.sqrt(math.pi))


def energy_score(
    ensemble: Tensor, truth: Tensor, weight: Tensor | None = None, fair: bool = True
) -> Tensor:
    r"""Energy score of whole samples, ``[B]``: the CRPS with fields for numbers.

    .. math:: \frac 1 M \sum_i \|x_i - y\| - \frac{1}{2 M (M - 1)} \sum_{ij} \|x_i - x_j\|

    The norm is the weighted root mean square, so that the score has the unit of the field whatever its size.

    Reference: Gneiting, Raftery 2007, equation 22.
    """
    count = _check(ensemble, truth, 2 if fair else 1)
    if weight is None:
        share = truth.new_ones(())
    else:
        weight = weight.to(truth).expand(truth.shape)
        share = (weight / average(weight)[(..., *[None] * (truth.dim() - 1))]).sqrt()
        ensemble = torch.where(weight.unsqueeze(1) > 0, ensemble * share.unsqueeze(1), 0)
        truth = torch.where(weight > 0, truth * share, 0)
    x, y = ensemble.flatten(2), truth.flatten(1).unsqueeze(1)
    miss = (x - y).norm(dim=-1).mean(1)
    pairs = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2))
    score = miss - pairs / (2 * count * (count - 1 if fair else count))
    return score / math.sqrt(x.shape[-1])


@dataclass(frozen=True)
class SpreadSkill:
    """Spread of an ensemble beside the error of its mean.

    Args:
        spread: Root of the mean variance of the members (with M - 1).
        skill: Root mean square error of the ensemble mean.
        ratio: sqrt((M + 1) / M) spread / skill; 1 where truth and members are alike, below 1 where the ensemble is too
            sure of itself.
    """

    spread: float
    skill: float
    ratio: float


def spread_skill(ensemble: Tensor, truth: Tensor, weight: Tensor | None = None) -> SpreadSkill:
    """Spread-skill of all samples together.

    Raises:
        SciflowError: The shapes do not fit, or there is one member.

    Reference: Fortin et al., Why should ensemble spread match the RMSE of the ensemble mean?, J. Hydrometeorol. 15
    (2014), equation 15.
    """
    count = _check(ensemble, truth, 2)
    variance = average(ensemble.var(1), weight).mean()
    error = average((ensemble.mean(1) - truth).square(), weight).mean()
    spread, skill = float(variance.sqrt()), float(error.sqrt())
    ratio = math.sqrt((count + 1) / count) * spread / skill if skill > 0 else math.inf
    return SpreadSkill(spread, skill, ratio)


def rank_histogram(ensemble: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """How often the truth has each rank among the members: shares ``[M + 1]``, flat where the ensemble is right.

    Values that tie are shared among the ranks they span. Cells without weight are left out; the others count once each.

    Reference: Hamill, Interpretation of rank histograms for verifying ensemble forecasts, Mon. Weather Rev. 129 (2001).
    """
    count = _check(ensemble, truth)
    below = (ensemble < truth.unsqueeze(1)).sum(1)
    ties = (ensemble == truth.unsqueeze(1)).sum(1)
    used = torch.ones_like(truth, dtype=torch.bool)
    if weight is not None:
        used = (weight > 0).expand(truth.shape)
    below, ties = below[used].flatten(), ties[used].flatten()
    shares = torch.zeros(count + 1, dtype=torch.float64, device=truth.device)
    for tie in ties.unique().tolist():
        chosen = below[ties == tie]
        for k in range(tie + 1):
            ones = torch.full(
                chosen.shape, 1 / (tie + 1), dtype=shares.dtype, device=shares.device
            )
            shares.index_add_(0, chosen + k, ones)
    return shares / shares.sum()
