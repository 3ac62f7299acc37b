r"""Arrangement: one order and one origin for the sites of a crystal, as far as its composition tells them.

A crystal is the same for every order of its sites, every origin and every inversion of its coordinates, and a model
that is not told of a choice has to learn the average over all of them. Three choices spare it that:

* **Anchor.** The origin is a site of the rarest element (of several, that of the highest atomic number; of several
  sites, the first).
* **Order.** The anchor comes first, then the elements by ascending count and descending atomic number. So the
  order of species is a function of the composition: a formula gives it to a model before anything else is known.
* **Ranks.** Identical atoms are numbered from 1 by (y, z, x) relative to the anchor; the anchor is number 1 of
  its element. A generated structure has them by definition.

Where `inversion` is set, f or -f is chosen such that the sum of sin(4 pi f) over all sites and axes is not positive.
With the prototype ``"perovskite"``, cells of five sites are arranged by their roles (see `perovskite`): f or -f such
that the displacement p is not positive, A with the rank 1 and B with the rank 2, be they of one element or of two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciflow.errors import expected, unknown

from . import perovskite
from .structures import Crystals

PROTOTYPES = ("perovskite",)
"""Kinds of crystals whose sites have roles."""
_GRAIN = 1000  # coordinates closer than 1 / 1000 are taken as equal by the order


@dataclass(frozen=True, eq=False)
class Arrangement:
    """M crystals in this order.

    Args:
        species: Atomic numbers int64 ``[M, N]``, 0 on padding.
        ranks: Ranks int64 ``[M, N]`` from 1, 0 on padding.
        coordinates: Fractional coordinates float32 ``[M, N, 3]`` relative to the anchor, in [0, 1).
    """

    species: Tensor
    ranks: Tensor
    coordinates: Tensor

    @classmethod
    def of(
        cls, crystals: Crystals, inversion: bool = False, prototype: str | None = None
    ) -> Arrangement:
        """Arrange encoded crystals.

        Args:
            crystals: The crystals.
            inversion: Whether to choose between f and -f. Right-handed and left-handed crystals are then one.
            prototype: One of `PROTOTYPES`, or None.

        Raises:
            SciflowError: The prototype is unknown, or `inversion` is a word.
        """
        if not isinstance(inversion, bool):
            raise expected(
                "inversion",
                inversion,
                "true or false",
                "kinds of crystals are named by 'prototype'",
            )
        if prototype is not None and prototype not in PROTOTYPES:
            raise unknown("prototype", prototype, PROTOTYPES)
        numbers = crystals.species.numpy().astype(np.int64)
        places = crystals.coordinates.numpy().astype(np.float64)
        shape = numbers.shape
        species, ranks = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        coordinates = np.zeros((*shape, 3), np.float32)
        for m, n in enumerate(crystals.sizes.tolist()):
            order, own, f = _arrange(numbers[m, :n], places[m, :n], inversion, prototype)
            species[m, :n], ranks[m, :n], coordinates[m, :n] = numbers[m, order], own, f
        coordinates[coordinates >= 1] = 0.0
        return cls(*(torch.from_numpy(x) for x in (species, ranks, coordinates)))


def sites(composition: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """Return atomic numbers and ranks of the sites of a composition, in order.

    Args:
        composition: Number of atoms by atomic number.
    """
    elements = sorted(composition, key=lambda z: (composition[z], -z))
    species = [z for z in elements for _ in range(composition[z])]
    return species, [k for z in elements for k in range(1, composition[z] + 1)]


def _arrange(
    species: NDArray[np.int64],
    places: NDArray[np.float64],
    inversion: bool,
    prototype: str | None,
) -> tuple[NDArray[np.int64], list[int], NDArray[np.float64]]:
    """Order, ranks, and the coordinates in this order."""
    fit = perovskite.fit(species, places) if prototype else None
    role = np.full(len(species), 2)
    if fit:
        role[[fit.a, fit.b]] = 0, 1
    tally = Counter(species.tolist())
    counts = np.array([tally[z] for z in species.tolist()])
    anchor = int(np.lexsort((np.arange(len(species)), role, -species, counts))[0])
    f = (places - places[anchor]) % 1.0
    odd = fit.polarity if fit else float(np.sin(4 * math.pi * f).sum())
    if inversion and odd > 1e-9:
        f = -f % 1.0
    x, y, z = (np.round(f * _GRAIN) % _GRAIN).T
    other = np.arange(len(species)) != anchor
    order = np.lexsort((x, z, y, other, role, -species, counts))
    ranks = np.array(sites(tally)[1])
    if fit:
        ranks[order == fit.b] = 2
    return order, ranks.tolist(), f[order]


__all__ = ["PROTOTYPES", "Arrangement", "sites"]
