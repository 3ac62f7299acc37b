"""Reduced bases of a lattice: short and nearly orthogonal (LLL), and the one of Niggli.

The Niggli cell is unique: with A, B, C the squared lengths and xi, eta, zeta twice the products b.c, a.c, a.b, it has
A <= B <= C, |xi| <= B, |eta| <= A, |zeta| <= A, all of xi, eta, zeta positive or none, A + B + xi + eta + zeta >= 0,
and in the cases of equality some further order. Plain numbers: for three vectors they are faster than arrays.

Reference: Lenstra, Lenstra, Lovasz, Math. Ann. 261, 515, 1982. Krivy, Gruber, Acta Cryst. A32, 297, 1976, in the stable
form of Grosse-Kunstleve, Sauter, Adams, Acta Cryst. A60, 1, 2004 (the steps 1 to 8), whose tolerance is taken as
pymatgen takes it, so that the cells agree.
"""

from __future__ import annotations

Rows = list[list[float]]
"""Three lattice vectors."""


def dot(u: list[float], v: list[float]) -> float:
    """Return the scalar product."""
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def lll(rows: list[list[float]], delta: float = 0.75) -> list[list[float]]:
    """Return a basis of the same lattice reduced in the sense of Lenstra, Lenstra and Lovasz.

    Args:
        rows: Three vectors.
        delta: How much shorter the next orthogonal part may be.
    """
    b = [list(row) for row in rows]

    def orthogonal() -> tuple[list[list[float]], list[float]]:
        """Gram and Schmidt: coefficients and squared lengths."""
        stars: list[list[float]] = []
        mu = [[0.0] * 3 for _ in range(3)]
        squares: list[float] = []
        for i in range(3):
            star = list(b[i])
            for j in range(i):
                mu[i][j] = dot(b[i], stars[j]) / squares[j]
                star = [x - mu[i][j] * y for x, y in zip(star, stars[j], strict=True)]
            stars.append(star)
            squares.append(dot(star, star))
        return mu, squares

    mu, squares = orthogonal()
    k = 1
    while k < 3:
        for j in range(k - 1, -1, -1):
            q = round(mu[k][j])
            if q:
                b[k] = [x - q * y for x, y in zip(b[k], b[j], strict=True)]
                mu, squares = orthogonal()
        if squares[k] >= (delta - mu[k][k - 1] ** 2) * squares[k - 1]:
            k += 1
        else:
            b[k], b[k - 1] = b[k - 1], b[k]
            mu, squares = orthogonal()
            k = max(k - 1, 1)
    return b


def niggli(rows: Rows, tolerance: float = 1e-5) -> Rows:
    """Return the Niggli basis of a lattice, up to handedness.

    Args:
        rows: Three vectors, not in a plane.
        tolerance: Two numbers are equal within this times the cube root of the volume.
    """
    b = lll(rows)
    e = tolerance * abs(_triple(b)) ** (1.0 / 3.0)
    for _ in range(100):
        aa, bb, cc, xi, eta, zeta = _metric(b)
        if bb + e < aa or (abs(aa - bb) < e and abs(xi) > abs(eta) + e):  # 1
            b[0], b[1] = b[1], b[0]
            aa, bb, cc, xi, eta, zeta = _metric(b)
        if cc + e < bb or (abs(bb - cc) < e and abs(eta) > abs(zeta) + e):  # 2
            b[1], b[2] = b[2], b[1]
            continue
        _sign(b, (xi, eta, zeta), e)  # 3 and 4
        aa, bb, cc, xi, eta, zeta = _metric(b)
        if (
            abs(xi) > bb + e
            or (abs(xi - bb) < e and zeta - e > 2 * eta)
            or (abs(xi + bb) < e and zeta < -e)
        ):  # 5
            b[2] = _less(b[2], b[1], xi)
        elif (
            abs(eta) > aa + e
            or (abs(eta - aa) < e and zeta - e > 2 * xi)
            or (abs(eta + aa) < e and zeta < -e)
        ):  # 6
            b[2] = _less(b[2], b[0], eta)
        elif (
            abs(zeta) > aa + e
            or (abs(zeta - aa) < e and eta - e > 2 * xi)
            or (abs(zeta + aa) < e and eta < -e)
        ):  # 7
            b[1] = _less(b[1], b[0], zeta)
        else:
            total = xi + eta + zeta + aa + bb
            if not (total < -e or (abs(total) < e and 2 * (aa + eta) + zeta > e)):  # 8
                break
            b[2] = [x + y + z for x, y, z in zip(*b, strict=True)]
    return b


def _metric(b: Rows) -> tuple[float, float, float, float, float, float]:
    x, y, z = b
    return dot(x, x), dot(y, y), dot(z, z), 2 * dot(y, z), 2 * dot(x, z), 2 * dot(x, y)


def _triple(b: Rows) -> float:
    (x1, x2, x3), (y1, y2, y3), z = b
    return dot([x2 * y3 - x3 * y2, x3 * y1 - x1 * y3, x1 * y2 - x2 * y1], z)


def _less(vector: list[float], other: list[float], product: float) -> list[float]:
    """Return a vector less another, or plus it, so that it becomes shorter."""
    sign = 1.0 if product > 0 else -1.0
    return [x - sign * y for x, y in zip(vector, other, strict=True)]


def _sign(b: Rows, products: tuple[float, float, float], e: float) -> None:
    """Turn vectors around so that the three products are all positive, or none is."""
    signs = [0 if abs(product) < e else 1 if product > 0 else -1 for product in products]
    if signs[0] * signs[1] * signs[2] > 0:
        flips = [sign < 0 for sign in signs]
    else:
        flips = [sign > 0 for sign in signs]
        if sum(flips) % 2:
            # To turn an odd number of vectors would change the sign of nothing; a product of zero may be turned, too.
            free = [k for k in (2, 1, 0) if signs[k] == 0]
            if free:
                flips[free[0]] = not flips[free[0]]
    for k, flip in enumerate(flips):
        if flip:
            b[k] = [-x for x in b[k]]
