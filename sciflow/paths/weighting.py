r"""Loss weights by time: what a squared error of the data costs where the signal-to-noise ratio is b(t) = a^2 / s^2.

| measure | weight of abs(x_1 - prediction)^2 | meaning |
|---|---|---|
| bayes | b'(t) / 2 | bound on the log-likelihood in nats, in continuous time |
| bayes/n | (n / 2) (b(t + 1/n) - b(t)) | the same for n steps, of which one starts at t |
| clipped | 1 + min(b / 2, 30) | every time counts, none drowns the others |

The first two are the losses of Bayesian flow networks, and of diffusion models trained by likelihood: all that matters
of the path is b. They give the last moments nearly all weight (b'(1) is thousands), which serves likelihoods;
``clipped`` serves samples. Without a measure the weight is 1.

Reference: Graves et al., Bayesian flow networks, arXiv:2308.07037, equations 95, 101 and 189; Kingma et al.,
Variational diffusion models, arXiv:2107.00630, equations 14 and 18; Hang et al., arXiv:2303.09556 (clipping).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import expected, unknown
from .bayes import AdditiveBayes
from .gaussian import GaussianPath

NAMES = ("bayes", "clipped")
CLIP = 30.0


def steps(measure: str) -> int | None:
    """Return n of the measure ``bayes/n``, None for any other.

    Raises:
        SciflowError: n is no number of steps.
    """
    name, slash, number = measure.partition("/")
    if name != "bayes" or not slash:
        return None
    if not number.isdecimal() or int(number) < 1:
        raise expected("measure", measure, "'bayes/n' with a number n of steps", "try 'bayes/50'")
    return int(number)


def known(measure: str, kinds: tuple[str, ...]) -> bool:
    """Return whether `measure` is a weight by time; False where it is one of `kinds`.

    Raises:
        SciflowError: It is neither.
    """
    if measure in kinds:
        return False
    if measure in NAMES or steps(measure) is not None:
        return True
    raise unknown("measure", measure, (*kinds, *NAMES, "bayes/50"))


def weight(path: GaussianPath, t: Tensor, measure: str) -> Tensor:
    """Return the weight of the squared error of the data.

    Args:
        path: The path.
        t: Times ``[B]``.
        measure: ``bayes``, ``bayes/n`` or ``clipped``.

    Returns:
        Weights ``[B]``.
    """
    if measure == "clipped":
        return 1 + (_ratio(path, t) / 2).clamp(max=CLIP)
    count = steps(measure)
    if isinstance(path, AdditiveBayes):
        return path.weight(t, count)
    if count is not None:
        return count / 2 * (_ratio(path, (t + 1 / count).clamp(max=1)) - _ratio(path, t))
    c = path.coefficients(t)
    return torch.as_tensor(c.a * (c.da * c.s - c.a * c.ds) / c.s**3)


def _ratio(path: GaussianPath, t: Tensor) -> Tensor:
    c = path.coefficients(t)
    return torch.as_tensor(c.a / c.s) ** 2
