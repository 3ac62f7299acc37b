"""Does the law at t = 1 depend on the diffusion? Stochastic interpolants between two mixtures, for several epsilon.

    python benchmarks/interpolants.py

The field is exact (tests/core/mixtures.py), so what is left are the errors of the sampler and of 10,000 points. The
distance is the sliced Wasserstein-2 distance over 64 directions to fresh samples of the target, `floor` that between
two exact samples. Start and target give every mode its share exactly, since uneven shares, which the flow passes on,
would cost more than all else (`floor_uneven`). Without latent noise the score between two data sets is not learnt but
here it is known; its grain, by which epsilon is held, is then the width of the modes.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from torch import Tensor  # noqa: E402

from benchmarks import record  # noqa: E402
from sciflow.grids import Uniform  # noqa: E402
from sciflow.paths import Coefficients, GaussianPath, Interpolant, Linear, OneSided  # noqa: E402
from sciflow.prediction import combine  # noqa: E402
from sciflow.sampling import sample  # noqa: E402
from sciflow.solvers import make  # noqa: E402
from sciflow.spaces import Euclidean  # noqa: E402
from sciflow.state import Frame, State  # noqa: E402
from sciflow.streams import Streams  # noqa: E402
from sciflow.system import Component, System  # noqa: E402
from tests.core.mixtures import F64, ends_between, noise, ring, sliced_distance  # noqa: E402

EPSILONS = (0.0, 0.25, 1.0, 4.0)
STEPS = (400, 50)
TARGET = ring()
SOURCE = ring(3, 0.8, 0.12)


@dataclass(frozen=True)
class Known(Interpolant):
    """An interpolant without latent noise whose score is known: its unit of noise is the grain of the law.

    Args:
        grain: Standard deviation of the narrowest features of both data sets.
    """

    gamma: str = "none"
    grain: float = 0.12

    @property
    def heads(self) -> int:
        """The velocity, and minus the score in units of the grain."""
        return 2

    def coefficients(self, t: Tensor) -> Coefficients:
        """Coefficients whose gamma is the grain; it adds nothing to x_t, and nothing to the velocity."""
        c = super().coefficients(t)
        return replace(c, gamma=self.grain * (c.a**2 + c.s**2) ** 0.5)


def law_gamma(path: Interpolant | GaussianPath, c: Coefficients) -> float:
    """Latent noise of the law."""
    return 0.0 if isinstance(path, Known | GaussianPath) else float(c.gamma)


def run(path: Interpolant | GaussianPath, epsilon: float, steps: int, count: int) -> float:
    """Return the distance of the samples to the target."""
    one_sided = isinstance(path, GaussianPath)
    source = noise(2) if one_sided else SOURCE
    system = System({"x": Component(Euclidean(), path, "velocity")})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        c = path.at(float(t[0]))
        ends, score = ends_between(
            source, TARGET, float(c.a), float(c.s), law_gamma(path, c), state["x"]
        )
        if isinstance(path, GaussianPath):
            return {"x": combine("velocity", c, ends)}
        if isinstance(path, Known):
            ends = replace(ends, z=-score * c.gamma)
        return {"x": path.combine("velocity", c, ends)}

    streams = Streams.range(1, 0, count)
    start = source.draw(Streams.range(2, 0, count), even=True)
    end = sample(
        system,
        network,
        Frame({"x": (2,)}),
        streams,
        solver=make({"name": "euler-maruyama", "epsilon": epsilon}),
        grid=Uniform(),
        steps=steps,
        start=State({"x": start}),
        dtype=F64,
    )["x"]
    return sliced_distance(end, TARGET.draw(Streams.range(3, 0, count), even=True))


def floor(count: int, even: bool) -> float:
    """Return the mean distance of two exact samples."""
    draws = [TARGET.draw(Streams.range(20 + k, 0, count), even) for k in range(4)]
    pairs = [sliced_distance(draws[i], draws[j]) for i in range(4) for j in range(i)]
    return round(sum(pairs) / len(pairs), 4)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    floors = {"floor": floor(count, True), "floor_uneven": floor(count, False)}
    paths: dict[str, Interpolant | GaussianPath] = {
        "two-sided, gamma = 0, known score": Known(),
        "two-sided, gamma^2 = 2 t (1 - t)": Interpolant(scale=2.0),
        "one-sided linear": Linear(),
        "one-sided, latent 2 t (1 - t)": OneSided(scale=2.0),
    }
    rows: list[dict[str, Any]] = []
    for name, path in paths.items():
        for steps in STEPS:
            for epsilon in EPSILONS:
                start = time.process_time()
                distance = run(path, epsilon, steps, count)
                seconds = round(time.process_time() - start, 1)
                distance = round(distance, 4) if math.isfinite(distance) else None
                rows.append(
                    {
                        "path": name,
                        "steps": steps,
                        "epsilon": epsilon,
                        "sliced_w2": distance,
                        "cpu_s": seconds,
                    }
                )
                print(
                    f"{name:36s} {steps:4d} steps  epsilon {epsilon:4.2f}  sw2 {distance}  {seconds} s",
                    flush=True,
                )
    results = {**floors, "bar_at_400_steps": 0.047, "rows": rows}
    print(floors)
    record.write(
        "interpolants",
        seeds=[1, 2, 3],
        data={
            "source": "3 modes on a ring of radius .8",
            "target": "8 modes on a ring of radius 1.35",
            "points": count,
        },
        results=results,
    )


if __name__ == "__main__":
    main()
