"""Captured runs: a whole trajectory as one CUDA graph, network included, replayed without the host.

The loop of `sampling` decides nothing by what a tensor holds: its times, weights and number of steps are known before,
and random numbers follow from the seed and the samples' indices on the device. So all kernels of a run of given shapes
can be recorded once and launched together, which is worth most for many steps of a small network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from .errors import SciflowError, expected
from .grids import Grid
from .sampling import sample
from .solvers.base import Solver
from .state import Frame, State
from .streams import Streams
from .system import Network, System

_WARM = 3
"""Runs before the capture, in which libraries choose their kernels and caches fill."""


class Captured:
    """A captured run; call it with the indices of other samples, and other conditions of the same shapes.

    Args:
        system: The system.
        network: The network, in evaluation mode; its weights may change in place afterwards.
        frame: Shapes, masks and condition of the batch, on the device; the masks stay.
        streams: Random streams of the batch, on a CUDA device.
        solver: How to move; one whose steps are fixed before (not an adaptive one).
        grid: Where to stop.
        steps: Number of steps.
        dtype: Floating-point type of continuous components.

    Raises:
        SciflowError: The streams are not on a CUDA device, or the solver decides as it goes.
    """

    def __init__(
        self,
        system: System,
        network: Network,
        frame: Frame,
        streams: Streams,
        *,
        solver: Solver,
        grid: Grid,
        steps: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        device = streams.index.device
        if device.type != "cuda":
            raise expected(
                "device of a captured run",
                device,
                "a CUDA device",
                "call `sample`, which runs on any",
            )
        if solver.own_times or hasattr(solver, "rtol"):
            raise SciflowError(
                f"captured run: got solver {type(solver).__name__}, which decides as it goes, expected one whose steps "
                "are known before; take 'rk4' or another without a tolerance"
            )
        self._index = streams.index.clone()
        # What is drawn by lot is drawn before each run: a domain may wait for the device there.
        self._open = replace(frame, condition=_copied(frame.condition))
        self._streams = lambda: Streams(streams.seed, self._index, streams.purpose)
        self._drawn = _copied(self._open.drawn(self._streams()))

        def run() -> State:
            return sample(
                system,
                network,
                Frame(frame.shapes, frame.masks, self._drawn),
                self._streams(),
                solver=solver,
                grid=grid,
                steps=steps,
                dtype=dtype,
                waits=False,
            )

        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM):
                run()
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._made = run()

    def __call__(self, index: Tensor, condition: Mapping[str, Tensor] | None = None) -> State:
        """Return the samples `index`, the same as `sample` makes of them.

        Args:
            index: Global numbers of the samples, int64, as many as were captured.
            condition: Conditions that differ from those of the capture.
        """
        with torch.inference_mode():
            self._index.copy_(index)
            for name, x in (condition or {}).items():
                self._open.condition[name].copy_(x)
            for name, x in self._open.drawn(self._streams()).items():
                self._drawn[name].copy_(x)
            self._graph.replay()
            return self._made.map(torch.clone)


def _copied(condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in condition.items()}
