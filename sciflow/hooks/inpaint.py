r"""Inpainting: elements that are known are held on their own way from noise to data, the rest is generated around them.

At every knot the known elements are replaced by a fresh draw of x_t given the known data, and at t = 1 by
these data themselves; the network thus sees a known part with the noise that belongs to the time. Works for every path.

Replacing is approximate: the rest has seen other draws of the known part on its way, which weakens the tie between them
(a pair with correlation .8 keeps 60 % of it under ancestral sampling, 43 % under the probability flow). Corrections at
each time restore it: predictor-corrector with snr .3 and 100 steps keeps 80 % with one correction per step, 92 % with
five.

Reference: Song et al., arXiv:2011.13456, section 5 and appendix I.2 (imputation); Lugmayr et al., RePaint,
arXiv:2201.09865, whose resampling is not part of this hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SciflowError, expected, unknown
from ..shapes import expand
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .base import Hook


@dataclass(frozen=True)
class Inpaint(Hook):
    """Hold known elements.

    The noise of the known elements comes from streams of its own, numbered as the samples are, so the draws of the
    solver are those of a run without the hook, and a sample does not depend on its batch.

    Args:
        clean: Data ``[B, ...]``, of the batch that is generated; only the known elements matter.
        known: For some components, a boolean mask whose shape is a prefix of the component's shape; True where known.
    """

    clean: State
    known: Mapping[str, Tensor]

    def state(self, system: System, state: State, t: float, streams: Streams) -> State:
        """Replace the known elements by the data as they look at `t`.

        Raises:
            SciflowError: At t = 0, where a component is unknown, or its shape or mask does not fit.
        """
        # The name carries the time, so every knot has noise of its own, whatever was drawn before.
        own = Streams(streams.seed, streams.index, f"{streams.purpose} inpaint {t!r}")
        fields = {}
        for name, known in self.known.items():
            if t == 0:
                self._check(name, known, system, state)
            x, component = state[name], system[name]
            value = self.clean[name].to(x.device, x.dtype)
            if t < 1:
                dtype = x.dtype if x.is_floating_point() else torch.float32
                times = torch.full((len(streams),), t, dtype=dtype, device=x.device)
                value, _ = component.corrupt(
                    value, times, own, state.mask(name), centre=system.centre(name, state)
                )
            fields[name] = torch.where(expand(known.to(x.device), x), value, x)
        return state.replace(**fields)

    def _check(self, name: str, known: Tensor, system: System, state: State) -> None:
        if name not in system:
            raise unknown("component to inpaint", name, system)
        if name not in self.clean:
            raise unknown("component of the known data", name, self.clean)
        x, clean = state[name], self.clean[name]
        if clean.shape != x.shape:
            raise expected(
                f"known data of component {name!r}",
                tuple(clean.shape),
                f"the shape of the batch, {tuple(x.shape)}",
                "give one sample of known data for each sample of the batch",
            )
        if known.dtype != torch.bool or known.shape != x.shape[: known.dim()]:
            raise expected(
                f"mask of what is known of component {name!r}",
                f"{known.dtype} {tuple(known.shape)}",
                f"booleans whose shape begins {tuple(x.shape)}",
            )
        _check_closed(name, system[name], known, x)


def _check_closed(name: str, component: Component, known: Tensor, x: Tensor) -> None:
    """Refuse a mask that the space would tear apart, such as one entry of a symmetric pair."""
    full = expand(known, x).expand_as(x).to(torch.float64)
    projected = component.space.project(full, None)
    if bool(((projected > 0) & (projected < 1)).any()):
        raise SciflowError(
            f"mask of what is known of component {name!r}: got an entry without its mirror image, expected a mask "
            f"with the symmetry of {type(component.space).__name__}; mark both (i, j) and (j, i)"
        )
