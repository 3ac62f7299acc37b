r"""Conversion: sample a trained network on another path than its own.

Two Gaussian paths pass through the same laws, up to a scale, at times of equal signal-to-noise ratio. With
a(t) / s(t) = a~(u) / s~(u) and c = a~(u) / a(t) = s~(u) / s(t),

    x~_u = c x_t,     both ends as they are,

so what the network says of the ends at (x~_u / c, t) holds on the other path, and every solver works there. The
probability flow ends in the same points; its stochastic relatives differ: a velocity trained on the linear path,
sampled by `ancestral` or `euler-maruyama` as if it were variance preserving, explores more on its way, which is what
particles want. To start from the same noise, choose a path without signal at t = 0 where the trained one has none.

Reference: Karras et al., arXiv:2206.00364, equation 4 (scale and noise level are free); Kim et al., arXiv:2503.19385
(interpolant conversion); Lipman et al., Flow matching guide and code, arXiv:2412.06264 (change of scheduler).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import SciflowError
from ..paths.base import Ends
from ..paths.gaussian import GaussianPath
from ..prediction import combine
from ..shapes import expand
from ..state import State
from ..system import Component, Network, System


def convert(system: System, network: Network, path: GaussianPath) -> tuple[System, Network]:
    """Return a system on another path, and a network for it that asks the given one.

    Args:
        system: System of `network`; all its components follow one Gaussian path.
        network: The network.
        path: Path to sample on.

    Returns:
        The system, of prediction kind ``v``, and the network.

    Raises:
        SciflowError: A component does not follow the same Gaussian path as the first, or is mean-reverting.
    """
    first = next(iter(system.values())).path
    for name, component in system.items():
        other = component.path
        if not isinstance(other, GaussianPath) or other != first or component.source:
            raise SciflowError(
                f"conversion of paths: got component {name!r} on path {other!r}, expected all components on one "
                "Gaussian path from noise to data: at equal noise the others would be at other times"
            )
    assert isinstance(first, GaussianPath)
    origin: GaussianPath = first
    parts = {
        name: Component(c.space, path, "v", c.weight, centre=c.centre)
        for name, c in system.items()
    }
    target = System(parts, system.reduction)

    def converted(state: State, u: Tensor) -> Mapping[str, Tensor]:
        there, t = path.coefficients(u), _time(origin, path, u.double())
        here, wide = origin.coefficients(t), path.coefficients(u.double())
        # Both quotients are the scale; that of the larger terms is the exact one.
        signal = torch.as_tensor(here.a) > torch.as_tensor(here.s)
        ratio = torch.where(
            signal, torch.as_tensor(here.a / wide.a), torch.as_tensor(here.s / wide.s)
        )
        fields = {}
        for name in system:
            centre, x = system.centre(name, state), state[name]
            fields[name] = (x - centre) * expand(ratio.to(x.dtype), x) + centre
        ends = system.predict(network, state.replace(**fields), t.to(u.dtype))
        return {
            name: combine("v", there, Ends(end.x1 - system.centre(name, state), end.x0))
            for name, end in ends.items()
        }

    return target, converted


def _time(origin: GaussianPath, path: GaussianPath, u: Tensor) -> Tensor:
    """Time on `origin` with the noise that `path` has at `u`; the nearest end where there is none."""
    level = path.log_snr(u)
    first, last = origin.log_snr(torch.tensor([0.0, 1.0], dtype=u.dtype, device=u.device))
    t = origin.time(level)
    return torch.where(level <= first, 0.0, torch.where(level >= last, 1.0, t))
