r"""Errors of fields: how far a prediction is from the truth, in whole, by scale, at the borders, where it is steep.

Fields are ``[B, ...]``; every error is one number per sample, ``[B]``, unless it says otherwise. A weight broadcasts
against the trailing dimensions and need not be normalised: areas (`latitude_weights`), 0 where a mask leaves out, and
what lies there may be NaN. Scores of ensembles are in `scores`.

WDNO and PDEBench measure trajectories without their initial state, which is given: pass ``u[:, 1:]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected

from .wavelet import Transform


def latitude_weights(latitude: Tensor) -> Tensor:
    """Areas of the rows of a regular latitude-longitude grid, with mean 1.

    Args:
        latitude: Degrees north, ``[Y]``.

    Raises:
        SciflowError: A latitude is beyond a pole, or not a number.
    """
    if not bool((latitude.abs() <= 90).all()):
        raise SciflowError(
            "latitude: got values beyond -90 to 90 or missing, expected degrees north; check the coordinate's units"
        )
    area = torch.deg2rad(latitude.double()).cos().clamp(min=0)
    return (area / area.mean()).to(latitude)


def _check(prediction: Tensor, truth: Tensor) -> None:
    if prediction.shape != truth.shape:
        raise expected(
            "prediction", list(prediction.shape), f"the shape of the truth, {list(truth.shape)}"
        )


def average(values: Tensor, weight: Tensor | None = None, dims: int | None = None) -> Tensor:
    """Weighted mean over the last dimensions.

    Args:
        values: ``[B, ...]``; ignored, NaN or not, where the weight is 0.
        weight: Not negative, broadcasts against the values; None for equal weights.
        dims: How many of the last dimensions; None for all but the first.
    """
    over = tuple(range(1, values.dim()) if dims is None else range(-dims, 0))
    if not over:
        return values
    if weight is None:
        return values.mean(over)
    weight = weight.to(values).expand(values.shape)
    return torch.where(weight > 0, values * weight, 0).sum(over) / weight.sum(over)


# -- whole fields -----------------------------------------------------------------------------------------------------


def mse(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean square error."""
    _check(prediction, truth)
    return average((prediction - truth).square(), weight)


