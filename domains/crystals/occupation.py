r"""Occupation: which Wyckoff positions the sites of a cell take, and in which basis, drawn at random.

Sites of one element fill whole orbits, a position without freedom one at most. Of the ways to do so by multiplicity and
freedom an element takes one with a weight of exp(sum over its orbits of (freedom - .8)), positions of the same kind are
equally likely. (Elements of 400 training structures of MP-20 cost .82 nats each by these weights, 1.23 by equal ones.)
Ways whose generic crystals have more than the group are passed over where there are others. The basis is the
Niggli-reduced one of a random lattice of the group: those are the cells that models know.

The sites of an orbit lie at x_k = W_k (p + F u) + w_k, so relative to the first site of the cell, the anchor,

    y = A theta + c  modulo 1,    theta = (u of every orbit),

with integers A: all that `symmetric` needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import expected

from . import reduction, symmetry
from .crystal import Crystal
from .wyckoff import Group, Position, group

STARTS = 8
"""Number of points from which parameters are sought."""
_TRIES = 8
_PRICE = 0.8  # of an orbit, in degrees of freedom: fitted
_SPREAD = 0.25  # standard deviation of the logarithms of lengths in a random lattice
Item = TypeVar("Item")
Kind = tuple[int, int, int]
"""Multiplicity, freedom, and how many positions are of this kind."""


@dataclass(frozen=True, eq=False)
class Occupation:
    """The sites of one cell.

    Args:
        number: The space group.
        matrix: A, ``[N, 3, P]``.
        offset: c, ``[N, 3]``.
        guess: theta as a linear function of y by a single site of each orbit, ``[STARTS, P, N, 3]``.
        shift: What is added to it ``[STARTS, P]``.
        orbits: Orbit of each site ``[N]``.
        elements: Number of the element of each site ``[N]``.
        rotations: The point group in this basis ``[G, 3, 3]``.
    """

    number: int
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    guess: NDArray[np.float64]
    shift: NDArray[np.float64]
    orbits: NDArray[np.int64]
    elements: NDArray[np.int64]
    rotations: NDArray[np.float64]


def possible(number: int, counts: Sequence[int]) -> bool:
    """True where orbits of a space group hold these numbers of sites, one number for each element."""
    return _fill(tuple(counts), kinds(number), None) is not None


def fitting(
    number: int | None, choices: Sequence[Item], counts: Callable[[Item], Sequence[int]]
) -> list[Item]:
    """Return those of some choices that a space group can hold.

    Args:
        number: The space group; None holds all.
        choices: What there is to choose from.
        counts: From one of them to its numbers of sites, as for `possible`.

    Raises:
        SciflowError: There is none; the message says what is possible.
    """
    if number is None:
        return list(choices)
    found = [choice for choice in choices if possible(number, sorted(counts(choice)))]
    if not found:
        orbits = []
        for multiplicity, freedom, count in sorted(kinds(number)):
            often = "any number" if freedom else f"at most {count}"
            orbits.append(f"{multiplicity} ({often})")
        numbers = " + ".join(map(str, counts(choices[0]))) if len(choices) == 1 else "any of them"
        raise expected(
            f"sites in the primitive cell of space group {number}",
            numbers,
            f"each element in orbits of {', '.join(dict.fromkeys(orbits))} sites",
            "the cell is a primitive one: ask for its contents, not for those of the conventional cell",
        )
    return found


@lru_cache(maxsize=256)
def kinds(number: int) -> tuple[Kind, ...]:
    """Return the kinds of Wyckoff positions of a space group, in its primitive cell."""
    found: dict[tuple[int, int], int] = {}
    for p in group(number).positions:
        key = p.multiplicity, p.freedom
        found[key] = found.get(key, 0) + 1
    return tuple((*key, n) for key, n in sorted(found.items(), reverse=True))


def occupy(number: int, counts: Sequence[int], seed: int, mixed: bool = False) -> Occupation:
    """Draw an occupation.

    Args:
        number: The space group.
        counts: Number of sites of each element, in the order of the sites.
        seed: Of the draw.
        mixed: Whether orbits need not be of one element only: `counts` is then a single number.
    """
    rng = np.random.default_rng(seed)
    space, chosen = group(number), []
    for _ in range(_TRIES):
        basis = _basis(space, rng)
        chosen = _draw(space, counts, rng, mixed)
        made = _occupation(space, basis, chosen)
        if _exact(made, mixed, rng):
            return made
    return _occupation(space, _basis(space, rng), chosen)


def _draw(
    space: Group, counts: Sequence[int], rng: np.random.Generator, mixed: bool
) -> list[tuple[int, Position]]:
    """Element and position of each orbit, in the order of the sites."""
    own = kinds(space.number)
    ways = _fill(tuple(counts), own, rng)
    assert ways is not None
    pool = {
        kind: [p for p in space.positions if (p.multiplicity, p.freedom) == kind[:2]]
        for kind in own
    }
    left = {kind: list(rng.permutation(len(pool[kind]))) for kind in own}
    found = []
    for element, way in enumerate(ways):
        orbits = []
        for kind, number in zip(own, way, strict=True):
            for _ in range(number):
                free = kind[1] > 0
                place = rng.integers(len(pool[kind])) if free else left[kind].pop()
                orbits.append((element, pool[kind][int(place)]))
        # The anchor should know its place; without elements, rare ones are taken to come first.
        orbits.sort(
            key=lambda x: (x[1].multiplicity, x[1].freedom) if mixed else (x[1].freedom, 0)
        )
        found += orbits
    return found


def _fill(
    counts: tuple[int, ...], own: tuple[Kind, ...], rng: np.random.Generator | None
) -> list[tuple[int, ...]] | None:
    """Number of orbits of each kind for each element; None where nothing fits."""
    dead: set[tuple[int, tuple[int, ...]]] = set()
    most = tuple(n if freedom == 0 else 99 for _, freedom, n in own)
    weights = np.array([freedom - _PRICE for _, freedom, _ in own])

    def search(place: int, used: tuple[int, ...]) -> list[tuple[int, ...]] | None:
        if place == len(counts):
            return []
        if (place, used) in dead:
            return None
        ways = _ways(counts[place], own)
        order = np.arange(len(ways))
        if rng is not None:  # a permutation by weight: Gumbel's trick
            order = np.argsort(-(np.array(ways) @ weights + rng.gumbel(size=len(ways))))
        for k in order.tolist():
            now = tuple(
                u + (n if freedom == 0 else 0)
                for u, n, (_, freedom, _) in zip(used, ways[k], own, strict=True)
            )
            if all(u <= m for u, m in zip(now, most, strict=True)):
                rest = search(place + 1, now)
                if rest is not None:
                    return [ways[k], *rest]
        dead.add((place, used))
        return None

    return search(0, (0,) * len(own))


@lru_cache(maxsize=4096)
def _ways(count: int, own: tuple[Kind, ...]) -> tuple[tuple[int, ...], ...]:
    """All numbers of orbits of each kind that hold `count` sites."""
    if not own:
        return ((),) if count == 0 else ()
    multiplicity, freedom, number = own[0]
    most = count // multiplicity
    most = min(most, number) if freedom == 0 else most
    return tuple(
        (n, *rest) for n in range(most + 1) for rest in _ways(count - n * multiplicity, own[1:])
    )


def _basis(space: Group, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return Q, from coordinates in the primitive cell to those in the reduced cell of a random lattice."""
    rotations = np.array([w for w, _ in space.operations], float)
    columns = np.array(space.basis, float)
    s = rng.normal(size=(3, 3)) * _SPREAD
    values, vectors = np.linalg.eigh((s + s.T) / np.sqrt(2))
    metric = columns.T @ (vectors * np.exp(2 * values)) @ vectors.T @ columns
    metric = np.einsum("gji,jk,gkl->il", rotations, metric, rotations) / len(rotations)
    rows = np.linalg.cholesky(metric)
    reduced = np.array(reduction.niggli(rows.tolist()))
    return np.rint(np.linalg.inv(reduced @ np.linalg.inv(rows)).T)


