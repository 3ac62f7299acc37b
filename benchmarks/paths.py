"""Kinetic energy of paths and what it buys at 8 network calls; PFGM++ against its limit and under disturbance.

    python benchmarks/paths.py

Laws and fields are exact (tests/core/mixtures.py): a ring of 8 modes in 2 dimensions, 10 random modes in 64. The energy
K = int E|v(x_t)|^2 dt is summed over all dimensions, from 4,000 points at 200 times. The samplers of a seed all start
from the same noise; their distance is the sliced Wasserstein-2 distance to fresh samples with exact shares of the
modes, its mean over seeds and its spread; RK4 in 240 calls shows what is left of it where the steps are exact.
PFGM++: the guess E[x_1 | x] for D further dimensions, by 400 quantiles of the chi-square law, against D infinite, at
sigma = .3; then, in 64 dimensions, samples of Heun's method in 32 steps of Karras' grid whose state is disturbed at
every knot by normal numbers of .1, .2 or .4 times the noise there (Xu et al., section 5.2: errors that pile up).
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks import record  # noqa: E402
from sciflow.grids import Grid, Karras, Uniform  # noqa: E402
from sciflow.hooks import Hook  # noqa: E402
from sciflow.paths import EDM, PFGM, VP, Cosine, Ends, GaussianPath, KineticOptimal, Linear  # noqa: E402
from sciflow.paths.optimal import measure  # noqa: E402
from sciflow.prediction import combine  # noqa: E402
from sciflow.sampling import sample  # noqa: E402
from sciflow.solvers import make  # noqa: E402
from sciflow.spaces import Euclidean  # noqa: E402
from sciflow.state import Frame, State  # noqa: E402
from sciflow.streams import Streams  # noqa: E402
from sciflow.system import Component, System  # noqa: E402
from tests.core.mixtures import F64, Mixture, ends_between, noise, ring, sliced_distance  # noqa: E402
from tests.core.test_optimal import energy, far_apart  # noqa: E402
from tests.core.test_poisson import guess  # noqa: E402

POINTS = 4000
SEEDS = (5, 14, 15, 16, 17, 18)
Field = Callable[[float, Tensor], Ends]


def distance(
    path: GaussianPath,
    law: Mixture,
    field: Field,
    solver: str,
    steps: int,
    kind: str = "velocity",
    *,
    grid: Grid | None = None,
    hooks: Sequence[Hook] = (),
    seed: int = 5,
    points: int = POINTS,
) -> float:
    """Distance of samples to the data."""
    d = len(law.means[0])
    system = System({"x": Component(Euclidean(), path, kind)})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        time = float(t[0])
        return {"x": combine(kind, path.at(time), field(time, state["x"]))}

    end = sample(
        system,
        network,
        Frame({"x": (d,)}),
        Streams.range(seed, 0, points),
        solver=make(solver),
        grid=grid or Uniform(),
        steps=steps,
        hooks=hooks,
        dtype=F64,
    )["x"]
    return round(sliced_distance(end, law.draw(Streams.range(6, 0, points), even=True)), 4)


def kinetic() -> list[dict[str, Any]]:
    """Energies and errors at 8 network calls."""
    rows = []
    for place, law in (("2-D ring", ring()), ("64-D random modes", far_apart())):
        d = len(law.means[0])
        best = measure(law.places, torch.tensor(law.weights), law.std)
        paths: dict[str, GaussianPath] = {
            "linear": Linear(),
            "trigonometric": Cosine(),
            "vp": VP(),
            "kinetic-optimal": best,
            "kinetic-optimal, data as 2000 points": measure(law.draw(Streams.range(9, 0, 2000))),
        }
        for name, path in paths.items():

            def field(
                t: float, x: Tensor, path: GaussianPath = path, law: Mixture = law, d: int = d
            ) -> Ends:
                c = path.at(t)
                return ends_between(noise(d), law, float(c.a), float(c.s), 0.0, x)[0]

            row = {
                "law": place,
                "path": name,
                "energy": round(energy(path, law, 200, 4000) * d, 3),
            }
            for solver, steps in (("euler", 8), ("midpoint", 4), ("heun", 4), ("rk4", 60)):
                found = [distance(path, law, field, solver, steps, seed=s) for s in SEEDS]
                name = f"{solver}_{steps * make(solver).calls}_calls"
                row[f"sw2_{name}"] = round(statistics.mean(found), 4)
                row[f"sd_{name}"] = round(statistics.stdev(found), 4)
            if isinstance(path, KineticOptimal):
                row["energy_of_the_profile"] = round(path.energy * d, 3)
            rows.append(row)
            print(row, flush=True)
    return rows


def poisson() -> dict[str, Any]:
    """Distance of the guess from its limit, and what disturbance does."""
    law = ring()
    x = law.draw(Streams.range(0, 0, 2000)) + 0.3 * Streams.range(1, 0, 2000).normal((2,), F64)
    limit = guess(1e12, law, 0.3, x, nodes=1)
    convergence = {
        str(D): float(f"{float((guess(D, law, 0.3, x, 400) - limit).norm() / limit.norm()):.3g}")
        for D in (64, 2048, 65536)
    }
    print(convergence, flush=True)
    return {"relative_distance_to_edm": convergence, "disturbed": disturbed()}


@dataclass(frozen=True)
class Disturb(Hook):
    """Adds `size` times the noise of the path at each knot but the last: an error of the network that stays.

    Args:
        size: In units of the noise level.
    """

    size: float

    def state(self, system: System, state: State, t: float, streams: Streams) -> State:
        """Disturb the state."""
        x, path = state["x"], system["x"].path
        assert isinstance(path, EDM)
        if t in (0.0, 1.0):
            return state
        size = self.size * float(path.at(t).s)
        return state.replace(x=x + size * streams.normal(x.shape[1:], F64))


def disturbed() -> list[dict[str, Any]]:
    """Distance of samples in 64 dimensions whose states are disturbed, for each D: mean over seeds, and spread."""
    law, rows = far_apart(), []
    for D in (64.0, 2048.0, math.inf):
        path = PFGM(0.02, 20.0, D=D) if math.isfinite(D) else EDM(0.02, 20.0)

        def field(t: float, x: Tensor, path: EDM = path, D: float = D) -> Ends:
            s = float(path.at(t).s)
            x1 = guess(D, law, s, x, 100) if math.isfinite(D) else guess(1e12, law, s, x, 1)
            return Ends(x1, (x - x1) / s)

        row: dict[str, Any] = {"D": D if math.isfinite(D) else "infinite (EDM)"}
        for size in (0.0, 0.1, 0.2, 0.4):
            found = [
                distance(
                    path,
                    law,
                    field,
                    "heun",
                    32,
                    "data",
                    grid=Karras(),
                    hooks=[Disturb(size)],
                    seed=seed,
                    points=1000,
                )
                for seed in (11, 12, 13)
            ]
            row[f"sw2_{size}"] = round(statistics.mean(found), 4)
            row[f"sd_{size}"] = round(statistics.stdev(found), 4)
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    """Measure and write the results."""
    results = {"kinetic": kinetic(), "pfgm++": poisson()}
    data = {
        "2-D": "8 modes on a ring of radius 1.35, std .12",
        "64-D": "10 modes of .9 N(0, I), std .3",
        "points": POINTS,
    }
    record.write("paths", seeds=[0, 1, 2, *SEEDS, 6, 9, 11, 12, 13], data=data, results=results)


if __name__ == "__main__":
    main()
