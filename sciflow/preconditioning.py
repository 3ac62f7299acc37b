r"""Preconditioning: what a network sees and says has unit variance at every noise level.

Kind ``edm`` makes the output so (see `prediction`); here the input is, c_in x_t with c_in = 1 / sqrt(a^2 d^2 + s^2) for
data of standard deviation d around the component's centre. Together they are F(c_in x_t, t) in

    D(x_t) = c_skip x_t + c_out F(c_in x_t, t).

The time takes the place of c_noise: on path ``edm`` it is even in sigma^(1/rho).

Reference: Karras et al., Elucidating the design space of diffusion-based generative models, arXiv:2206.00364,
equation 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .paths.gaussian import GaussianPath
from .prediction import input_scale
from .shapes import expand
from .state import State
from .system import Network, System


@dataclass(frozen=True)
class Preconditioned:
    """A network that sees c_in (x_t - centre) of every component of kind ``edm``, and the others as they are.

    Args:
        network: The network to be called.
        system: The system whose components it predicts.
    """

    network: Network
    system: System

    def __call__(self, state: State, t: Tensor) -> Mapping[str, Tensor]:
        """Scale the state and call the network; see `sciflow.system.Network`."""
        fields = {}
        for name, component in self.system.items():
            path = component.path
            if component.kind == "edm" and isinstance(path, GaussianPath):
                scale = torch.as_tensor(input_scale(path.coefficients(t)))
                centred = state[name] - self.system.centre(name, state)
                fields[name] = component.space.project(
                    centred * expand(scale, centred), state.mask(name)
                )
        return self.network(state.replace(**fields), t)