def _occupation(
    space: Group, basis: NDArray[np.float64], chosen: Sequence[tuple[int, Position]]
) -> Occupation:
    back = np.rint(np.linalg.inv(basis))
    sites = sum(p.multiplicity for _, p in chosen)
    free = sum(p.freedom for _, p in chosen)
    matrix, offset = np.zeros((sites, 3, free)), np.zeros((sites, 3))
    guess, shift = np.zeros((STARTS, free, sites, 3)), np.zeros((STARTS, free))
    orbits, elements = np.zeros(sites, np.int64), np.zeros(sites, np.int64)
    site = column = 0
    first: NDArray[np.float64] = np.zeros((STARTS, 3))  # guesses of the anchor's place
    for number, (element, position) in enumerate(chosen):
        k, n = position.freedom, position.multiplicity
        own = slice(column, column + k)
        p, left = np.array(position.point, float), np.array(position.inverse, float).reshape(k, 3)
        f = np.array(position.directions, float).reshape(3, k)
        for j, (w, v) in enumerate(position.images):
            rotation, move = np.array(w, float), np.array(v, float)
            matrix[site + j, :, own] = basis @ rotation @ f
            offset[site + j] = basis @ (rotation @ p + move)
        if number == 0:
            # Nothing tells them; multiples of irrational numbers lie far apart.
            turns = np.outer(np.arange(STARTS), (0.7548777, 0.5698403, 0.4142136)) % 1
            shift[:, own] = turns[:, :k]
            first = offset[0] + turns[:, :k] @ matrix[0, :, own].T
        else:
            for start in range(STARTS):
                j = start % n
                w, v = position.images[j]
                undo = left @ np.rint(np.linalg.inv(np.array(w, float)))
                guess[start, own, site + j] = undo @ back
                place = back @ first[start] - np.array(v, float)
                shift[start, own] = undo @ place - left @ p
        orbits[site : site + n], elements[site : site + n] = number, element
        site, column = site + n, column + k
    rotations = np.array([basis @ np.array(w, float) @ back for w, _ in space.operations])
    matrix, offset = matrix - matrix[:1], offset - offset[:1]
    return Occupation(
        space.number, matrix, offset, guess, shift, orbits, elements, np.rint(rotations)
    )


def _exact(made: Occupation, mixed: bool, rng: np.random.Generator) -> bool:
    """Whether crystals of this occupation have the group and no more, by one at random."""
    s = rng.normal(size=(3, 3)) * _SPREAD
    metric = 1e2 * np.eye(3) + 30 * (s + s.T)
    metric = np.einsum("gji,jk,gkl->il", made.rotations, metric, made.rotations)
    lattice = np.linalg.cholesky(metric / len(made.rotations))
    places = made.matrix @ rng.random(made.matrix.shape[-1]) + made.offset
    species = ((made.orbits if mixed else made.elements) + 1).astype(np.int16)
    found = symmetry.space_group(Crystal(species, places, lattice), 1e-3)
    return found is not None and found[1] == made.number


__all__ = ["STARTS", "Occupation", "fitting", "kinds", "occupy", "possible"]
