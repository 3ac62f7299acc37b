"""Exact laws: what a perfect network says, where solutions end, how far a solver's are from them.

The data are independent elements of a one-dimensional Gaussian mixture (one Gaussian among them),
so both ends given x_t are known in closed form for every Gaussian path:

    p(k | x_t) ~ w_k N(x_t; a m_k, v),   v = a^2 c^2 + s^2,
    E[x_1 | x_t, k] = m_k + a c^2 (x_t - a m_k) / v,      E[x_0 | x_t, k] = s (x_t - a m_k) / v.

Nothing here is random. The order of a differential-equation solver is measured on its end points.
The law that a stochastic solver produces is propagated without sampling: on a Gaussian by noise
vectors that are exactly orthogonal, on a mixture by quadrature over the density.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sciflow.grids import Grid, LogSNR, Uniform
from sciflow.paths.base import Ends
from sciflow.paths.gaussian import Coefficients, GaussianPath
from sciflow.prediction import combine
from sciflow.sampling import sample
from sciflow.shapes import expand
from sciflow.solvers import Solver, Step
from sciflow.spaces import Euclidean, Symmetric
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import Component, Network, System

F64 = torch.float64


@dataclass(frozen=True)
class Law:
    """Mixture of Gaussians of one standard deviation.

    Args:
        weights: Weights of the modes, summing to 1.
        means: Means of the modes.
        std: Standard deviation c of every mode.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    std: float

    @property
    def mean(self) -> float:
        """Mean of the data."""
        return sum(w * m for w, m in zip(self.weights, self.means, strict=True))

    @property
    def spread(self) -> float:
        """Standard deviation of the data."""
        second = sum(w * m**2 for w, m in zip(self.weights, self.means, strict=True))
        return math.sqrt(second - self.mean**2 + self.std**2)

    def _parts(self, c: Coefficients, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, s = (expand(torch.as_tensor(v, dtype=x.dtype), x) for v in (c.a, c.s))
        variance = (a * self.std) ** 2 + s**2
        means, weights = x.new_tensor(self.means), x.new_tensor(self.weights)
        off = x.unsqueeze(-1) - a.unsqueeze(-1) * means
        log_p = weights.log() - off**2 / (2 * variance.unsqueeze(-1))
        log_p = log_p - (2 * math.pi * variance.unsqueeze(-1)).log() / 2
        return log_p, off, variance

    def ends(self, c: Coefficients, x: Tensor) -> Ends:
        """Exact believed ends at `x`, for scalar coefficients or ``[B]``."""
        log_p, off, variance = self._parts(c, x)
        p = log_p.softmax(-1)
        pull = (p * off).sum(-1) / variance
        a, s = (expand(torch.as_tensor(v, dtype=x.dtype), x) for v in (c.a, c.s))
        return Ends((p * x.new_tensor(self.means)).sum(-1) + a * self.std**2 * pull, s * pull)

    def density(self, c: Coefficients, x: Tensor) -> Tensor:
        """Density of x_t."""
        return self._parts(c, x)[0].logsumexp(-1).exp()

    def network(self, system: System) -> Network:
        """The perfect network of a system whose components all have this law."""

        def network(state: State, t: Tensor) -> dict[str, Tensor]:
            output = {}
            for name, component in system.items():
                assert isinstance(component.path, GaussianPath)
                c = component.path.coefficients(t)
                output[name] = combine(component.kind, c, self.ends(c, state[name]))
            return output

        return network

    def flow(self, path: GaussianPath, x: Tensor, steps: int = 120) -> Tensor:
        """Where the probability flow carries `x` from t = 0 to t = 1.

        One Gaussian keeps (x - a m) / sqrt(a^2 c^2 + s^2). For the others, x / sqrt(a^2 + s^2) as
        a function of the angle atan(a / s) is the same for every path, so it is solved on the
        circle, where nothing is singular, by the classical Runge-Kutta method; its error is below
        1e-8.
        """
        first, last = path.at(0.0), path.at(1.0)
        if len(self.means) == 1:
            old, new = (marginal_scale(self, c) for c in (first, last))
            return new[0] + (x - old[0]) * (new[1] / old[1])
        start, stop = (math.atan2(c.a, c.s) for c in (first, last))
        h = (stop - start) / steps

        def velocity(angle: float, y: Tensor) -> Tensor:
            a, s = math.sin(angle), math.cos(angle)
            ends = self.ends(Coefficients(a, s, s, -a), y)
            return s * ends.x1 - a * ends.x0

        y = x / math.hypot(first.a, first.s)
        for i in range(steps):
            angle = start + i * h
            k1 = velocity(angle, y)
            k2 = velocity(angle + h / 2, y + h / 2 * k1)
            k3 = velocity(angle + h / 2, y + h / 2 * k2)
            k4 = velocity(angle + h, y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y * math.hypot(last.a, last.s)


GAUSSIAN = Law((1.0,), (0.7,), 0.6)
MIXTURE = Law((0.35, 0.65), (-1.0, 0.8), 0.5)


def marginal_scale(law: Law, c: Coefficients) -> tuple[float, float]:
    """Mean and standard deviation of x_t."""
    return float(c.a) * law.mean, math.hypot(float(c.a) * law.spread, float(c.s))


def normal_quantiles(count: int) -> Tensor:
    """Midpoint quantiles of the standard normal law, ``[count]``."""
    p = (torch.arange(count, dtype=F64) + 0.5) / count
    return torch.special.ndtri(p)


def one(path: GaussianPath, kind: str = "data") -> System:
    """A system with the single component ``x`` on `path`."""
    return System({"x": Component(Euclidean(), path, kind)})


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """Order of convergence: minus the slope of log(error) against log(steps), by least squares."""
    x = [math.log(k) for k in steps]
    y = [math.log(e) for e in errors]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return -top / sum((a - x_mean) ** 2 for a in x)


# ---- end points, of solvers of the probability flow
@cache
def _flow_of(law: Law, path: GaussianPath) -> tuple[Tensor, Tensor]:
    mean, scale = marginal_scale(law, path.at(0.0))
    x = (mean + scale * normal_quantiles(32)).unsqueeze(1)
    return x, law.flow(path, x)


def flow_errors(
    solver: Solver, path: GaussianPath, law: Law, grid: Grid, steps: Sequence[int]
) -> list[float]:
    """Root mean square distance of a deterministic solver's end points from the exact ones."""
    system = one(path)
    x, exact = _flow_of(law, path)
    errors = []
    for count in steps:
        end = sample(
            system,
            law.network(system),
            Frame({"x": (1,)}),
            Streams.range(0, 0, len(x)),
            solver=solver,
            grid=grid,
            steps=count,
            start=State({"x": x}),
            dtype=F64,
        )["x"]
        errors.append(float((end - exact).square().mean().sqrt()))
    return errors


# ---- the law, on a Gaussian
def hadamard(order: int) -> Tensor:
    """Hadamard matrix of size 2^order: orthogonal rows of +-1, the first of ones alone."""
    h = torch.ones(1, 1, dtype=F64)
    for _ in range(order):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h


class Orthogonal(Streams):
    """Draws of mean 0 and norm sqrt(D), each orthogonal to all draws before; for one sample.

    Whatever is linear in its draws then has, over the D elements, exactly the mean and the
    variance that independent normal numbers would give on average.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__(0, torch.zeros(1, dtype=torch.int64))
        self._rows = rows

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        self.draws += 1
        assert self.draws < len(self._rows), "more draws than orthogonal vectors"
        return self._rows[self.draws].to(dtype).reshape(1, *shape)


def end_target(law: Law, path: GaussianPath) -> tuple[float, float]:
    """Mean and standard deviation of E[x_1 | x_t] at t = 1, for one Gaussian."""
    return law.mean, law.std**2 / math.hypot(law.std, path.at(1.0).s)


def gaussian_law_error(
    solver: Solver, path: GaussianPath, law: Law, grid: Grid, steps: int
) -> tuple[float, float]:
    """Errors of mean and standard deviation that a stochastic solver makes on one Gaussian."""
    system = one(path)
    rows = hadamard(math.ceil(math.log2(3 * steps + 2)))  # three draws a step at most
    streams = Orthogonal(rows)
    mean, scale = marginal_scale(law, path.at(0.0))
    start = mean + scale * streams.normal((rows.shape[1],), F64)
    end = sample(
        system,
        law.network(system),
        Frame({"x": (rows.shape[1],)}),
        streams,
        solver=solver,
        grid=grid,
        steps=steps,
        start=State({"x": start}),
        dtype=F64,
    )["x"]
    mean, std = end_target(law, path)
    return float(end.mean()) - mean, float(end.std(correction=0)) - std


def gaussian_law_errors(
    solver: Solver, path: GaussianPath, law: Law, grid: Grid, steps: Sequence[int]
) -> list[float]:
    """Norm of the errors of mean and standard deviation for several step counts."""
    return [math.hypot(*gaussian_law_error(solver, path, law, grid, k)) for k in steps]


# ---- the law, on a mixture
class Given(Streams):
    """Streams whose draws are given in advance."""

    def __init__(self, count: int, draws: Sequence[Tensor | float]) -> None:
        super().__init__(0, torch.arange(count))
        self._given = draws

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        value = self._given[self.draws]
        self.draws += 1
        return torch.as_tensor(value, dtype=dtype).expand(len(self), 1).reshape(-1, *shape)


FUNCTIONALS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    lambda x: x**2,
    torch.cos,
    lambda x: torch.sin(2 * x),
)
_RANGE = 7.5


def _grid_of(mean: float, scale: float, spacing: float) -> tuple[Tensor, float]:
    count = max(200, math.ceil(2 * _RANGE * scale / spacing))
    x = torch.linspace(mean - _RANGE * scale, mean + _RANGE * scale, count, dtype=F64)
    return x, float(x[1] - x[0])


def _hermite(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for E[f(z)], z standard normal (Golub and Welsch)."""
    off = torch.arange(1, count, dtype=F64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return nodes, vectors[0] ** 2


def _functionals(points: Tensor, weights: Tensor) -> Tensor:
    return torch.stack([(weights * f(points)).sum() for f in FUNCTIONALS])


def mixture_law_errors(
    solver: Solver,
    path: GaussianPath,
    law: Law,
    grid: Grid,
    steps: Sequence[int],
    draws: int = 1,
    corrected: bool = False,
) -> list[float]:
    """Norm of the errors of E[f(x)] at t = 1 for several step counts; the density is propagated.

    Args:
        solver: A stochastic solver whose last step returns the believed data.
        path: Path.
        law: Law of the data.
        grid: Grid.
        steps: Step counts.
        draws: How often the solver draws noise in a step.
        corrected: Whether the first draw belongs to a Langevin correction, with ``norm="batch"``:
            the rest of the step is not affine in it.
    """
    system = one(path)
    last = path.at(1.0)
    if last.s == 0:
        x, d = _grid_of(law.mean, law.spread, 0.01)
        target = _functionals(x, law.density(Coefficients(1.0, 0.0, 0.0, 0.0), x) * d)
    else:
        x, d = _grid_of(law.mean, math.hypot(law.spread, last.s), 0.01)
        target = _functionals(law.ends(last, x).x1, law.density(last, x) * d)
    errors = []
    for count in steps:
        points, weights = _propagate(solver, system, path, law, grid, count, draws, corrected)
        errors.append(float((_functionals(points, weights) - target).norm()))
    return errors


def _propagate(
    solver: Solver,
    system: System,
    path: GaussianPath,
    law: Law,
    grid: Grid,
    steps: int,
    draws: int,
    corrected: bool,
) -> tuple[Tensor, Tensor]:
    network = law.network(system)

    def predict(state: State, t: float) -> Mapping[str, Ends]:
        return system.predict(network, state, torch.full((state.batch_size,), t, dtype=F64))

    mean, scale = marginal_scale(law, path.at(0.0))
    points, spacing = _grid_of(mean, scale, 0.02 * scale)
    weights = law.density(path.at(0.0), points) * spacing
    nodes, node_weights = torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64)
    if corrected:
        nodes, node_weights = _hermite(3)
    for step in solver.plan(system, grid.knots(steps, system)):
        state = State({"x": points.repeat_interleave(len(nodes)).unsqueeze(1)})
        every = weights.repeat_interleave(len(nodes)) * node_weights.repeat(len(points))
        first = nodes.repeat(len(points)).unsqueeze(1)

        def moved(
            pattern: list[float], step: Step = step, state: State = state, first: Tensor = first
        ) -> Tensor:
            given = [first, *pattern] if corrected else pattern
            streams = Given(state.batch_size, given)
            end, _ = solver.step(system, predict, state, step, solver.start(), streams)
            return end["x"].squeeze(1)

        if step.last:
            return moved([]), every
        free = draws - corrected
        centre = moved([0.0] * free)
        variance = 0.0
        for i in range(free):
            shift = moved([float(i == j) for j in range(free)]) - centre
            assert float(shift.max() - shift.min()) < 1e-9 * max(1.0, float(centre.abs().max()))
            variance += float(shift.mean()) ** 2
        if variance < 1e-24:
            points, weights = centre, every
            continue
        noise = math.sqrt(variance)
        mean, scale = marginal_scale(law, step.then["x"])
        points, spacing = _grid_of(mean, scale, noise / 1.2)
        kernel = (points.unsqueeze(1) - centre).div_(noise).square_().mul_(-0.5).exp_()
        weights = kernel @ every * (spacing / (noise * math.sqrt(2 * math.pi)))
    raise AssertionError("a plan ends with its last step")


# ---- what is measured
FLOWS = (
    "adams",
    "euler",
    "midpoint",
    "heun",
    "heun3",
    "rk4",
    "dopri5",
    "ddim",
    "dpm-solver",
    "dpm++",
    "dpm++2m",
    "unipc",
)
EXPONENTIAL = ("ddim", "dpm-solver", "dpm++", "dpm++2m", "unipc", "dpm++sde")


def grid_for(solver: str, path: GaussianPath, order: float = 2) -> Grid:
    """Grid on which the solver shows its order: even in the log-SNR for the exponential ones."""
    if solver not in EXPONENTIAL:
        return Uniform()
    slow_end = path.at(1.0).s == 0 and not math.isfinite(path.at(1.0).ds)
    noise = 1e-4 if order < 3 else 1e-5
    return LogSNR(start=1e-4, stop=1 - (10 * noise**2 if slow_end else noise))


# ---- two components, one of them a symmetric matrix
def graph_system(path: GaussianPath, kind: str = "data") -> System:
    """Nodes and links on the same path."""
    return System(
        {
            "nodes": Component(Euclidean(), path, kind),
            "links": Component(Symmetric(), path, kind),
        }
    )


def graph_frame(sizes: list[int], nodes: int = 5) -> Frame:
    """Graphs of several sizes, padded to `nodes`."""
    node = torch.arange(nodes) < torch.tensor(sizes).unsqueeze(1)
    masks = {"nodes": node, "links": node.unsqueeze(1) & node.unsqueeze(2)}
    return Frame({"nodes": (nodes, 3), "links": (nodes, nodes)}, masks)


def careless(state: State, t: Tensor) -> Mapping[str, Tensor]:
    """A network that knows neither masks nor symmetry."""
    n = state["nodes"].shape[1]
    ramp = torch.arange(n * n, dtype=t.dtype).reshape(n, n) / n**2
    return {"nodes": torch.tanh(state["nodes"]) + 0.1, "links": torch.cos(state["links"]) + ramp}


def run_graph(
    solver: Solver, path: GaussianPath, frame: Frame, streams: Streams, **options: Any
) -> State:
    """Sample graphs with the careless network."""
    arguments = {"grid": Uniform(), "steps": 8, **options}
    return sample(graph_system(path), careless, frame, streams, solver=solver, **arguments)
