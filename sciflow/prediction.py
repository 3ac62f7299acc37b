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
| edm | s / (d n) | -a d / n | -n / d (never 0), with n^2 = a^2 d^2 + s^2 |

Kind ``edm`` is Karras et al.'s preconditioning for data of standard deviation d (``sigma_data``): the target F has unit
variance, x_1 = c_skip x_t + c_out F with c_skip = a d^2 / n^2 and c_out = s d / n, and an error of F costs x_1 the
least. Its squared error is theirs weighted by 1 / c_out^2. The factor c_in of the network's input is `input_scale`. For
d = 1 and a^2 + s^2 = 1 it is -v.

Reference: Salimans, Ho, arXiv:2202.00512, section 4 (v); Karras et al., arXiv:2206.00364, equations 7-8 and appendix
B.6 (there a = 1).
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
    "edm": lambda c: (c.s * input_scale(c) / c.data, -c.a * c.data * input_scale(c)),
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


def input_scale(c: Coefficients) -> Scalar:
    """Return c_in = 1 / sqrt(a^2 d^2 + s^2), which gives x_t unit variance for data of standard deviation d."""
    return ((c.a * c.data) ** 2 + c.s**2) ** -0.5


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


def inverse(kind: str, c: Coefficients) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """Return the weights of x_t and of the prediction in x_1, then in x_0: the inverse of the 2 x 2 system.

    Raises:
        ZeroDivisionError: The kind says nothing about the ends here, or says it with an infinite weight.
    """
    p, q = row(kind, c)
    determinant = c.a * q - c.s * p
    return q / determinant, -c.s / determinant, -p / determinant, c.a / determinant


def data_of(ends: Ends) -> Ends:
    """Return what a scheme has to remember of the ends that looks at the data alone."""
    return ends if type(ends) is Unresolved else Ends(ends.x1)


class Unresolved(Ends):
    """Ends on a Gaussian path that are formed when somebody looks at them.

    Most steps need a sum of the state and both ends, which is one of the state and the prediction: `fold` says with
    which weights. Whoever reads `x1` or `x0` finds what `resolve` gives.

    Args:
        x_t: State ``[B, ...]`` that the prediction was made from.
        prediction: Network output ``[B, ...]``.
        weights: Numbers that give both ends (see `inverse`).
    """

    x_t: Tensor
    prediction: Tensor
    weights: tuple[float, float, float, float]

    def __init__(
        self, x_t: Tensor, prediction: Tensor, weights: tuple[float, float, float, float]
    ) -> None:
        own = self.__dict__  # past the lock of the frozen class
        own["x_t"], own["prediction"], own["weights"] = x_t, prediction, weights

    @property
    def x1(self) -> Tensor:  # type: ignore[override]
        """Data end ``[B, ...]``."""
        return self._formed("_x1", 1.0, 0.0)

    @property
    def x0(self) -> Tensor:  # type: ignore[override]
        """Noise end ``[B, ...]``."""
        return self._formed("_x0", 0.0, 1.0)

    def _formed(self, name: str, x1: float, x0: float) -> Tensor:
        if name not in self.__dict__:
            of_state, of_prediction = self.fold(x1, x0)
            end = self.prediction if of_prediction == 1.0 else self.prediction * of_prediction
            self.__dict__[name] = end if of_state == 0.0 else end.add(self.x_t, alpha=of_state)
        return self.__dict__[name]

    def fold(self, x1: float, x0: float) -> tuple[float, float]:
        """Return the weights of `x_t` and `prediction` in ``x1 E[x_1] + x0 E[x_0]``."""
        state_1, prediction_1, state_0, prediction_0 = self.weights
        of_1, of_0 = x1 * state_1, x0 * state_0
        of_state = of_1 + of_0
        if -1e-9 < of_state < 1e-9 and abs(of_state) < 1e-15 * (abs(of_1) + abs(of_0)):
            of_state = 0.0  # what rounding leaves of two weights that cancel, as for a velocity
        return of_state, x1 * prediction_1 + x0 * prediction_0
