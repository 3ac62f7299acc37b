r"""Inverse problems: samples given a measurement y = A(x_1) + n, with gradients through the network.

By Tweedie's formula the believed data given y are moved by the gradient of the evidence,

    E[x_1 | x_t, y] = E[x_1 | x_t] + (s^2 / a) grad_{x_t} log p(y | x_t),

and with D = E[x_1 | x_t], J = dD / dx_t and the believed covariance V = Cov[x_1 | x_t] = (s^2 / a) J,

    log p(y | x_t) ~ log N(y; A(D), A V A^T + sigma^2),    grad = J^T A^T (A V A^T + sigma^2)^{-1} (y - A(D)).

`Observe` differs in what it takes for V within the brackets:

* ``full``: V itself, by conjugate gradients, each with one backward pass through the network. Exact where the data
  given x_t are Gaussian and A is linear; a nonlinear A is linearised at D.
* ``scalar``: V = v I with v = s^2 d^2 / (a^2 d^2 + s^2), the covariance of data of standard deviation d; one
  backward pass in all.
* ``none``: V = 0, one backward pass. It overstates what y says while x_t is noisy, and takes many steps or a
  `noise` set higher than the true one.

`Tilt` takes any differentiable log-likelihood, or a reward, at D instead.

Reference: Chung et al., Diffusion posterior sampling, arXiv:2209.14687, theorem 1 (none; the authors scale by a step
size over the norm of the residual instead of 1 / sigma^2); Song et al., Pseudoinverse-guided diffusion models, ICLR
2023 (scalar); Boys et al., Tweedie moment projected diffusions, arXiv:2310.06721, and Rozet et al., arXiv:2405.13712
(full; conjugate gradients).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import SciflowError, expected, unknown
from ..paths.base import Ends
from ..paths.gaussian import GaussianPath
from ..shapes import expand
from ..solvers.base import Predict
from ..state import State
from ..system import System
from .base import Hook, repeated

VARIANCES = ("full", "scalar", "none")


class _Through(Hook):
    """Abstract: moves the believed data by a gradient that is taken through the network."""

    gradient: ClassVar[bool] = True
    spread: float

    @abstractmethod
    def pull(self, believed: State, moments: _Moments) -> Mapping[str, Tensor]:
        """Return A^T (A V A^T + sigma^2)^{-1} (y - A(D)), or what stands for it, of each component.

        Args:
            believed: The believed data; components in ``moments.scales`` are leaves that record gradients.
            moments: The believed covariance.
        """

    def predict(self, system: System, predict: Predict) -> Predict:
        """Move the believed ends after each call.

        Raises:
            SciflowError: No component has a score.
        """
        names = [
            name
            for name, c in system.items()
            if isinstance(c.path, GaussianPath)
            and not c.source
            and not (c.path.lacks(c.space, "score") or c.path.lacks(c.space, "posterior"))
        ]
        if not names:
            raise SciflowError(
                f"hook {type(self).__name__}: got components {list(system)}, expected at least one on a Gaussian path, "
                "for the gradient moves nothing else; use hook Particles"
            )

        def guided(state: State, t: float) -> Mapping[str, Ends]:
            at = {name: system[name].path.at(t) for name in names}
            with torch.enable_grad():
                leaves = {name: state[name].detach().requires_grad_() for name in names}
                ends = dict(predict(state.replace(**leaves), t))
                data = {name: end.x1 for name, end in ends.items()}
                fields = {name: x1.detach() for name, x1 in data.items()}
                fields |= {name: fields[name].requires_grad_() for name in names}
                moments = _Moments(leaves, {n: data[n] for n in names}, at, self.spread)
                pull = self.pull(state.replace(**fields), moments)
                step = moments.times(pull, last=True)
            result = {k: Ends(e.x1.detach(), _freed(e.x0), _freed(e.z)) for k, e in ends.items()}
            for name in names:
                c, end = at[name], result[name]
                assert end.x0 is not None
                result[name] = Ends(end.x1 + step[name], end.x0 - step[name] * (c.a / c.s))
            return result

        return guided


def _freed(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach()


class _Moments:
    """The believed covariance V = (s^2 / a) J of all components together, as a linear map.

    Args:
        leaves: x_t of each component.
        data: D of each component, computed from them.
        at: Coefficients of each component.
        spread: Standard deviation of the data.
    """

    def __init__(
        self,
        leaves: Mapping[str, Tensor],
        data: Mapping[str, Tensor],
        at: Mapping[str, Any],
        spread: float,
    ) -> None:
        self.leaves, self.data, self.at, self.spread = leaves, data, at, spread

    def plain(self, w: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return v w, with v the covariance of uncorrelated normal data given x_t."""
        d, at = self.spread**2, self.at
        share = {n: c.s**2 * d / (c.a**2 * d + c.s**2) for n, c in at.items()}
        return {n: w[n] * share[n] for n in at}

    def times(self, w: Mapping[str, Tensor], last: bool = False) -> dict[str, Tensor]:
        """Return V w; where no signal is left (a = 0), v w.

        Args:
            w: A vector of the space of the data, for each component.
            last: Whether the graph of the network may be freed.
        """
        names = list(self.leaves)
        grads = torch.autograd.grad(
            [self.data[name] for name in names],
            [self.leaves[name] for name in names],
            [w[name] for name in names],
            retain_graph=not last,
            allow_unused=True,
        )
        result = self.plain(w)
        for name, grad in zip(names, grads, strict=True):
            c = self.at[name]
            if c.a > 0:
                result[name] = w[name] * 0 if grad is None else grad * (c.s**2 / c.a)
        return result


