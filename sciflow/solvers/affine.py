r"""Affine steps: the one form that a step of most solvers takes on a Gaussian path.

    x_s = w_x x_t + w_1 E[x_1 | x_t] + w_0 E[x_0 | x_t] + w_z z

A solver is then four numbers per component, computed on the host; `move` is the fused update that
they steer. The score needs no weight of its own: it is -E[x_0 | x_t] / s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..paths.base import Ends
from ..paths.gaussian import Coefficients
from ..state import State
from ..streams import Streams
from ..system import Component, System


@dataclass(frozen=True)
class Affine:
    """Weights of one step of one component.

    Args:
        x: Weight of the state.
        x1: Weight of the believed data.
        x0: Weight of the believed noise.
        noise: Weight of fresh noise; with 0 none is drawn.
        z: Weight of the believed latent noise of a path between two data sets.
        centre: Weight of the centre of a mean-reverting path; None makes the step one of x - centre.
    """

    x: float = 1.0
    x1: float = 0.0
    x0: float = 0.0
    noise: float = 0.0
    z: float = 0.0
    centre: float | None = None


def velocity(c: Coefficients, length: float) -> Affine:
    """Step of `length` in t along the probability-flow velocity a' x_1 + s' x_0 taken at `c`."""
    return Affine(x1=length * float(c.da), x0=length * float(c.ds), z=length * float(c.dgamma))


def exponential(now: Coefficients, then: Coefficients) -> Affine:
    """Probability-flow step that is exact while the believed data stay as they are (DDIM).

    Reference: Song, Meng, Ermon, Denoising diffusion implicit models, arXiv:2010.02502, equation
    12.
    """
    ratio = float(then.s) / float(now.s)
    return Affine(x=ratio, x1=float(then.a) - float(now.a) * ratio)


def apply(
    component: Component,
    x: Tensor,
    end: Ends,
    w: Affine,
    streams: Streams,
    mask: Tensor | None,
    centre: Tensor | float = 0.0,
) -> Tensor:
    """Move one component by its weights; the result lies in the space, zero on padding.

    Args:
        component: The component.
        x: Its state at the start.
        end: Its believed ends.
        w: Its weights.
        streams: Random streams of the batch.
        mask: Its mask, or None.
        centre: What its path falls back to (see `System.centre`).
    """
    # The first addition makes a new tensor, the others may then write into it.
    x = (x if w.x == 1.0 else x * w.x).add(end.x1, alpha=w.x1)
    if w.x0:
        assert end.x0 is not None
        x.add_(end.x0, alpha=w.x0)
    if w.z:
        assert end.z is not None
        x.add_(end.z, alpha=w.z)
    if not isinstance(centre, float) or centre:
        weight = 1 - w.x - w.x1 if w.centre is None else w.centre
        x.add_(torch.as_tensor(centre, dtype=x.dtype, device=x.device), alpha=weight)
    if w.noise:
        x.add_(component.space.noise(x.shape[1:], streams, mask, x.dtype), alpha=w.noise)
    return component.space.project(x, mask)


def move(
    system: System,
    state: State,
    ends: Mapping[str, Ends],
    weights: Mapping[str, Affine],
    streams: Streams,
) -> State:
    """Move every component by its weights (see `apply`)."""
    return state.replace(
        **{
            name: apply(
                c,
                state[name],
                ends[name],
                weights[name],
                streams,
                state.mask(name),
                system.centre(name, state),
            )
            for name, c in system.items()
        }
    )
