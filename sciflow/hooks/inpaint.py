r"""Inpainting: elements that are known are held on their own way from noise to data, the rest is generated around them.

At every knot the known elements are replaced by a fresh draw of x_t given the known data, and at t = 1 by
these data themselves; the network thus sees a known part with the noise that belongs to the time. Works for every path.

Replacing is approximate: the rest has seen other draws of the known part on its way, which weakens the tie between them
(of a pair with correlation .8 ancestral sampling keeps 60 %, the probability flow 43 %). Two remedies:

* resampling (`repeats`): after some steps the whole state is noised back to where they began, and they are made again;
  the rest and the known part then agree better each time (of the same pair, in 60 steps, ancestral sampling keeps 82 %
  with 3 and 95 % with 10 repeats, the flow 72 % and 92 %). For every path that can be noised step by step, jumps among
  them, and every solver;
* corrections at each time: predictor-corrector with snr .3 and 100 steps keeps 80 % of the tie with one correction per
  step, 92 % with five.

Where noise means that labels are redrawn (jumps), the known elements may be shown as they are all along (`noised`
false): the network has seen such states, since some labels are kept at every time, and learns of them sooner.

Held only up to a time before the end (`until`), data are what generation begins from: the network goes on from them
with their noise of that time, and changes the more of them the earlier it is (SDEdit).

Reference: Song et al., arXiv:2011.13456, section 5 and appendix I.2 (imputation); Lugmayr et al., RePaint,
arXiv:2201.09865, algorithm 1 and section 4.2 (resampling, jumps over several steps); Meng et al., SDEdit,
arXiv:2108.01073, section 3 (beginning from noised data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import SciflowError, expected, unknown
from ..shapes import expand
from ..solvers.base import Predict, Solver, Step
from ..state import State
from ..streams import Streams
from ..system import Component, System
from . import rewind
from .base import Hook, repeated
from .wrapper import Wrapper


@dataclass(frozen=True)
class Inpaint(Hook):
    """Hold known elements.

    The noise of the known elements comes from streams of its own, numbered as the samples are, so without repeats the
    draws of the solver are those of a run without the hook, and a sample does not depend on its batch.

    Args:
        clean: Data ``[B, ...]``, of the batch that is generated; only the known elements matter.
        known: For some components, a boolean mask whose shape is a prefix of the component's shape; True where known.
        repeats: How often every stretch of the way but the last step is made, >= 1; network calls grow by this factor.
        jump: Length of a stretch in steps, >= 1.
        noised: Whether the known elements are shown with the noise of their time; on continuous paths they have to be.
        until: Time up to which they are held, in [0, 1]; at 0 not at all.
    """

    clean: State
    known: Mapping[str, Tensor]
    repeats: int = 1
    jump: int = 1
    noised: bool = True
    until: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.until <= 1:
            raise expected("until of inpainting", self.until, "a time in [0, 1]")
        for name in ("repeats", "jump"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise expected(f"{name} of inpainting", value, "a whole number >= 1")

    def solver(self, solver: Solver) -> Solver:
        """Make every stretch of the way several times, if asked to."""
        return solver if self.repeats == 1 else _Resampled(solver, self)

    def state(self, system: System, state: State, t: float, streams: Streams) -> State:
        """Replace the known elements by the data as they look at `t`.

        Raises:
            SciflowError: At t = 0, where a component is unknown, or its shape or mask does not fit.
        """
        if t > self.until:
            return state
        # The name carries the time, and what was drawn before, since a knot may be passed again.
        purpose = f"{streams.purpose} inpaint {t!r}"
        if self.repeats > 1:
            purpose = f"{purpose} {streams.draws}"
        own = Streams(streams.seed, streams.index, purpose)
        fields = {}
        for name, known in self.known.items():
            if t == 0:
                self._check(name, known, system, state)
            x, component = state[name], system[name]
            value = repeated(self.clean[name], state.batch_size, "known data")
            value = value.to(x.device, x.dtype)
            if t < 1 and (self.noised or component.path.continuous):
                dtype = x.dtype if x.is_floating_point() else torch.float32
                times = torch.full((len(streams),), t, dtype=dtype, device=x.device)
                value, _ = component.corrupt(
                    value, times, own, state.mask(name), centre=system.centre(name, state)
                )
            where = repeated(known, state.batch_size, "mask of what is known").to(x.device)
            fields[name] = torch.where(expand(where, x), value, x)
        return state.replace(**fields)

    def _check(self, name: str, known: Tensor, system: System, state: State) -> None:
        if name not in system:
            raise unknown("component to inpaint", name, system)
        if name not in self.clean:
            raise unknown("component of the known data", name, self.clean)
        x, clean = state[name], self.clean[name]
        if clean.shape[1:] != x.shape[1:] or clean.shape[0] == 0 or len(x) % len(clean):
            raise expected(
                f"known data of component {name!r}",
                tuple(clean.shape),
                f"the shape of the batch, {tuple(x.shape)}",
                "give one sample of known data for each sample of the batch",
            )
        if known.dtype != torch.bool or known.shape != clean.shape[: known.dim()]:
            raise expected(
                f"mask of what is known of component {name!r}",
                f"{known.dtype} {tuple(known.shape)}",
                f"booleans whose shape begins {tuple(clean.shape)}",
            )
        _check_closed(name, system[name], known, clean)


def _check_closed(name: str, component: Component, known: Tensor, x: Tensor) -> None:
    """Refuse a mask that the space would tear apart, such as one entry of a symmetric pair."""
    full = expand(known, x).expand_as(x).to(torch.float64)
    projected = component.space.project(full, None)
    if bool(((projected > 0) & (projected < 1)).any()):
        raise SciflowError(
            f"mask of what is known of component {name!r}: got an entry without its mirror image, expected a mask "
            f"with the symmetry of {type(component.space).__name__}; mark both (i, j) and (j, i)"
        )


@dataclass(frozen=True)
class _Resampled(Wrapper):
    """Stretches of several steps, each made several times; between two times the state is noised back.

    Args:
        inner: Solver of the steps.
        hook: The inpainting.
    """

    hook: Inpaint

    def check(self, system: System) -> None:
        """Refuse what cannot be noised back."""
        self.inner.check(system)
        rewind.check(system, "inpainting with repeats", "set repeats = 1")

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Join the steps of each stretch, and plan each once more as if the way began there."""
        steps, stretches = self.inner.plan(system, knots), []
        for begin in range(0, len(steps) - 1, self.hook.jump):
            part = tuple(steps[begin : min(begin + self.hook.jump, len(steps) - 1)])
            # One knot more, so that no step thinks it is the last of all, and as many as the solver asks for.
            way = list(knots[begin : begin + len(part) + 2])
            while len(way) <= getattr(self, "least", 1):
                way.insert(-1, (way[-2] + way[-1]) / 2)
            anew = tuple(self.inner.plan(system, way)[: len(part)])
            first, last = part[0], part[-1]
            stretches.append(replace(first, s=last.s, then=last.then, extra=(part, anew)))
        # The last step returns what is most likely, not a draw: it is made once.
        return [*stretches, replace(steps[-1], extra=((steps[-1],), ()))]

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Make the steps of a stretch, again and again."""
        steps, anew = step.extra
        repeats = 1 if step.last else self.hook.repeats
        for repeat in range(repeats):
            if repeat:
                state = rewind.rewind(system, state, step, streams)
                if not self.hook.noised:
                    state = self.hook.state(system, state, step.t, streams)
                # What was remembered belongs to another trajectory.
                steps, carry = anew, self.inner.start()
            for part in steps:
                state, carry = self.inner.step(system, predict, state, part, carry, streams)
                # The last state of the stretch is left to the loop.
                if part is not steps[-1] or repeat < repeats - 1:
                    state = self.hook.state(system, state, part.s, streams)
        return state, carry
