"""Loops of other libraries with the trivial network D(x) = x / 2: see `core_overhead.py`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from core_programs import checkout
from core_rivals import k_sampling
from torch import Tensor

Loop = Callable[[Tensor, int], object]


def half(x: Tensor) -> Tensor:
    """The trivial network."""
    return x * 0.5


def azula() -> Iterator[tuple[str, Loop]]:
    """Samplers of azula."""
    from azula import sample as samplers
    from azula.denoise import Denoiser, DiracPosterior
    from azula.noise import VPSchedule

    class Trivial(Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = VPSchedule()

        def forward(self, x_t: Tensor, t: Tensor, **_: Any) -> DiracPosterior:
            return DiracPosterior(half(x_t))

    for name, label in (
        ("DDIMSampler", "DDIM"),
        ("HeunSampler", "Heun"),
        ("xEABSampler", "xEAB2"),
        ("vABSampler", "vAB2"),
        ("DDPMSampler", "DDPM"),
        ("ItoSampler", "Ito"),
    ):
        make = getattr(samplers, name)
        yield label, lambda x, n, make=make: make(Trivial(), steps=n, silent=True)(x)


def k_diffusion() -> Iterator[tuple[str, Loop]]:
    """Samplers of k-diffusion."""
    k = k_sampling()
    model = lambda x, sigma: half(x)  # noqa: E731
    normal = lambda x: lambda *_: torch.randn_like(x)  # noqa: E731
    for name in ("euler", "heun", "dpmpp_2m", "lms", "euler_ancestral"):
        run = getattr(k, f"sample_{name}")
        yield (
            name,
            lambda x, n, run=run: run(model, x, k.get_sigmas_karras(n, 0.01, 80.0), disable=True),
        )
    yield (
        "dpmpp_2m_sde, plain noise",
        lambda x, n: k.sample_dpmpp_2m_sde(
            model, x, k.get_sigmas_karras(n, 0.01, 80.0), disable=True, noise_sampler=normal(x)
        ),
    )


def diffusers() -> Iterator[tuple[str, Loop]]:
    """Schedulers of diffusers."""
    import diffusers as d

    for name, kind, options in (
        ("DDIM", d.DDIMScheduler, {"clip_sample": False}),
        ("DPM++ 2M", d.DPMSolverMultistepScheduler, {}),
        ("UniPC 2", d.UniPCMultistepScheduler, {}),
        ("flow-match Euler", d.FlowMatchEulerDiscreteScheduler, {}),
    ):

        def loop(x: Tensor, n: int, kind: Any = kind, options: dict[str, Any] = options) -> Tensor:
            scheduler = kind(**options)
            scheduler.set_timesteps(n)
            with torch.no_grad():
                for t in scheduler.timesteps:
                    x = scheduler.step(half(x), t, x).prev_sample
            return x

        yield name, loop


def flow_matching() -> Iterator[tuple[str, Loop]]:
    """ODE solver of flow_matching."""
    from flow_matching.solver import ODESolver

    solver = ODESolver(lambda x, t: half(x))
    for method in ("euler", "midpoint", "heun3"):
        yield method, lambda x, n, m=method: solver.sample(x, 1 / n, method=m)


def torchdiffeq() -> Iterator[tuple[str, Loop]]:
    """Solvers of torchdiffeq."""
    from torchdiffeq import odeint

    times = torch.tensor([0.0, 1.0])
    for method in ("heun2", "rk4"):

        def loop(x: Tensor, n: int, method: str = method) -> Tensor:
            with torch.no_grad():
                return odeint(
                    lambda t, x: half(x), x, times, method=method, options={"step_size": 1 / n}
                )

        yield method, loop


def torchsde() -> Iterator[tuple[str, Loop]]:
    """Euler-Maruyama of torchsde, diagonal noise."""
    import torchsde as t_sde

    class Trivial(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Tensor, x: Tensor) -> Tensor:
            return half(x)

        def g(self, t: Tensor, x: Tensor) -> Tensor:
            return torch.ones_like(x)

    times = torch.tensor([0.0, 1.0])

    def loop(x: Tensor, n: int) -> Tensor:
        with torch.no_grad():
            return t_sde.sdeint(Trivial(), x, times, method="euler", dt=1 / n)

    yield "euler", loop


def diffrax() -> Iterator[tuple[str, Loop]]:
    """Solvers of diffrax, compiled before they are timed."""
    import diffrax as dx
    import jax
    import jax.numpy as jnp

    for name, solver in (("Euler", dx.Euler()), ("Heun", dx.Heun())):
        term = dx.ODETerm(lambda t, y, args: y * 0.5)
        solve = jax.jit(
            lambda x, h, term=term, solver=solver: dx.diffeqsolve(term, solver, 0.0, 1.0, h, x).ys
        )

        def loop(x: Tensor, n: int, solve: Any = solve) -> object:
            return solve(jnp.asarray(x.numpy()), 1 / n).block_until_ready()

        yield f"{name}, jit", loop


def dpm_solver(sources: Path) -> Iterator[tuple[str, Loop]]:
    """The authors' DPM-Solver."""
    with checkout(sources / "dpm-solver"):
        module = importlib.import_module("dpm_solver_pytorch")
    schedule = module.NoiseScheduleVP("linear")
    solver = module.DPM_Solver(lambda x, t: half(x), schedule, algorithm_type="dpmsolver++")
    yield "DPM++ 2M", lambda x, n: solver.sample(x, steps=n, order=2, skip_type="logSNR")


LIBRARIES = {
    "azula": azula,
    "k-diffusion": k_diffusion,
    "diffusers": diffusers,
    "flow_matching": flow_matching,
    "torchdiffeq": torchdiffeq,
    "torchsde": torchsde,
    "diffrax": diffrax,
}