def rmse(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Root mean square error."""
    return mse(prediction, truth, weight).sqrt()


def mae(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error."""
    _check(prediction, truth)
    return average((prediction - truth).abs(), weight)


def l_inf(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """Largest absolute error where the weight is not 0."""
    _check(prediction, truth)
    error = (prediction - truth).abs()
    if weight is not None:
        error = torch.where(weight > 0, error, 0)
    return error.flatten(1).amax(1)


def nrmse(
    prediction: Tensor, truth: Tensor, weight: Tensor | None = None, dims: int | None = None
) -> Tensor:
    r"""Relative error :math:`\|p - u\|_2 / \|u\|_2`: 1 for predicting zero.

    Args:
        prediction: ``[B, ...]``.
        truth: ``[B, ...]``.
        weight: Broadcasts against the fields.
        dims: Last dimensions in one norm; None for whole samples. With the dimensions of space alone the ratios of the
            times are averaged, which is PDEBench's definition.

    Reference: Takamoto et al., PDEBench, NeurIPS 2022, appendix B.
    """
    _check(prediction, truth)
    error = average((prediction - truth).square(), weight, dims)
    size = average(truth.square(), weight, dims)
    ratio = (error / size).sqrt()
    return ratio.flatten(1).mean(1) if ratio.dim() > 1 else ratio


def vrmse(
    prediction: Tensor, truth: Tensor, weight: Tensor | None = None, dims: int | None = None
) -> Tensor:
    r"""Root of the error's mean square over the variance of the truth: 1 for predicting its mean.

    Args:
        prediction: ``[B, ...]``.
        truth: ``[B, ...]``.
        weight: Broadcasts against the fields.
        dims: Last dimensions (space) in one variance; the remaining ones are averaged. None for whole samples.

    Reference: Ohana et al., The Well, NeurIPS 2024, section 4 (they add 1e-7 to the variance).
    """
    _check(prediction, truth)
    error = average((prediction - truth).square(), weight, dims)
    count = truth.dim() - 1 if dims is None else dims
    mean = average(truth, weight, dims)[(..., *[None] * count)]
    ratio = (error / average((truth - mean).square(), weight, dims)).sqrt()
    return ratio.flatten(1).mean(1) if ratio.dim() > 1 else ratio


# -- parts of fields --------------------------------------------------------------------------------------------------


def conservation_error(
    prediction: Tensor, truth: Tensor, dims: int, weight: Tensor | None = None
) -> Tensor:
    """Root mean square error of the means over space (PDEBench's cRMSE): 0 where the integral is kept.

    Args:
        prediction: ``[B, ..., *space]``.
        truth: ``[B, ..., *space]``.
        dims: Number of the dimensions of space.
        weight: Areas.
    """
    _check(prediction, truth)
    return average(average(prediction - truth, weight, dims).square()).sqrt()


def boundary_error(prediction: Tensor, truth: Tensor, dims: int) -> Tensor:
    """Root mean square error of the outermost cells of the last `dims` dimensions (PDEBench's bRMSE)."""
    _check(prediction, truth)
    border = torch.zeros(truth.shape[-dims:], device=truth.device)
    for k in range(dims):
        for end in (0, -1):
            border.select(k, end).fill_(1)
    return rmse(prediction, truth, border)


def abrupt_error(prediction: Tensor, truth: Tensor, share: float = 0.1) -> Tensor:
    """Mean absolute error in the steepest cells of each sample: those of the largest slope along the last axis.

    Args:
        prediction: ``[B, ...]``.
        truth: ``[B, ...]``; its central differences rank the cells.
        share: Share of the cells that counts as steep.
    """
    _check(prediction, truth)
    (slope,) = torch.gradient(truth, dim=-1)
    steep = slope.abs().flatten(1)
    count = max(1, round(share * steep.shape[1]))
    chosen = steep.topk(count, dim=1).indices
    return (prediction - truth).abs().flatten(1).gather(1, chosen).mean(1)


# -- scales -----------------------------------------------------------------------------------------------------------


def _wavenumber(shape: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Size of the wave vector of each coefficient of ``rfftn``, in waves per box, and how often it counts."""
    sides = [torch.fft.fftfreq(n, 1 / n, device=device) for n in shape[:-1]]
    sides.append(torch.fft.rfftfreq(shape[-1], 1 / shape[-1], device=device))
    size = torch.stack(torch.meshgrid(*sides, indexing="ij")).square().sum(0).sqrt()
    twice = torch.full((shape[-1] // 2 + 1,), 2.0, device=device)
    twice[0] = 1.0
    if shape[-1] % 2 == 0:
        twice[-1] = 1.0
    return size, twice


def _power(values: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Mean square carried by each coefficient of the last dimensions, and its wavenumber."""
    shape = values.shape[-dims:]
    size, twice = _wavenumber(shape, values.device)
    over = tuple(range(-dims, 0))
    power = torch.fft.rfftn(values, dim=over).abs().square() * twice / math.prod(shape) ** 2
    return power, size


def spectrum(values: Tensor, dims: int) -> Tensor:
    """Mean square by wavenumber 0, 1, 2, ... (rounded, waves per box) of the last dimensions.

    Args:
        values: ``[..., *space]``.
        dims: Number of the dimensions of space.

    Returns:
        ``[..., K]``; its sum over K is the mean square of the values (Parseval).
    """
    power, size = _power(values, dims)
    shell = size.round().long().flatten()
    flat = power.flatten(-dims)
    out = flat.new_zeros(*flat.shape[:-1], int(shell.max()) + 1)
    return out.index_add_(-1, shell, flat)


def spectral_errors(
    prediction: Tensor, truth: Tensor, dims: int, edges: Sequence[float] = (4, 12)
) -> Tensor:
    """Root mean square error by range of wavenumber: below the first edge, between the edges, beyond the last.

    The squares of the ranges sum to the mean square error. PDEBench's fRMSE has the same ranges and another
    normalisation; in two dimensions it leaves out half of the wave vectors.

    Args:
        prediction: ``[B, ..., *space]``.
        truth: ``[B, ..., *space]``.
        dims: Number of the dimensions of space.
        edges: Wavenumbers in waves per box; one at an edge belongs above it.

    Returns:
        ``[B, len(edges) + 1]``.
    """
    _check(prediction, truth)
    power, size = _power(prediction - truth, dims)
    part = torch.bucketize(
        size, torch.tensor([float(e) for e in edges], device=size.device), right=True
    )
    flat = power.reshape(len(power), -1, size.numel()).mean(1)
    out = flat.new_zeros(len(flat), len(edges) + 1)
    return out.index_add_(1, part.flatten(), flat).sqrt()


def band_errors(prediction: Tensor, truth: Tensor, transform: Transform) -> dict[str, Tensor]:
    """Root mean square error of the coefficients of each wavelet band, ``[B]`` by its name."""
    _check(prediction, truth)
    bands = transform.decompose(prediction - truth)
    return {name: average(band.square()).sqrt() for name, band in bands.items()}


# -- time -------------------------------------------------------------------------------------------------------------


def correlation(prediction: Tensor, truth: Tensor, dims: int) -> Tensor:
    """Pearson correlation over the last dimensions, ``[B, ...]`` without them."""
    _check(prediction, truth)
    p = (prediction - average(prediction, None, dims)[(..., *[None] * dims)]).flatten(-dims)
    u = (truth - average(truth, None, dims)[(..., *[None] * dims)]).flatten(-dims)
    return (p * u).sum(-1) / (p.norm(dim=-1) * u.norm(dim=-1))


def correlation_time(
    prediction: Tensor, truth: Tensor, times: Tensor, dims: int, threshold: float = 0.8
) -> Tensor:
    """Last time before the correlation with the truth first falls to the threshold.

    Args:
        prediction: ``[B, T, *space]``.
        truth: ``[B, T, *space]``.
        times: Rising times ``[T]``.
        dims: Number of the dimensions of space.
        threshold: Correlation, 0.8 as in PDEArena.

    Returns:
        ``[B]``: `times[-1]` where it never falls, `times[0]` where it fails at once.

    Reference: Kochkov et al., Machine learning-accelerated computational fluid dynamics, PNAS 118 (2021).
    """
    good = (correlation(prediction, truth, dims) > threshold).long().cumprod(1).sum(1)
    return times.to(truth)[(good - 1).clamp(min=0)]


def anomaly_correlation(
    prediction: Tensor, truth: Tensor, climatology: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Correlation of the departures from a climatology, not centred (ACC).

    Args:
        prediction: ``[B, ...]``.
        truth: ``[B, ...]``.
        climatology: Broadcasts against them.
        weight: Areas.

    Reference: WeatherBench 2 (Rasp et al., JAMES 2024), section 3.
    """
    _check(prediction, truth)
    p, u = prediction - climatology, truth - climatology
    product = average(p * u, weight)
    return product / (average(p.square(), weight) * average(u.square(), weight)).sqrt()


# -- control ----------------------------------------------------------------------------------------------------------


def control_objective(
    final: Tensor, target: Tensor, force: Tensor, cell: float, interval: float, effort: float = 0.0
) -> Tensor:
    r"""WDNO's objective of a control, :math:`J = \int |u(T) - u^*|^2 dx + \alpha \int |f|^2 dt\,dx`.

    Args:
        final: Last state ``[B, *space]``, of a re-simulation with the force.
        target: u*, ``[B, *space]``.
        force: ``[B, T, *space]``.
        cell: Volume of a cell.
        interval: Length of a time interval.
        effort: alpha.

    Reference: WDNO (Hu et al., ICLR 2025), section 4.2.
    """
    _check(final, target)
    miss = (final - target).square().flatten(1).sum(1) * cell
    return miss + effort * force.square().flatten(1).sum(1) * cell * interval
