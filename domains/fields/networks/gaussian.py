r"""The exact network of normal data: what a linear-Gaussian forecast says in the words of a process.

Where the data of a component are normal with mean 0 and covariance C, the ends of a Gaussian path x_t = a x_1 + s x_0
are known exactly,

.. math:: E[x_1 | x_t] = a C (a^2 C + s^2)^{-1} x_t, \qquad E[x_0 | x_t] = s (a^2 C + s^2)^{-1} x_t

so nothing is trained: C is that of the coefficients of the data. Between the coarsest bands it is full in its leading
directions and white in the others; each coefficient of the finer bands stands for itself.

Reference: Karras et al., arXiv:2206.00364, appendix B.3; Tipping, Bishop, Probabilistic principal component analysis,
J. R. Stat. Soc. B 61 (1999).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sciflow.errors import SciflowError
from sciflow.paths.base import Ends
from sciflow.paths.gaussian import GaussianPath
from sciflow.prediction import combine
from sciflow.shapes import expand
from sciflow.state import State
from sciflow.system import System


class Gaussian(nn.Module):
    """The exact network of normal data; see the module. Made by its shapes, then given its numbers by `fit`.

    Args:
        system: The system; every path must be Gaussian.
        shapes: Shape of one sample of each component.
        coarse: Positions of the channels of the coarsest bands in each component.
        directions: How many directions have a variance of their own.

    Raises:
        SciflowError: A path is not Gaussian.
    """

    def __init__(
        self,
        system: System,
        shapes: Mapping[str, Sequence[int]],
        coarse: Mapping[str, Sequence[int]],
        directions: int = 200,
    ) -> None:
        super().__init__()
        self.system, self.coarse = system, {k: list(v) for k, v in coarse.items()}
        for name, component in system.items():
            if not isinstance(component.path, GaussianPath) or component.kind == "logits":
                raise SciflowError(
                    f"network gaussian: got path {type(component.path).__name__}, expected a Gaussian path; set "
                    "process = 'cosine'"
                )
            size = len(self.coarse[name]) * int(torch.tensor(shapes[name][1:]).prod())
            count = min(directions, size)
            self.register_buffer(f"{name}_basis", torch.zeros(size, count, dtype=torch.float16))
            self.register_buffer(f"{name}_leading", torch.ones(count))
            self.register_buffer(f"{name}_others", torch.ones(()))
            self.register_buffer(f"{name}_variance", torch.ones(*shapes[name]))

    @torch.no_grad()
    def fit(self, data: State) -> Gaussian:
        """Take the covariance of data; returns itself.

        Args:
            data: Clean components, samples in the first dimension.
        """
        for name in self.system:
            basis, x = self.get_buffer(f"{name}_basis"), data[name]
            self.get_buffer(f"{name}_variance").copy_(x.square().mean(0))
            flat = x[:, self.coarse[name]].flatten(1).double()
            if not flat.shape[1]:
                continue
            values, vectors = torch.linalg.eigh(flat.mT @ flat / len(flat))
            count = basis.shape[1]
            # Directions that 16 bits hold are all but orthonormal; their variance is measured along them.
            basis.copy_(vectors[:, -count:].flip(1))
            self.get_buffer(f"{name}_leading").copy_(values[-count:].flip(0))
            rest = values[:-count].sum() / max(1, len(values) - count)
            self.get_buffer(f"{name}_others").copy_(rest.clamp(min=1e-6))
        return self

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Predict every component; see `sciflow.system.Network`."""
        found = {}
        for name, component in self.system.items():
            path = component.path
            assert isinstance(path, GaussianPath)
            at, x = path.coefficients(t), state[name]
            a, s = (expand(torch.as_tensor(v).to(x).expand(len(x)), x) for v in (at.a, at.s))
            per = 1 / (a.square() * self.get_buffer(f"{name}_variance") + s.square())
            x1 = a * self.get_buffer(f"{name}_variance") * per * x
            x0 = s * per * x
            rows = self.coarse[name]
            if rows:
                part = x[:, rows]
                flat, wide = part.flatten(1), self.get_buffer(f"{name}_basis").to(x.dtype)
                b, n = a.flatten(1), s.flatten(1)
                leading = self.get_buffer(f"{name}_leading")
                others = self.get_buffer(f"{name}_others")
                along = flat @ wide
                rest = flat - along @ wide.mT
                own = 1 / (b.square() * leading + n.square())
                left = 1 / (b.square() * others + n.square())
                x1[:, rows] = (
                    ((b * leading * own * along) @ wide.mT) + b * others * left * rest
                ).reshape(part.shape)
                x0[:, rows] = (((n * own * along) @ wide.mT) + n * left * rest).reshape(part.shape)
            found[name] = combine(component.kind, at, Ends(x1, x0))
        return found


class Beside(nn.Module):
    """The sum of a network that is trained and the exact one of normal data.

    Args:
        trained: Network that begins at zero.
        gaussian: Of the data, fitted.
    """

    def __init__(self, trained: nn.Module, gaussian: Gaussian) -> None:
        super().__init__()
        self.trained, self.gaussian = trained, gaussian

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Predict every component; see `sciflow.system.Network`."""
        known = self.gaussian(state, t)
        return {name: value + known[name] for name, value in self.trained(state, t).items()}


__all__ = ["Beside", "Gaussian"]
