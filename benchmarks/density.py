r"""Densities and gradients on exact laws: how far from the truth, for how many network calls.

    python benchmarks/density.py

The law is the ring of `core_laws` (2-D, eight modes), the network the perfect one, all in float64. Errors of the
log-density are against the exact one, in nats. Gradients are those of sum |x_1|^2 / 2 with respect to the noise and to
a shift of all modes, against backpropagation through adaptive steps of tolerance 1e-11.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from core_laws import ring  # noqa: E402
from record import write  # noqa: E402
from torch import Tensor  # noqa: E402

from sciflow import Component, State, Streams, System  # noqa: E402
from sciflow.flow import Method, Stepped, decode, encode  # noqa: E402
from sciflow.gradients import GradientWarning, differentiable_sample  # noqa: E402
from sciflow.grids import LogSNR, Uniform  # noqa: E402
from sciflow.integrate import Adaptive, Fixed  # noqa: E402
from sciflow.likelihood import Hutchinson, log_density  # noqa: E402
from sciflow.paths import VE, VP, Cosine, Ends, GaussianPath, Linear  # noqa: E402
from sciflow.prediction import combine  # noqa: E402
from sciflow.solvers import make  # noqa: E402
from sciflow.spaces import Euclidean  # noqa: E402

F64 = torch.float64
SIZE = 1000
PATHS: dict[str, GaussianPath] = {
    "linear": Linear(),
    "cosine": Cosine(),
    "vp": VP(),
    "ve 80": VE(0.002, 80.0),
}


def perfect(path: GaussianPath, kind: str, shift: Tensor | None = None) -> Callable[..., Any]:
    """The perfect network of the ring, moved by `shift`."""
    law = ring()

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        c = path.coefficients(t)
        a, s = (torch.as_tensor(v).unsqueeze(1) for v in (c.a, c.s))
        means = law.means if shift is None else law.means + shift
        v, x = (a * law.std) ** 2 + s**2, state["x"]
        logits = (x @ means.T) * (a / v) - means.square().sum(1) * (a**2 / (2 * v))
        believed = (logits + law.log_weights).softmax(1) @ means
        ends = Ends(believed * (s**2 / v) + x * (a * law.std**2 / v), (x - a * believed) * (s / v))
        return {"x": combine(kind, c, ends)}

    return network


def log_p(path: GaussianPath, x: Tensor) -> Tensor:
    """Exact log-density of x at t = 1."""
    law, c = ring(), path.at(1.0)
    v = (c.a * law.std) ** 2 + c.s**2
    off = (x.unsqueeze(1) - c.a * law.means).square().sum(2)
    return (law.log_weights - law.weights.sum().log() - off / (2 * v)).logsumexp(1) - math.log(
        2 * math.pi * v
    )


def draw(path: GaussianPath, count: int) -> Tensor:
    """Data, with the noise that the path leaves."""
    law, streams = ring(), Streams.range(0, 0, count, "data")
    modes = streams.categorical(law.weights.expand(count, -1))
    spread = math.hypot(law.std, path.at(1.0).s)
    return law.means[modes] + spread * streams.normal((2,), F64)


def densities() -> list[dict[str, Any]]:
    """Errors of the log-density."""
    found = []
    for name, path in PATHS.items():
        system = System({"x": Component(Euclidean(), path, "v")})
        network, x = perfect(path, "v"), draw(path, SIZE)
        grid = LogSNR() if name == "ve 80" else Uniform()
        cases: list[tuple[str, str | Hutchinson, Method]] = [
            ("exact, adaptive 1e-5", "exact", Adaptive()),
            ("exact, adaptive 1e-7", "exact", Adaptive(1e-7, 1e-7)),
            ("exact, rk4 50", "exact", Fixed("rk4", 50)),
            ("exact, midpoint 100", "exact", Stepped(make("midpoint"), grid, 100)),
            ("2 probes, adaptive 1e-5", Hutchinson(2), Adaptive()),
            ("16 probes, adaptive 1e-5", Hutchinson(16), Adaptive()),
        ]
        for label, trace, method in cases:
            got = log_density(system, network, State({"x": x}), trace=trace, method=method)
            off = got.value - log_p(path, x)
            found.append(
                {
                    "path": name,
                    "method": label,
                    "mean error": float(off.abs().mean()),
                    "bias": float(off.mean()),
                    "error of the bias": float(off.std()) / math.sqrt(SIZE),
                    "stated error": float(got.error.square().mean().sqrt()),
                    "mean calls": float(got.calls.double().mean()),
                    "most calls": int(got.calls.max()),
                }
            )
            show(found[-1])
    return found


def round_trips() -> list[dict[str, Any]]:
    """Distance of encoded and decoded data from the data."""
    found = []
    for name, path in PATHS.items():
        system = System({"x": Component(Euclidean(), path, "v")})
        network, data = perfect(path, "v"), State({"x": draw(path, SIZE)})
        for label, method in (("heun 40", Fixed("heun", 40)), ("adaptive 1e-5", Adaptive())):
            again = decode(system, network, encode(system, network, data, method), method)
            off = float((again["x"] - data["x"]).square().mean().sqrt())
            found.append({"path": name, "method": label, "rmse": off})
            show(found[-1])
    return found


def gradients() -> list[dict[str, Any]]:
    """Relative errors of gradients, for `store` and `adjoint` at several tolerances."""
    path, count = VE(0.01, 5.0), 64
    system = System({"x": Component(Euclidean(), path, "noise")})
    noise = 5 * Streams.range(1, 0, count).normal((2,), F64)

    def run(tolerance: float, memory: str) -> tuple[Tensor, Tensor, bool]:
        x, shift = noise.clone().requires_grad_(), torch.zeros(2, dtype=F64, requires_grad=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            end = differentiable_sample(
                system,
                perfect(path, "noise", shift),
                State({"x": x}),
                Adaptive(tolerance, tolerance),
                memory=memory,
                parameters=[shift],
            )["x"]
            by_x, by_shift = torch.autograd.grad(end.square().sum() / 2, [x, shift])
        return by_x, by_shift, any(w.category is GradientWarning for w in caught)

    exact, found = run(1e-11, "store"), []
    for memory in ("store", "adjoint"):
        for tolerance in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
            got = run(tolerance, memory)
            errors = [
                float((g - e).norm() / e.norm()) for g, e in zip(got[:2], exact[:2], strict=True)
            ]
            found.append(
                {
                    "memory": memory,
                    "tolerance": tolerance,
                    "by noise": errors[0],
                    "by weight": errors[1],
                    "warned": got[2],
                }
            )
            show(found[-1])
    return found


def show(row: dict[str, Any]) -> None:
    """Print a row."""
    print(*(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()),
          sep="; ", flush=True)  # fmt: skip


def main() -> None:
    """Run and write the tables."""
    torch.set_num_threads(1)
    begin = time.process_time()
    results: dict[str, Any] = {
        "log-density": densities(),
        "encode and decode": round_trips(),
        "gradients": gradients(),
    }
    results["cpu_seconds"] = round(time.process_time() - begin, 1)
    print(f"{results['cpu_seconds']} CPU seconds")
    write("density", seeds=[0, 1], data={"ring": {"samples": SIZE}}, results=results)


if __name__ == "__main__":
    main()