Measure = Callable[[State], Tensor]


@dataclass(frozen=True)
class Observe(_Through):
    """Generate given a measurement with Gaussian noise.

    Args:
        measure: A: from the believed data to what would be measured, ``[B, ...]``; differentiable, each sample by
            itself. Components that jump are class probabilities there.
        value: y, ``[B, ...]``.
        noise: Standard deviation sigma of n, > 0.
        variance: What is taken for the believed covariance: one of `VARIANCES`.
        spread: Standard deviation d of the data, for ``scalar`` and for times without any signal.
        iterations: Conjugate gradients, for ``full`` and ``scalar``; as many as there are measured numbers are exact.
    """

    measure: Measure
    value: Tensor
    noise: float
    variance: str = "full"
    spread: float = 1.0
    iterations: int = 4

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES:
            raise unknown("variance of Observe", self.variance, VARIANCES)
        for name in ("noise", "spread"):
            if not getattr(self, name) > 0:
                raise expected(f"{name} of Observe", getattr(self, name), "a positive number")
        if self.iterations < 1:
            raise expected("iterations of Observe", self.iterations, "at least 1")

    def pull(self, believed: State, moments: _Moments) -> Mapping[str, Tensor]:
        """As in the base class.

        Raises:
            SciflowError: The measurement has another shape than `value`.
        """
        names = list(moments.leaves)
        points = [believed[name] for name in names]
        predicted = self.measure(believed)
        value = repeated(self.value, len(predicted), "value of Observe").to(predicted)
        if predicted.shape != value.shape:
            raise expected(
                "measure of Observe",
                tuple(predicted.shape),
                f"the shape of the measured values, {tuple(value.shape)}",
            )
        # A^T u is linear in u; its own gradient with respect to u is A.
        probe = torch.zeros_like(predicted, requires_grad=True)
        back = _gradient(predicted, points, probe, keep=True)

        def transposed(u: Tensor) -> dict[str, Tensor]:
            return dict(zip(names, _gradient(predicted, points, u), strict=True))

        def forward(w: Mapping[str, Tensor]) -> Tensor:
            outputs = [b for b in back if b.requires_grad]
            vectors = [w[n] for n, b in zip(names, back, strict=True) if b.requires_grad]
            return torch.autograd.grad(outputs, probe, vectors, retain_graph=True)[0]

        def spread(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return moments.times(w) if self.variance == "full" else moments.plain(w)

        def operator(u: Tensor) -> Tensor:
            return forward(spread(transposed(u))) + self.noise**2 * u

        residual = value - predicted.detach()
        if self.variance == "none":
            return transposed(residual / self.noise**2)
        return transposed(_conjugate_gradients(operator, residual, self.iterations))


def _gradient(
    output: Tensor, points: list[Tensor], vector: Tensor, keep: bool = False
) -> list[Tensor]:
    grads = torch.autograd.grad(
        output, points, vector, retain_graph=True, create_graph=keep, allow_unused=True
    )
    return [torch.zeros_like(p) if g is None else g for g, p in zip(grads, points, strict=True)]


def _conjugate_gradients(
    operator: Callable[[Tensor], Tensor], b: Tensor, iterations: int
) -> Tensor:
    """Solve operator(u) = b for each sample by itself; a sample that has arrived stays where it is."""

    def dot(p: Tensor, q: Tensor) -> Tensor:
        return (p * q).flatten(1).sum(1)

    u, residual = torch.zeros_like(b), b
    direction, norm = b, dot(b, b)
    tiny = torch.finfo(b.dtype).tiny
    enough = norm * torch.finfo(b.dtype).eps ** 2
    for _ in range(min(iterations, b[0].numel())):
        image = operator(direction)
        curvature = dot(direction, image)
        going = (curvature > tiny) & (norm > enough)
        step = torch.where(going, norm / curvature.clamp_min(tiny), 0.0)
        u = u + expand(step, u) * direction
        residual = residual - expand(step, u) * image
        after = dot(residual, residual)
        turn = torch.where(going, after / norm.clamp_min(tiny), 0.0)
        direction, norm = residual + expand(turn, u) * direction, after
    return u


@dataclass(frozen=True)
class Tilt(_Through):
    """Generate from p(x) exp(l(x)), approximately: l is taken at the believed data.

    Args:
        log_likelihood: l, from the believed data to one number per sample ``[B]``; differentiable.
        scale: Factor of its gradient.
        spread: Standard deviation of the data, for times without any signal.
    """

    log_likelihood: Callable[[State], Tensor]
    scale: float = 1.0
    spread: float = 1.0

    def pull(self, believed: State, moments: _Moments) -> Mapping[str, Tensor]:
        """As in the base class, with the gradient of l in the place of the residual."""
        names = list(moments.leaves)
        value = self.log_likelihood(believed)
        points = [believed[name] for name in names]
        weights = torch.full_like(value, self.scale)
        return dict(zip(names, _gradient(value, points, weights), strict=True))
