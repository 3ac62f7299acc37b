r"""Wyckoff positions of a space group, by exact arithmetic on its operations.

In a primitive cell an operation is x -> W x + w with an integer matrix W, and w modulo 1: there are as many as in the
point group. The points that one of them keeps solve

    (W - 1) x + w = 0  modulo 1,

and with the Smith form U (W - 1) V = D, x = V y, that is D y + U w = 0 modulo 1: some entries of y take finitely many
values, the others are free. So what an operation keeps are finitely many points, lines or planes x = p + F u of the
torus. Closed under intersection, up to the operations of the group, these are the Wyckoff positions, with all of space
as the general one; the images of one under the group are its orbit, whose number is the multiplicity.

Reference: International Tables for Crystallography A, section 1.4.4; Fischer, Koch, Acta Cryst. A 30, 268, 1974 (what
all 230 groups have: 1731 positions).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np

from sciflow.errors import need

Integers = tuple[tuple[int, ...], ...]
Vector = tuple[Fraction, ...]
Operation = tuple[Integers, Vector]
"""W and w of x -> W x + w."""
_GRAIN = 24  # translations of the International Tables are multiples of 1 / 24


@dataclass(frozen=True)
class Position:
    """A Wyckoff position: the points p + F u of the torus, and their images.

    Args:
        point: p.
        directions: F, integers ``[3, k]``; k is the number of its free coordinates.
        inverse: Integers ``[k, 3]`` with inverse F = 1.
        images: Operations that make the points of an orbit, the first of them the identity.
    """

    point: Vector
    directions: Integers
    inverse: Integers
    images: tuple[Operation, ...]

    @property
    def freedom(self) -> int:
        """Number k of free coordinates."""
        return len(self.inverse)

    @property
    def multiplicity(self) -> int:
        """Number of sites in the primitive cell."""
        return len(self.images)


@dataclass(frozen=True)
class Group:
    """A space group in a primitive cell.

    Args:
        number: 1 to 230.
        operations: One for each element of the point group, the identity first.
        basis: Primitive vectors in units of the conventional cell, as columns.
        centring: Number of lattice points in the conventional cell.
    """

    number: int
    operations: tuple[Operation, ...]
    basis: tuple[Vector, ...]
    centring: int

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """The Wyckoff positions, by freedom and multiplicity."""
        one: Integers = _identity(3)
        queue = [((Fraction(0),) * 3, one, one)]
        seen: set[object] = set()
        found = []
        while queue:
            p, f, left = queue.pop()
            if _key(p, f) in seen:
                continue
            images: dict[object, Operation] = {}
            for w, v in self.operations:
                q, g = _plus(_apply(w, p), v), _times(w, f)
                seen.add(_key(q, g))
                images.setdefault((g, tuple(x % 1 for x in q)), (w, v))
                a = tuple(
                    tuple(x - y for x, y in zip(r, s, strict=True))
                    for r, s in zip(g, f, strict=True)
                )
                b = tuple(x - y for x, y in zip(q, p, strict=True))
                if any(map(any, a)) or any(x.denominator > 1 for x in b):
                    for y, free, back in _solutions(a, b):
                        queue.append((_plus(p, _apply(f, y)), _times(f, free), _times(back, left)))
            found.append(Position(p, f, left, tuple(images.values())))
        return tuple(sorted(found, key=lambda x: (x.freedom, x.multiplicity, x.point)))


@lru_cache(maxsize=256)
def group(number: int) -> Group:
    """Return a space group in the first setting of the International Tables, by its number.

    Args:
        number: 1 to 230.
    """
    rotations, translations = _database(number)
    shifts = [
        tuple(v)
        for w, v in zip(rotations, translations, strict=True)
        if np.array_equal(w, np.eye(3))
    ]
    basis = _primitive(shifts)
    inverse = np.linalg.inv(np.array(basis, float))
    operations: dict[Integers, Vector] = {}
    for w, v in zip(rotations, translations, strict=True):
        matrix = np.rint(inverse @ w @ np.array(basis, float)).astype(int)
        own = tuple(tuple(row) for row in matrix.tolist())
        exact = tuple(
            Fraction(round(float(x) * _GRAIN), _GRAIN) % 1 for x in inverse @ np.array(v, float)
        )
        operations.setdefault(own, exact)
    one = _identity(3)
    rest = {w: v for w, v in operations.items() if w != one}
    return Group(number, ((one, (Fraction(0),) * 3), *rest.items()), basis, len(shifts))


def _database(number: int) -> tuple[np.ndarray, list[list[Fraction]]]:
    """Rotations and translations of all operations in the conventional cell."""
    spglib = need("spglib", "crystals")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hall = next(k for k in range(1, 531) if spglib.get_spacegroup_type(k).number == number)
        found = spglib.get_symmetry_from_database(hall)
    exact = [
        [Fraction(round(float(x) * _GRAIN), _GRAIN) for x in v] for v in found["translations"]
    ]
    return found["rotations"], exact


def _primitive(shifts: Sequence[Sequence[Fraction]]) -> tuple[Vector, ...]:
    """Return primitive vectors, as columns, of the lattice of the unit cube and these shifts."""
    ways = itertools.product((-1, 0, 1), repeat=3)
    steps = [tuple(x + n for x, n in zip(s, way, strict=True)) for way in ways for s in shifts]
    steps.sort(key=lambda s: (sum(x * x for x in s), [-x for x in s]))
    for rows in itertools.combinations([s for s in steps if any(s)], 3):
        volume = float(np.linalg.det(np.array(rows, float)))
        if abs(volume * len(shifts) - 1) < 1e-6:
            return tuple(zip(*rows, strict=True))
    raise AssertionError(shifts)


def _solutions(a: Integers, b: Vector) -> list[tuple[Vector, Integers, Integers]]:
    """Solve A u + b = 0 modulo 1: points, free directions and the inverse of those."""
    u, d, v, back = _smith(a)
    c = _apply(u, b)
    rows, columns = len(d), len(d[0])
    values: list[list[Fraction]] = []
    for k in range(max(rows, columns)):
        size = d[k][k] if k < min(rows, columns) else 0
        if size:
            values.append([(j - c[k]) / size for j in range(abs(size))])
            continue
        if k < rows and c[k].denominator > 1:
            return []
        if k < columns:
            values.append([Fraction(0)])
    free = [k for k in range(columns) if k >= rows or not d[k][k]]
    directions = tuple(tuple(row[k] for k in free) for row in v)
    inverse = tuple(back[k] for k in free)
    return [(_apply(v, y), directions, inverse) for y in itertools.product(*values)]


def _smith(a: Integers) -> tuple[Integers, Integers, Integers, Integers]:
    """Return U, D, V and the inverse of V with U A V = D diagonal, U and V of determinant 1 or -1."""
    d = [list(row) for row in a]
    rows, columns = len(d), len(d[0])
    u, v, back = ([list(row) for row in _identity(n)] for n in (rows, columns, columns))
    for t in range(min(rows, columns)):
        while True:
            entries = [
                (abs(d[i][j]), i, j) for i in range(t, rows) for j in range(t, columns) if d[i][j]
            ]
            if not entries:
                break
            _, i, j = min(entries)
            for x in (d, u):
                x[t], x[i] = x[i], x[t]
            for x in (d, v):
                for row in x:
                    row[t], row[j] = row[j], row[t]
            back[t], back[j] = back[j], back[t]
            for i in range(t + 1, rows):
                q = d[i][t] // d[t][t]
                for x in (d, u):
                    x[i] = [r - q * s for r, s in zip(x[i], x[t], strict=True)]
            for j in range(t + 1, columns):
                q = d[t][j] // d[t][t]
                for x in (d, v):
                    for row in x:
                        row[j] -= q * row[t]
                back[t] = [r + q * s for r, s in zip(back[t], back[j], strict=True)]
            if not any(d[i][t] for i in range(t + 1, rows)) and not any(d[t][t + 1 :]):
                break
    return tuple(tuple(tuple(row) for row in x) for x in (u, d, v, back))  # type: ignore[return-value]


def _key(p: Vector, f: Integers) -> object:
    """A name of the points p + F u of the torus: equations that they solve, in one form, and their values."""
    free = len(f[0]) if f[0] else 0
    normals = [list(row) for row in _identity(3)]
    if free:
        u = _smith(f)[0]
        normals = [list(row) for row in u[free:]]
    row = 0
    for column in range(3):  # Hermite form
        while True:
            left = [k for k in range(row, len(normals)) if normals[k][column]]
            if not left:
                break
            first = min(left, key=lambda k: abs(normals[k][column]))
            normals[row], normals[first] = normals[first], normals[row]
            if normals[row][column] < 0:
                normals[row] = [-x for x in normals[row]]
            for k in range(len(normals)):
                if k != row:
                    q = normals[k][column] // normals[row][column]
                    normals[k] = [x - q * y for x, y in zip(normals[k], normals[row], strict=True)]
            if not any(normals[k][column] for k in range(row + 1, len(normals))):
                row += 1
                break
    exact = tuple(tuple(n) for n in normals)
    return exact, tuple(x % 1 for x in _apply(exact, p))


def _identity(n: int) -> Integers:
    return tuple(tuple(int(i == j) for j in range(n)) for i in range(n))


def _apply(a: Integers, x: Sequence[Fraction]) -> Vector:
    return tuple(sum((n * y for n, y in zip(row, x, strict=True)), Fraction(0)) for row in a)


def _times(a: Integers, b: Integers) -> Integers:
    columns = list(zip(*b, strict=True))
    return tuple(
        tuple(sum(x * y for x, y in zip(row, c, strict=True)) for c in columns) for row in a
    )


def _plus(x: Vector, y: Vector) -> Vector:
    return tuple(a + b for a, b in zip(x, y, strict=True))


__all__ = ["Group", "Operation", "Position", "group"]
