r"""Prediction kinds: what the output of a network means.

On a Gaussian path every kind is a row (p, q): prediction = p x_1 + q x_0. Together with x_t = a x_1 + s x_0 it is a
2 x 2 linear system with determinant a q - s p, so one `resolve` serves all kinds; where the determinant vanishes, the
kind says nothing about the ends. The further kind ``logits`` gives class probabilities of the data: x_1 = softmax.

| kind | p | q | determinant |
|---|---|---|---|
| data | 1 | 0 | -s |
| noise | 0 | 1 | a |
| score | 0 | -1 / s | -a / s |
| velocity | a' | s' | a s' - s a' (never 0) |
| v | -s | a | a^2 + s^2 (never 0) |
"""

from __future__ import annotations

from torch import Tensor

from .errors import unknown
from .paths.base import Ends
from .paths.gaussian import Coefficients
from .shapes import expand

Scalar = Tensor | float

_ROWS = {
    "data": lambda c: (1.0, 0.0),
    "noise": lambda c: (0.0, 1.0),
    "score": lambda c: (0.0, -1.0 / c.s),
    "velocity": lambda c: (c.da, c.ds),
    "v": lambda c: (-c.s, c.a),
}

KINDS = (*_ROWS, "logits")


def row(kind: str, c: Coefficients) -> tuple[Scalar, Scalar]:
    """Return (p, q) of a linear prediction kind.

    Raises:
        SciflowError: `kind` is no linear kind.
    """
    if kind not in _ROWS:
        raise unknown("prediction kind", kind, _ROWS)
    return _ROWS[kind](c)


def _times(scalar: Scalar, x: Tensor) -> Tensor:
    return x * (expand(scalar, x) if isinstance(scalar, Tensor) else scalar)


def combine(kind: str, c: Coefficients, ends: Ends) -> Tensor:
    """Return p x_1 + q x_0: the ends said as a prediction of `kind`."""
    p, q = row(kind, c)
    assert ends.x0 is not None
    return _times(p, ends.x1) + _times(q, ends.x0)


def resolve(kind: str, c: Coefficients, prediction: Tensor, x_t: Tensor) -> Ends:
    """Return both ends from a prediction and the state it was made from.

    Args:
        kind: A linear prediction kind.
        c: Coefficients at the time of `x_t`: floats or ``[B]``.
        prediction: Network output ``[B, ...]``.
        x_t: State ``[B, ...]``.
    """
    p, q = row(kind, c)
    determinant = c.a * q - c.s * p
    x1 = _times(q / determinant, x_t) - _times(c.s / determinant, prediction)
    x0 = _times(c.a / determinant, prediction) - _times(p / determinant, x_t)
    return Ends(x1, x0)


def error_scale(kind: str, measure: str, c: Coefficients) -> Scalar:
    """Factor from an error of a prediction of `kind` to the error it causes in the kind `measure`, at fixed x_t.

    An error d of the prediction moves the ends by (-s, a) d / determinant, and the other kind by its row times that.
    """
    p, q = row(kind, c)
    p_measure, q_measure = row(measure, c)
    return (q_measure * c.a - p_measure * c.s) / (c.a * q - c.s * p)
