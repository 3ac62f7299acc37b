"""The loop never waits for the device, so that it can be captured: seen on the device that holds no numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sciflow import grids, paths, solvers
from sciflow.capture import Captured
from sciflow.errors import SciflowError
from sciflow.sampling import sample
from sciflow.spaces import Euclidean, Symmetric
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import Component, System

FIXED: tuple[dict[str, Any], ...] = tuple(
    {"name": name}
    for name in (
        "euler",
        "midpoint",
        "heun",
        "heun3",
        "rk4",
        "adams",
        "ddim",
        "dpm-solver",
        "dpm++",
        "unipc",
        "ancestral",
        "euler-maruyama",
        "reverse-diffusion",
        "dpm++sde",
        "predictor-corrector",
        "s4",
    )
) + ({"name": "dpm++", "order": 3, "singlestep": True}, {"name": "heun", "churn": 1.0})


class Aside(TorchDispatchMode):
    """Refuses what makes the host wait for the device: reading what a tensor holds, copying from one to the other."""

    READS = ("item", "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        before = {a.device.type for a in args if isinstance(a, Tensor)}
        if name in self.READS and "meta" in before:
            raise AssertionError(f"{func} waits for the device")
        out = func(*args, **(kwargs or {}))
        elsewhere = before and isinstance(out, Tensor) and out.device.type not in before
        if elsewhere or (name == "copy_" and len(before) > 1):
            raise AssertionError(f"{func} waits for the device")
        return out


def system(kind: str = "data") -> System:
    return System(
        {
            "x": Component(Euclidean(), paths.VP(), kind),
            "e": Component(Symmetric(), paths.VP(), kind),
        }
    )


def network(state: State, t: Tensor) -> dict[str, Tensor]:
    return {k: x * (0.5 * t).view(-1, *[1] * (x.dim() - 1)) for k, x in state.items()}


def run(options: dict[str, Any], device: str, waits: bool) -> State:
    masks = {"x": torch.ones(3, 4, dtype=torch.bool, device=device)}
    return sample(
        system(),
        network,
        Frame({"x": (4, 2), "e": (4, 4)}, masks),
        Streams.range(0, 0, 3, device=device),
        solver=solvers.make(options),
        grid=grids.Uniform(),
        steps=4,
        waits=waits,
    )


@pytest.mark.parametrize("options", FIXED, ids=str)
def test_a_run_never_waits_for_the_device(options: dict[str, Any]) -> None:
    run(options, "meta", False)  # what is made once, such as indices of pairs
    with Aside():
        made = run(options, "meta", False)
    assert made["x"].shape == (3, 4, 2) and made["e"].device.type == "meta"


@pytest.mark.parametrize("inference", [True, False])  # which operations a mode sees depends on it
@pytest.mark.parametrize(
    "wait",
    [
        lambda: torch.ones(2, device="meta").sum().item(),
        lambda: bool(torch.ones(1, device="meta")),
        lambda: torch.tensor([0.5, 1.0]).to("meta"),
        lambda: torch.ones(2, device="meta").copy_(torch.ones(2)),
        lambda: torch.ones(2, device="meta").nonzero(),
    ],
)
def test_waiting_is_noticed(wait: Callable[[], Any], inference: bool) -> None:
    with torch.inference_mode(inference), Aside(), pytest.raises(AssertionError, match="waits"):
        wait()


def test_what_never_waits_gives_the_same_samples() -> None:
    one, other = (run({"name": "euler-maruyama"}, "cpu", waits) for waits in (True, False))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_capture_refuses_in_words_what_it_cannot_do() -> None:
    frame, streams = Frame({"x": (4, 2), "e": (4, 4)}), Streams.range(0, 0, 3)
    with pytest.raises(SciflowError, match="device of a captured run.*cpu.*CUDA"):
        Captured(
            system(),
            network,
            frame,
            streams,
            solver=solvers.Euler(),
            grid=grids.Uniform(),
            steps=2,
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", FIXED, ids=str)
def test_a_captured_run_gives_the_same_samples(options: dict[str, Any]) -> None:
    frame, streams = Frame({"x": (4, 2), "e": (4, 4)}), Streams.range(0, 0, 3, device="cuda")
    captured = Captured(
        system(),
        network,
        frame,
        streams,
        solver=solvers.make(options),
        grid=grids.Uniform(),
        steps=4,
    )
    for first in (0, 7):
        made = captured(torch.arange(first, first + 3))
        plain = sample(
            system(),
            network,
            frame,
            Streams.range(0, first, 3, device="cuda"),
            solver=solvers.make(options),
            grid=grids.Uniform(),
            steps=4,
        )
        assert all(torch.allclose(made[k], plain[k], atol=1e-5) for k in plain)
