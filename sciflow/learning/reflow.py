r"""Reflow: train a flow on the pairs (noise, sample) that another flow has made.

A trained flow carries its noise x_0 to a sample x_1 = F(x_0). Trained again on these pairs, with the same noise, kind
and path, the new flow has straighter trajectories on the linear path, and a convex transport cost that is not higher;
on any Gaussian path its predicted noise is nearly constant along a trajectory, so that one step is nearly enough.

Reference: Liu, Gong, Liu, Flow straight and fast, arXiv:2209.03003, algorithm 1 and theorem 3.5; Wang et al.,
Rectified diffusion, arXiv:2410.07303, section 3 (any path, no conversion).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..coupling import STORED
from ..errors import SciflowError
from ..flow import refuse_noise
from ..grids import Grid
from ..sampling import sample
from ..solvers.base import Solver
from ..spaces import Torus
from ..state import Frame, State, concatenate
from ..streams import Streams
from ..system import Network, System


class Pairs:
    """Pairs of noise and sample as training data, for an objective with the coupling ``stored``.

    Args:
        state: Samples; the noise of component c is the condition ``"noise of c"``.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    def __len__(self) -> int:
        return self.state.batch_size

    def batch(self, index: Tensor) -> State:
        """Return the pairs `index`, int64 ``[B]``."""
        return self.state.select(index)


def pairs(
    system: System,
    network: Network,
    frames: Iterable[tuple[Frame, int]],
    *,
    solver: Solver,
    grid: Grid,
    steps: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Pairs:
    """Generate pairs by a trained model, keeping the noise.

    The noise end of a pair is the x_0 with x(0) = a(0) x_1 + s(0) x_0, so that the path begins where the model did.

    Args:
        system: The system.
        network: The trained network, in evaluation mode.
        frames: Frame and size of each batch; frames of one call have masks and shapes that fit together.
        solver: A solver of the probability flow.
        grid: Time grid.
        steps: Number of steps.
        seed: Seed of the noise.
        device: Device of the network.

    Raises:
        SciflowError: A component has no noise end, or the solver draws noise on its way.
    """
    for name, component in system.items():
        if not component.path.continuous or isinstance(component.space, Torus):
            raise SciflowError(
                f"reflow: got component {name!r} on path {type(component.path).__name__} and space "
                f"{type(component.space).__name__}, expected a continuous path on a vector space; train it as it is"
            )
    made, first = [], 0
    for frame, count in frames:
        streams = Streams.range(seed, first, count, "reflow", device)
        first += count
        start = system.prior(frame.shapes, streams, frame.masks, frame.drawn(streams))
        drawn = streams.draws
        end = sample(
            system, network, frame, streams, solver=solver, grid=grid, steps=steps, start=start
        ).map(torch.clone)
        if streams.draws != drawn:
            raise refuse_noise(solver)
        noise = {}
        for name, component in system.items():
            c, centre = component.path.at(0.0), system.centre(name, start)
            x0, x1 = start[name] - centre, end[name] - centre
            mask = start.mask(name)
            # Where all signal is gone at t = 0, the start is the noise itself, to the bit.
            x0 = (x0 - c.a * x1 if c.a else x0) / c.s
            noise[STORED + name] = component.space.project(x0, mask)
        made.append(end.with_condition(**noise))
    return Pairs(concatenate(made))
