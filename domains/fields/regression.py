r"""Linear forecast of a trajectory: ridge regression between principal components of what is known and what follows.

With the components V of the anomalies of training (areas as weights), the features z = (V^T x_1, ..., V^T x_F) of F
known fields, and for each lead its own ridge,

.. math:: \hat y_l = V_m (b_l + S_l^T z) + a_l (I - V_m V_m^T) x_1, \qquad S_l = (Z^T Z / N + \rho_l I)^{-1} Z^T Y_l / N

What is too fine for the components persists to a share a_l of its own. `cross_fitted` forecasts every training year by
a regression that has not seen it: what such a forecast leaves is what it leaves of the future, neither too small nor
known by heart, and its mean square chooses the ridge.

Reference: Hoerl, Kennard, Ridge regression, Technometrics 12 (1970); Chernozhukov et al., Double/debiased machine
learning, Econometrics Journal 21 (2018), section 3, for cross-fitting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sciflow.errors import expected

from .arrays import packed, rounded, unpacked

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Regression:
    """Linear forecast; see the module.

    Args:
        basis: Principal directions ``[C, k]``.
        slope: ``[leads, F k, m]``.
        offset: ``[leads, m]``.
        rest: Share of what the components leave of the first known field that each lead keeps, ``[leads]``.
        ridges: Ridge of each lead.
    """

    basis: Tensor
    slope: Tensor
    offset: Tensor
    rest: Tensor
    ridges: tuple[float, ...]

    @classmethod
    def cross_fitted(
        cls, known: Tensor, future: Tensor, groups: Tensor, components: int = 120, kept: int = 80
    ) -> tuple[Regression, Tensor]:
        """Fit to training pairs, and forecast each group without itself.

        Args:
            known: Known fields, ``[N, F, C]``, areas multiplied in by their roots.
            future: What follows, ``[N, leads, C]``.
            groups: Number of the group of each pair, ``[N]``; years, say.
            components: Components of each known field that are used.
            kept: Components of the future that are forecast.

        Returns:
            The regression of all pairs, and the forecasts ``[N, leads, C]`` of each by the others.

        Raises:
            SciflowError: There is only one group.
        """
        names = groups.unique().tolist()
        if len(names) < 2:
            raise expected("groups of training pairs", names, "two or more")
        first = known[:, 0].double()
        _, vectors = torch.linalg.eigh(first.mT @ first)
        size = min(components, len(first), first.shape[1])
        basis = rounded(vectors[:, -size:].flip(1)).contiguous()
        kept = min(kept, size)
        wide = basis.double()
        z = (known.double() @ wide).flatten(1)
        y = future.double() @ wide[:, :kept]  # [N, leads, m]
        sums = {g: _Sums.of(z[groups == g], y[groups == g]) for g in names}
        total = _Sums.of(z, y)
        leads = y.shape[1]
        error = torch.zeros(len(RIDGES), leads, dtype=torch.float64)
        found = torch.zeros(len(RIDGES), *y.shape, dtype=torch.float64)
        for g in names:
            mine = groups == g
            for r, (slope, offset) in enumerate((total - sums[g]).solved(RIDGES)):
                found[r, mine] = torch.einsum("nf,lfm->nlm", z[mine], slope) + offset
        for r in range(len(RIDGES)):
            error[r] = (found[r] - y).square().sum((0, 2))
        best = error.argmin(0)
        chosen = torch.stack([found[int(best[k]), :, k] for k in range(leads)], dim=1)
        whole = list(total.solved(RIDGES))
        slope = torch.stack([whole[int(best[k])][0][k] for k in range(leads)])
        offset = torch.stack([whole[int(best[k])][1][k] for k in range(leads)])
        fine = _left(known[:, 0], basis[:, :kept])
        size = fine.square().sum().clamp(min=1e-12)
        rest = torch.stack([(fine * future[:, k]).sum() / size for k in range(leads)])
        ridges = tuple(RIDGES[int(k)] for k in best)
        law = cls(basis, rounded(slope), offset.float(), rest.clamp(0, 1), ridges)
        return law, chosen.float() @ basis[:, :kept].mT + law.rest[:, None] * fine[:, None]

    def predict(self, known: Tensor) -> Tensor:
        """Forecast from known fields: ``[N, F, C] -> [N, leads, C]``."""
        z = (known @ self.basis).flatten(1)
        y = torch.einsum("nf,lfm->nlm", z, self.slope) + self.offset
        coarse = self.basis[:, : y.shape[2]]
        return y @ coarse.mT + self.rest[:, None] * _left(known[:, 0], coarse)[:, None]

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        return {
            "basis": packed(self.basis, half=True),
            "slope": packed(self.slope, half=True),
            "offset": packed(self.offset),
            "rest": packed(self.rest),
            "ridges": list(self.ridges),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Regression:
        """Make the regression that `config` described."""
        names = ("basis", "slope", "offset", "rest")
        basis, slope, offset, rest = (unpacked(config[name]) for name in names)
        return cls(basis, slope, offset, rest, tuple(config["ridges"]))


def _left(fields: Tensor, basis: Tensor) -> Tensor:
    """What components leave of fields: ``[N, C]``."""
    return fields - (fields @ basis) @ basis.mT


@dataclass(frozen=True)
class _Sums:
    """Sums over pairs, from which any union or difference of groups is solved."""

    count: int
    z: Tensor
    y: Tensor
    zz: Tensor
    zy: Tensor

    @classmethod
    def of(cls, z: Tensor, y: Tensor) -> _Sums:
        return cls(len(z), z.sum(0), y.sum(0), z.mT @ z, z.mT @ y.flatten(1))

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.count - other.count,
            self.z - other.z,
            self.y - other.y,
            self.zz - other.zz,
            self.zy - other.zy,
        )

    def solved(self, ridges: tuple[float, ...]) -> list[tuple[Tensor, Tensor]]:
        """Slopes ``[leads, f, m]`` and offsets ``[leads, m]`` of each ridge."""
        mean, level = self.z / self.count, self.y / self.count
        inside = self.zz / self.count - torch.outer(mean, mean)
        across = self.zy / self.count - torch.outer(mean, level.flatten())
        values, vectors = torch.linalg.eigh(inside)
        turned = vectors.mT @ across
        found = []
        for ridge in ridges:
            flat = vectors @ (turned / (values.clamp(min=0) + ridge)[:, None])
            slope = flat.unflatten(1, self.y.shape).movedim(1, 0)
            found.append((slope, level - torch.einsum("f,lfm->lm", mean, slope)))
        return found


__all__ = ["RIDGES", "Regression"]
