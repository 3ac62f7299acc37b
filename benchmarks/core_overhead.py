"""What a step costs beside the network: ours and other libraries', with the trivial network D(x) = x / 2.

CPU time of a whole run over its number of steps (so what is computed before the first step counts, shared by all),
minimum over repeats, the samplers taking turns, one thread, float32. Times depend on the machine and on who else uses
it; the ratios of one run do much less. Batches of 1 x 2, 10 000 x 2 and 10 000 x 64.

Also: three components against one; a stochastic solver against the random numbers that it draws; and whether a step
compiles to one graph (`torch.compile`) that serves all steps.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from core_overhead_rivals import LIBRARIES, Loop, dpm_solver, half
from torch import Tensor

from sciflow import grids, paths, solvers
from sciflow.sampling import sample
from sciflow.solvers import Solver
from sciflow.spaces import Euclidean
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import Component, System

SHAPES = ((1, 2), (10_000, 2), (10_000, 64))
STEPS = {(1, 2): 100, (10_000, 2): 50, (10_000, 64): 20}
REPEATS = 7

OURS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("euler", {}, "linear"),
    ("ddim", {}, "linear"),
    ("midpoint", {}, "linear"),
    ("heun", {}, "linear"),
    ("heun3", {}, "linear"),
    ("rk4", {}, "linear"),
    ("adams", {}, "linear"),
    ("dpm++", {"order": 2}, "linear"),
    ("dpm++", {"order": 3}, "linear"),
    ("unipc", {}, "linear"),
    ("ancestral", {}, "vp"),
    ("euler-maruyama", {}, "vp"),
    ("dpm++sde", {}, "vp"),
)
STOCHASTIC = ("ancestral", "euler-maruyama", "dpm++sde")


def ours(
    name: str,
    options: dict[str, Any],
    path: str,
    components: int = 1,
    wrap: Callable[[Solver], Solver] = lambda solver: solver,
) -> Loop:
    """A run of one of our solvers; several components are as large as one each."""
    names = [f"x{i}" for i in range(components)]
    # A flow is trained on velocities, a diffusion on data or noise.
    kind = "velocity" if path == "linear" else "data"
    system = System({k: Component(Euclidean(), paths.make(path, (), {}), kind) for k in names})
    solver, grid = wrap(solvers.make({"name": name, **options})), grids.Uniform()

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        return {k: half(state[k]) for k in names}

    def loop(x: Tensor, steps: int) -> object:
        start = State(dict.fromkeys(names, x))
        frame, streams = Frame({k: x.shape[1:] for k in names}), Streams.range(0, 0, len(x))
        return sample(
            system, network, frame, streams, solver=solver, grid=grid, steps=steps, start=start
        )

    return loop


def raw() -> Iterator[tuple[str, Loop]]:
    """The least a step can cost: the network and one update, written out."""

    def ddim(x: Tensor, steps: int) -> Tensor:
        with torch.inference_mode():
            for i in range(steps):
                x = torch.lerp(half(x), x, 1 - 1 / (steps + 1 - i))
        return x

    yield "torch: one lerp", ddim

    def normal(x: Tensor, steps: int) -> Tensor:
        with torch.inference_mode():
            for i in range(steps):
                x = torch.lerp(half(x), x, 1 - 1 / (steps + 1 - i)) + 0.1 * torch.randn_like(x)
        return x

    yield "torch: one lerp and randn", normal


def in_turns(loops: dict[str, Loop], x: Tensor, steps: int, repeats: int) -> dict[str, float]:
    """Return CPU microseconds per step of each loop, minimum over the repeats."""
    best = dict.fromkeys(loops, math.inf)
    for name in list(loops):
        try:
            loops[name](x, steps)
        except Exception:  # a library that cannot run this shape is left out
            del best[name]
    for _ in range(repeats):
        for name in best:
            start = time.process_time()
            loops[name](x, steps)
            best[name] = min(best[name], time.process_time() - start)
    return {name: 1e6 * value / steps for name, value in best.items()}


def label(name: str, options: dict[str, Any]) -> str:
    """Name of one of our solvers in the table."""
    return "sciflow: " + " ".join([name, *(str(v) for v in options.values())])


def measure(sources: Path | None, only: list[str] | None, say: Callable[[str], None]) -> dict[str, Any]:  # fmt: skip
    """Measure everything, printing as it goes."""
    loops: dict[str, Loop] = dict(raw())
    present = [row for row in OURS if row[0] in solvers.SOLVERS]
    for name, options, path in present:
        loops[label(name, options)] = ours(name, options, path)
    makers = dict(LIBRARIES)
    if sources is not None:
        makers["dpm-solver"] = lambda: dpm_solver(sources)
    missing = {}
    for library, make in makers.items():
        if only is not None and library not in only:
            continue
        try:
            loops |= {f"{library}: {name}": loop for name, loop in make()}
        except ImportError as error:
            missing[library] = f"not installed ({error.name or error})"
    steps: dict[str, dict[str, float]] = {}
    for shape in SHAPES:
        x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
        with contextlib.redirect_stdout(sys.stderr):
            found = in_turns(loops, x, STEPS[shape], REPEATS if shape[1] == 2 else 4)
        title = " x ".join(map(str, shape))
        steps[title] = {k: round(v, 1) for k, v in found.items()}
    titles = list(steps)
    say(f"CPU microseconds per step{'':22}" + " ".join(f"{t:>12}" for t in titles))
    for name in loops:
        cells = [steps[t].get(name) for t in titles]
        say(f"{name:46} " + " ".join(f"{'-' if c is None else f'{c:.1f}':>12}" for c in cells))
    results: dict[str, Any] = {
        "note": (
            "CPU time on a machine that others used at the same time: compare within the run; "
            f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        ),
        "missing": missing,
        "microseconds": steps,
        "ratios": _ratios(steps),
        "components": _components(say),
        "noise": _noise(say),
        "compile": _compiled(say),
    }
    for line in results["ratios"]:
        say(json_line(line))
    return results


def json_line(line: dict[str, Any]) -> str:
    """One line of a table, as words."""
    return "  ".join(f"{k} {v}" for k, v in line.items())


# Of whom is which rival the like: the same number of network calls and the same kind of step.
PAIRS = (
    ("euler", ("flow_matching: euler", "diffusers: flow-match Euler", "k-diffusion: euler")),
    ("ddim", ("azula: DDIM", "diffusers: DDIM", "k-diffusion: euler")),
    ("midpoint", ("flow_matching: midpoint",)),
    ("heun", ("azula: Heun", "k-diffusion: heun", "torchdiffeq: heun2")),
    ("heun3", ("flow_matching: heun3",)),
    ("rk4", ("torchdiffeq: rk4",)),
    ("adams", ("azula: vAB2", "k-diffusion: lms")),
    ("dpm++ 2", ("k-diffusion: dpmpp_2m", "diffusers: DPM++ 2M", "azula: xEAB2", "dpm-solver: DPM++ 2M")),
    ("unipc", ("diffusers: UniPC 2",)),
    ("ancestral", ("azula: DDPM", "k-diffusion: euler_ancestral")),
    ("euler-maruyama", ("azula: Ito", "torchsde: euler")),
    ("dpm++sde", ("k-diffusion: dpmpp_2m_sde, plain noise",)),
)  # fmt: skip


def _ratios(steps: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Our time over the fastest like library's, for each shape."""
    table = []
    for name, names in PAIRS:
        line: dict[str, Any] = {"solver": name}
        for title, times in steps.items():
            mine = times.get(f"sciflow: {name}")
            others = {k: times[k] for k in names if k in times}
            if mine is not None and others:
                fastest = min(others, key=others.__getitem__)
                line[title] = round(mine / others[fastest], 3)
                line[f"{title} beside"] = fastest
        if len(line) > 1:
            table.append(line)
    return table


