r"""Reflow on eight modes: how straight a flow becomes, and what one step of it is worth.

    python benchmarks/reflow.py

A network of three layers of 128 is trained on the ring of `core_laws` (2-D, eight modes), independently, by minibatch
optimal transport, and again on pairs of noise and sample that it made itself (2500 steps of Adam each). Reported:

- ``pairs``: int E|v - (X_1 - X_0)|^2 dt / E|X_1 - X_0|^2 over the pairs that the flow was trained on;
- ``straightness``, ``cost``: of the flow's own trajectories (`sciflow.diagnostics.straightness`);
- ``wander``: variance of the believed noise along a trajectory over its variance among samples (rectified diffusion);
- ``sw2_1``, ``sw2_100``: sliced Wasserstein distance to fresh data after one and after a hundred steps of DDIM, 64
  projections, beside that of two sets of data (``floor``).

Reference: Liu, Gong, Liu, arXiv:2209.03003; Wang et al., arXiv:2410.07303.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from core_laws import ring  # noqa: E402
from record import write  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from sciflow import Component, State, Streams, System, sample  # noqa: E402
from sciflow.coupling import Coupling, Stored, make  # noqa: E402
from sciflow.diagnostics import straightness  # noqa: E402
from sciflow.grids import Uniform  # noqa: E402
from sciflow.integrate import Fixed  # noqa: E402
from sciflow.learning import Objective  # noqa: E402
from sciflow.learning.reflow import pairs  # noqa: E402
from sciflow.paths import VP, Cosine, GaussianPath, Linear  # noqa: E402
from sciflow.solvers import make as solver_of  # noqa: E402
from sciflow.spaces import Euclidean  # noqa: E402
from sciflow.state import Frame  # noqa: E402

STEPS, BATCH, SIZE = 2500, 256, 10_000
PATHS: dict[str, tuple[GaussianPath, str]] = {
    "linear": (Linear(), "velocity"),
    "cosine": (Cosine(), "v"),
    "vp": (VP(), "v"),
}
FRAME = Frame({"x": (2,)})


class Network(nn.Module):
    """Three layers of 128."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(),
            nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2),
        )  # fmt: skip

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Predict from the state and its time."""
        return {"x": self.layers(torch.cat([state["x"], t.unsqueeze(1)], 1))}


def data(seed: int, count: int) -> Tensor:
    """Draw from the ring."""
    law, streams = ring(), Streams.range(seed, 0, count, "data")
    modes = streams.categorical(law.weights.expand(count, -1))
    return (law.means[modes] + law.std * streams.normal((2,), torch.float64)).float()


def train(
    system: System, network: Network, batch: Callable[[Tensor], State], coupling: Coupling
) -> Network:
    """Train a copy of the network."""
    network = copy.deepcopy(network).train()
    objective = Objective(system, network, coupling=coupling)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        numbers = torch.arange(step * BATCH, (step + 1) * BATCH)
        clean = batch(numbers)
        loss = objective(dict(clean), {}, clean.condition, 0, numbers, BATCH)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def sliced(x: Tensor, y: Tensor) -> float:
    """Sliced Wasserstein distance of two sets of one size."""
    angle = math.pi * (torch.arange(64) + 0.5) / 64
    directions = torch.stack([angle.cos(), angle.sin()])
    a, b = ((z.float() @ directions).sort(0).values for z in (x, y))
    return float((a - b).square().mean().sqrt())


def measure(system: System, network: Network, x0: Tensor, x1: Tensor) -> dict[str, float]:
    """Measure a flow that was trained on the pairs (x0, x1)."""
    count = len(x0)
    start = system.prior(FRAME.shapes, Streams.range(9, 0, SIZE, "test"))
    fresh, results = data(7, SIZE), {}
    for steps in (1, 100):
        seen: list[tuple[float, State]] = []
        end = sample(
            system, network, FRAME, Streams.range(9, 0, SIZE),
            solver=solver_of("ddim") if steps == 1 else solver_of("midpoint"),
            grid=Uniform(), steps=steps if steps == 1 else steps // 2, start=start,
            record=lambda t, state, seen=seen: seen.append((t, state)),
        )["x"]  # fmt: skip
        results[f"sw2_{steps}"] = sliced(end, fresh)
    with torch.no_grad():
        believed = torch.stack(
            [
                system.predict(network, State({"x": state["x"]}), torch.full((SIZE,), t))["x"].x0
                for t, state in seen[1:-1]
            ]
        )
        wander = believed.var(0).mean() / believed.mean(0).var(0).mean()
        t = Streams.range(8, 0, count, "times").uniform(())
        noised = system.corrupt(State({"x": x1}), t, Streams.range(8, 0, count), {"x": x0})
        ends = system.predict(network, noised.state, t)["x"]
        c = system["x"].path.coefficients(t)
        da, ds = (torch.as_tensor(v).unsqueeze(1) for v in (c.da, c.ds))
        off = da * (ends.x1 - x1) + ds * (ends.x0 - x0)
        results["pairs"] = float(off.square().sum(1).mean() / (x1 - x0).square().sum(1).mean())
    moved = straightness(system, network, start.select(slice(0, 2000)), Fixed("midpoint", 100))
    results |= {
        "wander": float(wander), "straightness": moved.straightness, "cost": moved.cost,
    }  # fmt: skip
    return {k: round(v, 5) for k, v in results.items()}


def rows(name: str, path: GaussianPath, kind: str, with_transport: bool) -> list[dict[str, Any]]:
    """Train and measure a flow, and its reflow."""
    system = System({"x": Component(Euclidean(), path, kind)})
    torch.manual_seed(0)
    network, x1 = Network(), data(0, STEPS * BATCH)
    x0 = Streams.range(6, 0, SIZE).normal((2,))
    found = []

    def keep(model: str, network: Network, x0: Tensor, x1: Tensor) -> None:
        found.append({"path": name, "model": model, **measure(system, network, x0, x1)})
        print(found[-1], flush=True)

    def fresh(numbers: Tensor) -> State:
        return State({"x": x1[numbers]})

    first = train(system, network, fresh, make("independent"))
    keep("independent", first, x0, x1[:SIZE])
    if with_transport:
        clean, noise = make("ot").pair(system, State({"x": x1[:1024]}), Streams.range(6, 0, 1024))
        keep("ot", train(system, network, fresh, make("ot")), noise["x"], clean["x"])
    made = pairs(
        system, first, [(FRAME, SIZE)] * 3, solver=solver_of("midpoint"), grid=Uniform(), steps=50
    )
    second = train(system, first, lambda numbers: made.batch(numbers % len(made)), Stored())
    clean, noise = Stored().pair(system, made.batch(torch.arange(SIZE)), Streams.range(0, 0, SIZE))
    keep("reflow", second, noise["x"], clean["x"])
    return found


def main() -> None:
    """Run and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--paths", nargs="+", default=list(PATHS), choices=list(PATHS))
    chosen = parser.parse_args().paths
    torch.set_num_threads(1)
    begin = time.process_time()
    results: dict[str, Any] = {"floor": sliced(data(7, SIZE), data(8, SIZE))}
    table = []
    for name in chosen:
        path, kind = PATHS[name]
        table += rows(name, path, kind, with_transport=name == "linear")
    results |= {"rows": table, "cpu_seconds": round(time.process_time() - begin, 1)}
    print(f"floor {results['floor']:.4f}, {results['cpu_seconds']} CPU seconds")
    sizes = {"steps": STEPS, "batch": BATCH, "samples": SIZE}
    write("reflow", seeds=[0], data={"ring": sizes}, results=results)


if __name__ == "__main__":
    main()
