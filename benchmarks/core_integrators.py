"""Solvers of differential equations in other libraries, on the exact velocity of a path: see `core_rivals.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from core_laws import F64, Mixture, Start
from core_sampler import TOLERANCES, Outcome, Sampler
from torch import Tensor

# ---- flow_matching and torchdiffeq
_FLOWS: dict[str, tuple[Callable[[float], tuple[float, float]], Callable[[float], tuple[float, float]]]] = {
    "linear": (lambda t: (t, 1 - t), lambda t: (1.0, -1.0)),
    "cosine": (
        lambda t: (math.sin(math.pi / 2 * t), math.sin(math.pi / 2 * (1 - t))),
        lambda t: (math.pi / 2 * math.cos(math.pi / 2 * t), -math.pi / 2 * math.sin(math.pi / 2 * t)),
    ),
}  # fmt: skip


def _velocity(law: Mixture, path: str) -> Callable[[Any, Tensor], Tensor]:
    """The exact velocity of a path from noise at t = 0 to data at t = 1."""
    at, rate = _FLOWS[path]

    def velocity(t: Any, x: Tensor) -> Tensor:
        (a, s), (da, ds) = at(float(t)), rate(float(t))
        x1, x0 = law.ends(x, a, max(s, 0.0))
        return x1 * da + x0 * ds

    return velocity


def flow_matching() -> Iterator[Sampler]:
    """ODE solver of flow_matching, even times."""
    from flow_matching.solver import ODESolver

    methods = (("euler", "ddim", 1), ("midpoint", "midpoint", 2), ("heun3", "heun3", 3))
    for (method, family, per), path in ((m, p) for m in methods for p in _FLOWS):

        def run(
            law: Mixture, noise: Tensor, count: int, method: str = method, per: int = per, path: str = path
        ) -> Outcome:  # fmt: skip
            velocity = _velocity(law, path)
            solver = ODESolver(lambda x, t: velocity(t, x))
            times = torch.tensor([0.0, 1.0], dtype=F64)
            end = solver.sample(noise, 1 / (count // per), method=method, time_grid=times)
            return Outcome(end, Start(noise, 0.0, 1.0))

        yield Sampler("flow_matching", method, path, family, run)


def torchdiffeq() -> Iterator[Sampler]:
    """Solvers of torchdiffeq, even times or a tolerance."""
    from torchdiffeq import odeint

    methods = (("heun2", "heun", 2), ("rk4", "rk4", 4), ("explicit_adams", "adams", 0))
    adaptive = (("dopri5", "adaptive"), ("bosh3", "adaptive"), ("dopri8", "adaptive"))
    for path in _FLOWS:
        for method, family, per in methods:

            def fixed(
                law: Mixture, noise: Tensor, count: int, method: str = method, per: int = per, path: str = path
            ) -> Outcome:  # fmt: skip
                # The Adams method starts with three steps of four calls.
                steps = count // per if per else max(count - 9, 1)
                times = torch.tensor([0.0, 1.0], dtype=F64)
                options = {"step_size": 1 / steps}
                if not per:
                    options["max_order"] = 4
                x = odeint(_velocity(law, path), noise, times, method=method, options=options)
                return Outcome(x[-1], Start(noise, 0.0, 1.0))

            yield Sampler("torchdiffeq", method, path, family, fixed)
        for method, family in adaptive:

            def free(
                law: Mixture, noise: Tensor, count: int, method: str = method, path: str = path
            ) -> Outcome:
                tolerance = TOLERANCES[count]
                times = torch.tensor([0.0, 1.0], dtype=F64)
                x = odeint(
                    _velocity(law, path), noise, times, method=method, rtol=tolerance, atol=tolerance
                )  # fmt: skip
                return Outcome(x[-1], Start(noise, 0.0, 1.0))

            yield Sampler("torchdiffeq", method, path, family, free, adaptive=True)


# ---- torchsde
def torchsde() -> Iterator[Sampler]:
    """The reversed VP diffusion in torchsde, even times, the last from the denoised mean."""
    import torchsde as t_sde

    b0, b1, stop = 0.1, 20.0, 1e-3

    def level(u: float) -> tuple[float, float]:
        a = math.exp(-(u**2) * (b1 - b0) / 4 - u * b0 / 2)
        return a, math.sqrt(1 - a * a)

    class Reversed(torch.nn.Module):
        noise_type, sde_type = "additive", "ito"

        def __init__(self, law: Mixture) -> None:
            super().__init__()
            self.law = law

        def f(self, t: Tensor, x: Tensor) -> Tensor:
            u = 1 - float(t)
            beta = b0 + u * (b1 - b0)
            a, s = level(u)
            return beta / 2 * x - beta / s * self.law.noise(x, a, s)

        def g(self, t: Tensor, x: Tensor) -> Tensor:
            beta = b0 + (1 - float(t)) * (b1 - b0)
            return math.sqrt(beta) * torch.eye(x.shape[1], dtype=x.dtype).expand(len(x), -1, -1)

    for method, per in (("euler", 1), ("srk", 3)):

        def run(
            law: Mixture, noise: Tensor, count: int, method: str = method, per: int = per
        ) -> Outcome:
            steps = (count - 2) // per
            times = torch.tensor([0.0, 1 - stop], dtype=F64)
            x = t_sde.sdeint(Reversed(law), noise, times, method=method, dt=(1 - stop) / steps)[-1]
            return Outcome(law.data(x, *level(stop)), Start(noise, *level(1.0)))

        yield Sampler("torchsde", method, "VP, even times", "euler-maruyama", run, True)


# ---- diffrax
def diffrax() -> Iterator[Sampler]:
    """Solvers of diffrax, even times, compiled by JAX."""
    import diffrax as dx
    import jax
    import jax.numpy as jnp
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    half = math.pi / 2

    def flow(law: Mixture, path: str) -> Callable[[Any, Any, Any], Any]:
        means, logs = jnp.asarray(law.means.numpy()), jnp.asarray(law.log_weights.numpy())

        def velocity(t: Any, x: Any, _: Any) -> Any:
            a, s, da, ds = t, 1 - t, 1.0, -1.0
            if path == "cosine":
                a, s = jnp.sin(half * t), jnp.sin(half * (1 - t))
                da, ds = half * s, -half * a
            v = (a * law.std) ** 2 + s * s
            off = (x @ means.T) * (a / v) - (means**2).sum(1) * (a * a / (2 * v)) + logs
            believed = jax.nn.softmax(off, axis=1) @ means
            x1 = believed * (s * s / v) + x * (a * law.std**2 / v)
            return x1 * da + (x - believed * a) * (s / v) * ds

        return velocity

    # Calls of a step, and of the whole that the first adds (first same as last).
    solvers = (
        ("Ralston", dx.Ralston, "midpoint", 2, 0),
        ("Bosh3", dx.Bosh3, "heun3", 3, 1),
        ("Tsit5", dx.Tsit5, "rk4", 6, 1),
        ("Dopri5", dx.Dopri5, "rk4", 6, 1),
    )
    for (name, solver, family, per, first), path in ((s, p) for s in solvers for p in _FLOWS):
        compiled: dict[int, Any] = {}

        def run(
            law: Mixture,
            noise: Tensor,
            count: int,
            solver: Any = solver,
            per: int = per,
            first: int = first,
            path: str = path,
            compiled: dict[int, Any] = compiled,
        ) -> Outcome:
            steps = max((count - first) // per, 1)
            if id(law) not in compiled:
                term = dx.ODETerm(flow(law, path))
                compiled[id(law)] = jax.jit(
                    lambda x, h: dx.diffeqsolve(term, solver(), 0.0, 1.0, h, x).ys[-1]
                )
            end = compiled[id(law)](jnp.asarray(noise.numpy()), 1 / steps)
            law.calls += steps * per + first
            return Outcome(torch.from_numpy(np.asarray(end).copy()), Start(noise, 0.0, 1.0))

        yield Sampler("diffrax", name, path, family, run)
