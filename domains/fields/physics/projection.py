r"""Projection of a velocity on a staggered grid onto the fields without divergence, around obstacles, solved directly.

The velocity lives on the faces of n_y x n_x square cells, ``vx`` ``[..., n_y, n_x + 1]`` and ``vy``
``[..., n_y + 1, n_x]``; on a periodic axis the last face is the first again. With div and grad the differences between
neighbours and closed faces (walls, obstacles) at rest, the pressure solves

.. math:: \mathrm{div}\,\mathrm{grad}\,p = \mathrm{div}\,v, \qquad v \leftarrow v - \mathrm{grad}\,p.

In the empty box the matrix is a sum over the axes, diagonal in the eigenvectors of one axis: four small dense products.
Obstacles close m faces more; they change the matrix by m rank-one terms, and the Woodbury formula gives the exact
pressure with two solves in the empty box and one product with an m x m matrix made once. No iteration, no tolerance,
the same work for every member of a batch.

Reference: Buzbee, Dorr, George, Golub, The direct solution of the discrete Poisson equation on irregular regions, SIAM
J. Numer. Anal. 8 (1971) (capacitance matrix); Harlow, Welch, Phys. Fluids 8 (1965) (staggered grid).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """Projection around given obstacles.

    Args:
        solid: Cells filled by obstacles, bool ``[n_y, n_x]``.
        spacing: Width of a cell.
        periodic: Both axes periodic; otherwise the box is closed by walls.
    """

    solid: Tensor
    spacing: float
    periodic: bool = False
    _parts: dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def open_faces(self) -> tuple[Tensor, Tensor]:
        """Faces through which something can flow, bool like vx and like vy."""
        fluid = ~self.solid
        if self.periodic:
            x = fluid & fluid.roll(1, 1)
            y = fluid & fluid.roll(1, 0)
            return torch.cat((x, x[:, :1]), 1), torch.cat((y, y[:1]), 0)
        rows, columns = fluid.shape
        x = torch.zeros(rows, columns + 1, dtype=torch.bool, device=fluid.device)
        y = torch.zeros(rows + 1, columns, dtype=torch.bool, device=fluid.device)
        x[:, 1:-1] = fluid[:, 1:] & fluid[:, :-1]
        y[1:-1] = fluid[1:] & fluid[:-1]
        return x, y

    def divergence(self, vx: Tensor, vy: Tensor) -> Tensor:
        """Outflow of each cell per volume ``[..., n_y, n_x]``."""
        return (vx.diff(dim=-1) + vy.diff(dim=-2)) / self.spacing

    def gradient(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """Differences of a field on cells, at the faces; 0 at walls."""
        if self.periodic:
            x = (p - p.roll(1, -1)) / self.spacing
            y = (p - p.roll(1, -2)) / self.spacing
            return torch.cat((x, x[..., :1]), -1), torch.cat((y, y[..., :1, :]), -2)
        pad = torch.nn.functional.pad
        return (
            pad(p.diff(dim=-1) / self.spacing, (1, 1)),
            pad(p.diff(dim=-2) / self.spacing, (0, 0, 1, 1)),
        )

    def __call__(self, vx: Tensor, vy: Tensor) -> tuple[Tensor, Tensor]:
        """Return the velocity without divergence that is nearest; closed faces are brought to rest.

        Args:
            vx: ``[..., n_y, n_x + 1]``.
            vy: ``[..., n_y + 1, n_x]``.
        """
        *_, open_x, open_y = self._matrices(vx)
        vx, vy = vx * open_x, vy * open_y
        gx, gy = self.gradient(self.pressure(self.divergence(vx, vy)))
        return vx - gx * open_x, vy - gy * open_y

    def pressure(self, divergence: Tensor) -> Tensor:
        """Solve for the pressure; it is fixed up to a constant in each region that is closed on its own."""
        cells, capacitance = self._matrices(divergence)[3:5]
        p = self._box(divergence, divergence)
        if not len(capacitance):
            return p
        flat = p.flatten(-2)
        missed = (flat[..., cells[0]] - flat[..., cells[1]]) / self.spacing
        through = missed @ capacitance / self.spacing
        source = torch.zeros_like(flat)
        source = source.index_add(-1, cells[0], -through).index_add(-1, cells[1], through)
        return p + self._box(source.unflatten(-1, self.solid.shape), divergence)

    # -- inside --------------------------------------------------------------------------------------------------

    def _box(self, source: Tensor, like: Tensor) -> Tensor:
        """Solve in the box without obstacles; sources of sum 0."""
        rows, columns, inverse, *_ = self._matrices(like)
        return rows @ ((rows.mT @ source @ columns) * inverse) @ columns.mT

    def _matrices(self, like: Tensor) -> tuple[Tensor, ...]:
        """Eigenvectors of the axes, inverse eigenvalues, cells beside closed faces, capacitance, open faces."""
        key = (like.dtype, like.device)
        if key not in self._parts:
            # Kept for every later call: also for one with gradients after a first one in inference mode.
            with torch.inference_mode(False):
                exact = (torch.float64, torch.device("cpu"))
                if exact not in self._parts:
                    self._parts[exact] = self._build()
                moved = [
                    part.to(like.device, like.dtype if part.is_floating_point() else None)
                    for part in self._parts[exact]
                ]
            self._parts[key] = tuple(moved)
        return self._parts[key]

    def _build(self) -> tuple[Tensor, ...]:
        (low_y, rows), (low_x, columns) = (self._axis(n) for n in self.solid.shape)
        total = low_y[:, None] + low_x
        inverse = torch.where(total.abs() < 1e-9 * total.abs().max(), 0.0, 1 / total)
        solid = self.solid.cpu()
        number = torch.arange(solid.numel()).reshape(solid.shape)
        pairs = []
        for dim in (0, 1):
            if self.periodic:
                here, there, differ = number, number.roll(1, dim), solid ^ solid.roll(1, dim)
            else:
                n = solid.shape[dim]
                here, there = number.narrow(dim, 1, n - 1), number.narrow(dim, 0, n - 1)
                differ = solid.narrow(dim, 1, n - 1) ^ solid.narrow(dim, 0, n - 1)
            pairs.append(torch.stack((here[differ], there[differ])))
        cells = torch.cat(pairs, dim=1)
        count = cells.shape[1]
        # With L the empty box and g_f = (e_i - e_j) / h the closed faces, the matrix is L + sum_f g_f g_f^T (L is
        # negative), and its inverse needs (1 + G^T L^+ G)^+; singular as soon as obstacles part regions.
        unit = torch.zeros(count, solid.numel(), dtype=torch.float64)
        face = torch.arange(count)
        unit[face, cells[0]] += 1 / self.spacing
        unit[face, cells[1]] -= 1 / self.spacing
        boxed = (
            rows @ ((rows.mT @ unit.unflatten(1, solid.shape) @ columns) * inverse) @ columns.mT
        )
        matrix = torch.eye(count, dtype=torch.float64) + unit @ boxed.flatten(1).mT
        capacitance = torch.linalg.pinv(matrix, rtol=1e-10, hermitian=True)
        faces = (mask.double().cpu() for mask in self.open_faces())
        return rows, columns, inverse, cells, capacitance, *faces

    def _axis(self, n: int) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors of the second difference of one axis."""
        matrix = torch.diag(torch.full((n,), -2.0, dtype=torch.float64))
        ones = torch.ones(n - 1, dtype=torch.float64)
        matrix += torch.diag(ones, 1) + torch.diag(ones, -1)
        if self.periodic:
            matrix[0, -1] += 1
            matrix[-1, 0] += 1
        else:
            matrix[0, 0] = matrix[-1, -1] = -1
        values, vectors = torch.linalg.eigh(matrix / self.spacing**2)
        return values, vectors