def _components(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Time of three components over that of one."""
    table = []
    for name, options, path in OURS:
        if name not in ("euler", "heun", "dpm++"):
            continue
        line: dict[str, Any] = {"solver": label(name, options)}
        for shape in SHAPES[:2]:
            loops = {str(k): ours(name, options, path, k) for k in (1, 3)}
            times = in_turns(loops, torch.randn(*shape), STEPS[shape], REPEATS)
            line[" x ".join(map(str, shape))] = round(times["3"] / times["1"], 2)
        say(f"three components over one: {json_line(line)}")
        table.append(line)
    return table


def _noise(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Time of stochastic solvers over that of the random numbers that they draw.

    ``streams`` draws as often as a sampler does, which lets small draws be made ahead; ``one draw`` has no second.
    """
    table = []
    for shape in SHAPES:
        x = torch.randn(*shape)

        def draw(x: Tensor, n: int) -> None:
            streams = Streams.range(0, 0, len(x))
            for _ in range(n):
                streams.normal(x.shape[1:])

        def alone(x: Tensor, n: int) -> None:
            for _ in range(n):
                Streams.range(0, 0, len(x)).normal(x.shape[1:])

        def plain(x: Tensor, n: int) -> None:
            for _ in range(n):
                torch.randn_like(x)

        loops: dict[str, Loop] = {
            "streams": draw,
            "streams, one draw": alone,
            "torch.randn": plain,
        }
        loops |= {
            name: ours(name, options, path)
            for name, options, path in OURS
            if name in STOCHASTIC and name in solvers.SOLVERS
        }
        times = in_turns(loops, x, STEPS[shape], 5 if shape[1] == 2 else 3)
        line: dict[str, Any] = {"shape": " x ".join(map(str, shape))}
        line |= {k: round(v / times["streams"], 3) for k, v in times.items()}
        line["streams, microseconds"] = round(times["streams"], 1)
        say(f"over the random numbers: {json_line(line)}")
        table.append(line)
    return table


def _compiled(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Graphs of a trajectory compiled step by step, those added by a second and longer one, and what it gains."""
    try:
        from sciflow.solvers.compiled import Compiled
    except ImportError:
        return []
    from torch._dynamo.utils import counters

    table: list[dict[str, Any]] = []
    x = torch.randn(16, 2)
    for name, options, path in OURS:
        if name not in solvers.SOLVERS:
            continue
        torch._dynamo.reset()
        counters.clear()
        line: dict[str, Any] = {"solver": label(name, options)}
        loop = ours(name, options, path, wrap=Compiled)
        try:
            loop(x, 8)
            line["graphs"] = counters["stats"]["unique_graphs"]
            loop(x, 11)
            line["added by a second run"] = counters["stats"]["unique_graphs"] - line["graphs"]
        except Exception as error:
            line["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        say(f"compiled: {json_line(line)}")
        table.append(line)
    torch._dynamo.reset()
    for name, options, path in OURS:
        if name not in ("heun", "dpm++", "euler-maruyama"):
            continue
        loops = {
            "eager": ours(name, options, path),
            "compiled": ours(name, options, path, wrap=Compiled),
        }
        times = in_turns(loops, torch.randn(10_000, 64), 10, 4)
        if len(times) == 2:
            line = {"solver": f"{label(name, options)}, 10000 x 64"}
            line["gain"] = round(times["eager"] / times["compiled"], 2)
            say(f"compiled: {json_line(line)}")
            table.append(line)
    return table
