r"""Advection by the geostrophic wind of a height field: where today's air will be, to first order.

.. math:: u = -\frac{1}{f} \partial_y \Phi, \quad v = \frac{1}{f} \partial_x \Phi, \quad f = 2 \Omega \sin \varphi

A field is carried for some hours along trajectories of a share of that wind, traced back in a few steps (the upstream
point is moved, the field is read there, between points linearly; beyond the box its edge counts). Weather at other
levels moves at about half of the wind at 500 hPa. It is no forecast, but a place to look for one: what a network or a
regression would have to multiply is multiplied already.

Reference: Holton, Hakim, An introduction to dynamic meteorology, equation 2.23; Staniforth, Cote, Semi-Lagrangian
integration schemes for atmospheric models, Mon. Weather Rev. 119 (1991).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 6.371e6
"""Of the Earth, m."""
_SPIN = 7.292e-5
_STEPS = 4
_SLOWEST = 2 * _SPIN * math.sin(math.radians(15.0))
"""Least Coriolis parameter: nearer to the equator the wind is not geostrophic."""
_NARROWEST = 1e-6 * RADIUS


def wind(height: Tensor, latitude: Tensor, longitude: Tensor) -> Tensor:
    """Geostrophic wind, smoothed over five points.

    Args:
        height: Geopotential in m2 s-2, ``[N, Y, X]``, at least 2 x 2.
        latitude: Degrees north, regular, ``[Y]``.
        longitude: Degrees east, regular, ``[X]``.

    Returns:
        East and north components in m/s, ``[N, 2, Y, X]``.
    """
    north, east = _cells(latitude, longitude)
    coriolis = 2 * _SPIN * torch.deg2rad(latitude).sin()
    away = torch.where(coriolis < 0, -1.0, 1.0) * coriolis.abs().clamp(min=_SLOWEST)
    slope_y, slope_x = torch.gradient(height, dim=(1, 2))
    u = -slope_y / north / away[:, None]
    v = slope_x / east[:, None] / away[:, None]
    both = F.pad(torch.stack((u, v), 1), (2, 2, 2, 2), mode="replicate")
    return F.avg_pool2d(both, 5, stride=1)


def advected(
    fields: Tensor,
    winds: Tensor,
    latitude: Tensor,
    longitude: Tensor,
    hours: float,
    share: float = 0.5,
) -> Tensor:
    """Carry fields along the wind.

    Args:
        fields: ``[N, C, Y, X]``.
        winds: m/s, ``[N, 2, Y, X]``.
        latitude: Degrees north, regular, ``[Y]``.
        longitude: Degrees east, regular, ``[X]``.
        hours: For how long.
        share: Share of the wind that carries.
    """
    north, east = _cells(latitude, longitude)
    rows, columns = fields.shape[-2:]
    scale = torch.stack((2 / (columns - 1) / east, (2 / (rows - 1) / north).expand_as(east)))
    moved = winds * scale[:, :, None] * (share * hours * 3600 / _STEPS)  # in units of the box
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij"
    )
    place = torch.stack((x, y), -1).to(fields).expand(len(fields), -1, -1, -1)
    for _ in range(_STEPS):
        step = F.grid_sample(moved, place, align_corners=True, padding_mode="border")
        place = place - step.movedim(1, -1)
    return F.grid_sample(fields, place, align_corners=True, padding_mode="border")


def _cells(latitude: Tensor, longitude: Tensor) -> tuple[Tensor, Tensor]:
    """Signed sizes of a cell in m: to the next row (a number), to the next column ``[Y]``."""
    north = torch.deg2rad(latitude[1] - latitude[0]) * RADIUS
    east = torch.deg2rad(longitude[1] - longitude[0]) * RADIUS * torch.deg2rad(latitude).cos()
    # At a pole a cell has no width; one that runs westward has a negative one.
    return north, torch.where(east < 0, -1.0, 1.0) * east.abs().clamp(min=_NARROWEST)


__all__ = ["advected", "wind"]
