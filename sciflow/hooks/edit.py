r"""Editing: bring samples closer to the law of a model, and no further from themselves than asked.

A sample x is encoded by the probability flow to x_tau, climbs there along the score, and is decoded again:

    x_tau <- clip(x_tau + rate s_tau^2 score(x_tau)),    clip: |x_tau - a_tau x| <= q_kappa s_tau, element by element,

with q_kappa the two-sided normal quantile: what the noising of x itself would exceed with probability 1 - kappa is cut
off (confidence clipping), so a small kappa stays with the input and kappa -> 1 trusts the model. Times are taken in
turn, each from what the one before left. No noise is drawn, and nothing need be known of what went wrong with x.

The flow is followed by Heun's method in the angle atan(a / s), the same for every Gaussian path and singular nowhere:
y = x / sqrt(a^2 + s^2) moves by dy = (s x_1 - a x_0) / sqrt(a^2 + s^2) per unit of angle.

Reference: van Delft et al., CODE: Confident ordinary differential editing, arXiv:2408.12418.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor

from ..errors import SciflowError, expected
from ..paths.gaussian import Coefficients, GaussianPath
from ..state import State
from ..system import Network, System

_NEAR = 1e-3
"""Noise s / a at which a sample is taken for its own noisy version, where the path leaves none at t = 1."""


def edit(
    system: System,
    network: Network,
    samples: State,
    times: Sequence[float] = (0.6, 0.8),
    *,
    rate: float = 0.1,
    rounds: int = 10,
    confidence: float | None = 0.95,
    steps: int = 40,
    centre: State | None = None,
) -> State:
    """Edit samples towards the law of a network.

    Args:
        system: The system; all components follow Gaussian paths.
        network: The network, in evaluation mode.
        samples: What to edit: clean samples, with masks and condition.
        times: Times tau to encode to, in turn; early ones change more.
        rate: Length of a step along the score, in units of s^2.
        rounds: Steps along the score at each time.
        confidence: kappa in (0, 1); None does not clip.
        steps: Steps of the flow, each way; two network calls each.
        centre: Samples around which to clip; None takes `samples`.

    Raises:
        SciflowError: A component follows no Gaussian path, or a setting makes no sense.
    """
    if confidence is not None and not 0 < confidence < 1:
        raise expected("confidence of editing", confidence, "between 0 and 1, or None")
    if not times or not all(0 <= tau < 1 for tau in times):
        raise expected("times of editing", tuple(times), "at least one, each in [0, 1)")
    if steps < 1 or rounds < 0:
        raise expected("steps and rounds of editing", (steps, rounds), "steps >= 1, rounds >= 0")
    reach = math.inf if confidence is None else NormalDist().inv_cdf((1 + confidence) / 2)
    top = _last(system)
    around = samples if centre is None else centre
    with torch.inference_mode():
        for tau in times:
            if tau >= top:
                raise expected("time of editing", tau, f"below {top:g}, where the samples are")
            x = follow(system, network, samples, top, tau, steps)
            at = {name: _path(system, name).at(tau) for name in system}
            for _ in range(rounds):
                score = _believe(system, network, x, tau)
                moved = {
                    name: _clipped(
                        x[name] - rate * at[name].s * score[name][1],
                        around[name],
                        at[name],
                        reach,
                        system.centre(name, x),
                    )
                    for name in system
                }
                x = x.replace(
                    **{n: system[n].space.project(v, x.mask(n)) for n, v in moved.items()}
                )
            samples = follow(system, network, x, tau, top, steps)
    return samples


def follow(
    system: System, network: Network, state: State, start: float, stop: float, steps: int
) -> State:
    """Follow the probability flow from one time to another, in either direction.

    Args:
        system: The system; all components follow Gaussian paths.
        network: The network.
        state: State at `start`.
        start: Time to begin at.
        stop: Time to end at.
        steps: Steps of Heun's method, even in the angle of the first component.

    Raises:
        SciflowError: A component follows no Gaussian path.
    """
    first = _path(system, next(iter(system)))
    ends = [_angle(first.at(t)) for t in (start, stop)]
    angles = [ends[0] + (ends[1] - ends[0]) * i / steps for i in range(steps + 1)]
    ratios = torch.tensor([2 * math.log(math.tan(a)) for a in angles[1:-1]], dtype=torch.float64)
    knots = [start, *first.time(ratios).tolist(), stop]
    with torch.inference_mode():
        for t, s in zip(knots, knots[1:], strict=False):
            slope = _slope(system, network, state, t)
            guess = _turned(system, state, slope, t, s)
            again = _slope(system, network, guess, s)
            mean = {name: (slope[name] + again[name]) / 2 for name in slope}
            state = _turned(system, state, mean, t, s)
    return state


def _path(system: System, name: str) -> GaussianPath:
    component = system[name]
    path = component.path
    if not isinstance(path, GaussianPath) or component.source:
        raise SciflowError(
            f"editing: got component {name!r} on path {type(path).__name__}, expected a Gaussian path from noise to "
            "data, which has a probability flow with a score"
        )
    reason = path.lacks(component.space, "score")
    if reason:
        raise SciflowError(f"editing: got component {name!r}, expected one with a score: {reason}")
    return path


def _last(system: System) -> float:
    """Time at which samples are taken for noisy ones: 1 where noise is left there."""
    last = 1.0
    for name in system:
        path = _path(system, name)
        if path.at(1.0).s <= _NEAR * path.at(1.0).a:
            level = torch.tensor(-2 * math.log(_NEAR), dtype=torch.float64)
            last = min(last, float(path.time(level)))
    return last


def _angle(c: Coefficients) -> float:
    return math.atan2(float(c.a), float(c.s))


def _believe(
    system: System, network: Network, state: State, t: float
) -> dict[str, tuple[Tensor, Tensor]]:
    """Believed ends of x - centre."""
    x = next(iter(state.values()))
    times = torch.full((state.batch_size,), t, dtype=x.dtype, device=x.device)
    ends = system.predict(network, state, times)
    result = {}
    for name, end in ends.items():
        assert end.x0 is not None
        result[name] = (end.x1 - system.centre(name, state), end.x0)
    return result


def _slope(system: System, network: Network, state: State, t: float) -> dict[str, Tensor]:
    """Derivative of (x - centre) / sqrt(a^2 + s^2) with respect to the angle."""
    ends = _believe(system, network, state, t)
    slopes = {}
    for name, (x1, x0) in ends.items():
        c = _path(system, name).at(t)
        length = math.hypot(c.a, c.s)
        slopes[name] = x1 * (c.s / length) - x0 * (c.a / length)
    return slopes


def _turned(system: System, state: State, slopes: dict[str, Tensor], t: float, s: float) -> State:
    fields = {}
    for name, slope in slopes.items():
        path, centre = _path(system, name), system.centre(name, state)
        now, then = path.at(t), path.at(s)
        scale = math.hypot(then.a, then.s)
        y = (state[name] - centre) / math.hypot(now.a, now.s)
        y = y + slope * (_angle(then) - _angle(now))
        fields[name] = system[name].space.project(y * scale + centre, state.mask(name))
    return state.replace(**fields)


def _clipped(
    x: Tensor, sample: Tensor, c: Coefficients, reach: float, centre: Tensor | float
) -> Tensor:
    middle = (sample - centre) * c.a + centre
    most = reach * float(c.s)
    return middle + (x - middle).clamp(-most, most) if math.isfinite(most) else x
