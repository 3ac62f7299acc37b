r"""Affine steps: the one form that a step of most solvers takes on a continuous path.

    x_s = w_x x_t + sum_i (w_1i E[x_1]_i + w_0i E[x_0]_i + w_zi E[z]_i) + w_n n

over the beliefs i that the step knows: one for each network call, or for each knot that a multistep scheme remembers.
A solver is then a few numbers per component, computed on the host; `move` and `blend` are the fused updates that they
steer. The score needs no weight of its own: it is -E[x_0 | x_t] / s. Beliefs that nobody has looked at (`Unresolved`)
are never formed: their weights are folded into those of the state and of the network's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..paths.base import Ends
from ..paths.gaussian import Coefficients
from ..prediction import Unresolved
from ..spaces import Space
from ..state import State
from ..streams import Streams
from ..system import Component, System

Scalar = Tensor | float


@dataclass(frozen=True)
class Affine:
    """Weights of one step of one component that knows one belief.

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
    ends: tuple[tuple[float, float, float], ...] = field(init=False, repr=False, compare=False)
    """Weights of x_1, x_0 and z of each belief (see `Blend`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", ((self.x1, self.x0, self.z),))


@dataclass(frozen=True)
class Blend:
    """Weights of one step of one component that knows several beliefs.

    Args:
        x: Weight of the state.
        ends: For each belief the weights of its x_1, x_0 and z.
        noise: Weight of fresh noise; with 0 none is drawn.
        centre: See `Affine`.
    """

    x: float
    ends: tuple[tuple[float, float, float], ...]
    noise: float = 0.0
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
    return _apply(component, x, (end,), w, streams, mask, centre)


def move(
    system: System,
    state: State,
    ends: Mapping[str, Ends],
    weights: Mapping[str, Affine],
    streams: Streams,
) -> State:
    """Move every component by its weights (see `apply`)."""
    return blend(system, state, (ends,), weights, streams)


def blend(
    system: System,
    state: State,
    beliefs: Sequence[Mapping[str, Ends]],
    weights: Mapping[str, Affine] | Mapping[str, Blend],
    streams: Streams,
) -> State:
    """Move every component by its weights from several beliefs.

    Args:
        system: The system.
        state: State at the start.
        beliefs: Believed ends of every component, in the order of `Blend.ends`.
        weights: Weights of every component.
        streams: Random streams of the batch.
    """
    fields = {}
    alone = beliefs[0] if len(beliefs) == 1 else None
    for name, component in system.items():
        x, w, mask = state[name], weights[name], state.masks.get(name)
        if alone is not None and component.plain and type(end := alone[name]) is Unresolved:
            fields[name] = _fused(component.space, x, end, w, streams, mask)
            continue
        ends = [belief[name] for belief in beliefs]
        centre = system.centre(name, state)
        fields[name] = _apply(component, x, ends, w, streams, mask, centre)
    return state.replace(**fields)


def _fused(
    space: Space,
    x: Tensor,
    end: Unresolved,
    w: Affine | Blend,
    streams: Streams,
    mask: Tensor | None,
) -> Tensor:
    """What `_apply` does for one belief that nobody has looked at, without a centre: most steps of all."""
    share = w.ends[0]
    of_state, of_prediction = end.fold(share[0], share[1])
    own, noise = w.x, w.noise
    if end.x_t is x:
        own += of_state
    if own == 1.0:
        y = x.add(end.prediction, alpha=of_prediction)
    elif own == 0.0:
        y = end.prediction * of_prediction
    elif not noise and abs(own + of_prediction - 1.0) < 1e-15:
        y = torch.lerp(end.prediction, x, own)  # one pass over memory instead of two
    else:
        y = (x * own).add_(end.prediction, alpha=of_prediction)
    if end.x_t is not x and of_state:
        y.add_(end.x_t, alpha=of_state)
    if noise:
        y.add_(space.noise(x.shape[1:], streams, mask, x.dtype), alpha=noise)
    return space.project(y, mask)


def _apply(
    component: Component,
    x: Tensor,
    ends: Sequence[Ends],
    w: Affine | Blend,
    streams: Streams,
    mask: Tensor | None,
    centre: Tensor | float,
) -> Tensor:
    space, own, shares = component.space, w.x, w.ends
    if len(ends) > 1 and type(space).lift is not Space.lift:
        ends = [ends[0], *(component.near(end, ends[0]) for end in ends[1:])]
    terms: list[tuple[Scalar, Tensor | None]] = []
    for end, (data, noise, latent) in zip(ends, shares, strict=False):
        if type(end) is Unresolved:
            of_state, of_prediction = end.fold(data, noise)
            if end.x_t is x:
                own += of_state
            else:
                terms.append((of_state, end.x_t))
            terms.append((of_prediction, end.prediction))
        else:
            terms.append((data, end.x1))
            terms.append((noise, end.x0))
            terms.append((latent, end.z))
    y = total(x, own, terms)
    if not isinstance(centre, float) or centre:
        weight = w.centre
        if weight is None:
            weight = 1 - w.x - sum(share[0] for share in shares)
        y = y + weight * torch.as_tensor(centre, dtype=y.dtype, device=y.device)
    if isinstance(w.noise, Tensor):
        y = y + space.noise(x.shape[1:], streams, mask, x.dtype) * w.noise
    elif w.noise:
        y.add_(space.noise(x.shape[1:], streams, mask, x.dtype), alpha=w.noise)
    return space.project(y, mask)


def total(x: Tensor, own: Scalar, terms: Sequence[tuple[Scalar, Tensor | None]]) -> Tensor:
    """Return ``own x + sum of weight tensor``, always a new tensor; terms of weight 0 are not looked at.

    Args:
        x: A tensor.
        own: Its weight: a number, or a tensor without dimensions where a step is compiled.
        terms: Further weights and tensors.
    """
    if torch.compiler.is_compiling():
        y = x * own  # one loop is made of all of it
        for w, v in terms:
            if v is not None and (isinstance(w, Tensor) or w):
                y = y + v * w
        return y
    y: Tensor | None = x if own == 1.0 else None if own == 0.0 else x * own
    fresh = y is not None and y is not x
    for w, v in terms:
        if v is None or not w:
            continue
        assert not isinstance(w, Tensor)
        # The first operation makes a new tensor, the others may then write into it.
        if fresh and y is not None:
            y.add_(v, alpha=w)
        else:
            y = v * w if y is None else y.add(v, alpha=w)
            fresh = True
    return y if fresh and y is not None else x * own
