"""Verbs that fields bring to the command line.

``simulate`` an equation, ``control`` one, ``refine`` trajectories, ``rollout`` a model over many blocks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sciflow.errors import expected
from sciflow.model import load
from sciflow.runtime import progress
from sciflow.runtime.config import toml_value
from sciflow.runtime.output import refuse

from . import files, simulation
from .physics import EQUATIONS
from .trajectories import SAMPLE

_INTERRUPTED = 130

Given = Annotated[
    Path, typer.Option("--given", metavar="FILE", help="What is known: .nc or .zarr.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="File: .nc or .zarr.")]


def _ask(output: Path) -> None:
    """Refuse an output that cannot be written, before any work; a store that is there is replaced."""
    if files.suffix_of(output) != ".zarr":
        refuse(output)


def simulate(
    equation: Annotated[
        str, typer.Argument(metavar="EQUATION", help=f"One of: {', '.join(EQUATIONS)}.")
    ],
    output: Output,
    number: Annotated[
        int | None, typer.Option("--number", "-n", help="How many: 100, or all of --given.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--given", metavar="FILE", help="Start and force of this file, not drawn by the law."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Trajectory k of a seed is always the same.")] = 0,
    start: Annotated[int, typer.Option(help="Number of the first trajectory.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A number of the equation: viscosity=0.02."),
    ] = None,
) -> None:
    """Simulate trajectories of an equation: what is given, drawn by its law or of a file, and what follows."""
    if (number is not None and number < 1) or start < 0:
        raise expected("-n and --start", (number, start), "at least 1, and not below 0")
    options = {}
    for text in option or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise expected("--option", text, "KEY=VALUE")
        options[key.strip()] = toml_value(value)
    done = 0
    with progress.samples(equation) as tell:

        def more(count: int) -> None:
            nonlocal done
            done += count
            tell(done, total)

        if source is None:
            total = number or 100
            law = simulation.equation(equation, options)
            simulation.write(law, total, output, seed, start, more)
        else:
            law, data = simulation.given(source, equation, options)
            end = None if number is None else start + number
            data = data.isel({SAMPLE: slice(start, end)}, missing_dims="ignore")
            total = data.sizes.get(SAMPLE, 1)
            if not total:
                raise expected(f"{source}: trajectories from number {start} on", 0, "at least one")
            _ask(output)
            simulation.again(law, data, output, source, more)
    print(f"{total} trajectories of {equation}: {output}")


def control(
    given: Given,
    output: Output,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A model of control, or its folder.")
    ] = "burgers-control",
    number: Annotated[int, typer.Option("--number", "-n", help="Answers to each task.")] = 8,
    effort: Annotated[float, typer.Option(help="Weight of the energy of the force in J.")] = 0.0,
    guide: Annotated[
        str, typer.Option(help="none, surrogate (the model's own J), solver (exact, slow).")
    ] = "surrogate",
    gain: Annotated[float, typer.Option(help="Of the proportional controller beside.")] = 4.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
) -> None:
    """Find forces that bring starts (u0) to targets (uT, or the last frame of u), and try them on the solver.

    The file gets all answers with their re-simulated trajectories and J; number i answers task i modulo their number.
    """
    from . import control as controls
    from .layout import END

    found = load(model)
    coding, equation = controls.controllable(found)
    _ask(output)
    data = files.read(given)
    known = coding.layout.read(data, False, path=given)
    task = controls.Task(known["start"][:, 0], known[END][:, 0])
    tasks = len(task.u0)
    made = controls.generated(found, task, number, effort, guide, seed=seed, device=device)
    rows = {
        "no force": controls.judge(equation, task, made.force[:tasks] * 0, effort).objective,
        f"proportional, gain {gain:g}": controls.proportional(
            equation, task, gain, effort
        ).objective,
        "generated, mean": made.objective.unflatten(0, (number, tasks)).mean(0),
        f"generated, best of {number}": controls.best(made, tasks).objective,
    }
    controls.write(coding.layout, task, made, output)
    print(f"{'J, re-simulated':28}{'mean':>10}{'worst':>10}   {tasks} tasks")
    for name, value in rows.items():
        print(f"{name:28}{float(value.mean()):>10.4f}{float(value.max()):>10.4f}")
    print(f"{len(made.objective)} answers: {output}")


def rollout(
    given: Given,
    output: Output,
    model: Annotated[
        list[str],
        typer.Option(
            "--model", "-m", help="A model of fields, or its folder; several: a deep ensemble."
        ),
    ],
    blocks: Annotated[int, typer.Option(help="How many times the model goes on.")] = 2,
    number: Annotated[
        int, typer.Option("--number", "-n", help="Samples of each start and model.")
    ] = 1,
    dropout: Annotated[
        float,
        typer.Option(
            help="Share of channels that each sample leaves out; it was trained with dropout."
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", help="Trajectories at a time; each batch is written.")
    ] = 100,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the file of an interrupted run.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
) -> int:
    """Carry a model further than it was trained for: each block begins where the last one ended.

    Several models, or samples that leave out channels, are ensembles beside that of the sampler. The file is written
    batch by batch, so that Ctrl-C keeps what was made; the same command with --resume goes on where it stopped.
    """
    from sciflow.runtime.generate import produce
    from sciflow.runtime.output import Output

    from .adapter import Fields
    from .rollout import Rollout, thinned

    files.suffix_of(output)  # no folder of everything
    with Output(output, Fields) as out:
        models, starts = [load(name) for name in model], files.read(given)
        drawn = {"members": number, "dropout": dropout}
        if len(models) > 1 or dropout:
            models, number = [one for _ in range(number) for one in models], 1
        if dropout:
            models = [thinned(one, dropout, seed + k) for k, one in enumerate(models)]
        plan = Rollout.of(models, starts, blocks, number, seed, batch_size, drawn, device=device)
        with progress.samples("trajectories") as tell:
            made, whole = produce(plan, out, tell, resume)
    if whole:
        print(f"{len(made)} trajectories of {blocks} blocks: {output}")
        return 0
    kept = f"kept in {output}; the same command with --resume goes on"
    print(
        f"interrupted: {len(made)} of {plan.n} trajectories made, {kept if len(made) else 'nothing written'}",
        file=sys.stderr,
    )
    return _INTERRUPTED


def refine(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Trajectories on a coarse grid.")],
    output: Output,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A model of super-resolution, or its folder.")
    ] = "burgers-superresolution",
    given: Annotated[
        Path | None,
        typer.Option("--given", metavar="FILE", help="Start and force on the finest grid."),
    ] = None,
    levels: Annotated[int, typer.Option(help="How often the grid is refined.")] = 1,
    number: Annotated[int, typer.Option("--number", "-n", help="Samples of each.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
) -> None:
    """Bring trajectories to finer grids: twice the frames and cells at each level."""
    from .adapter import Writer
    from .superresolution import refine as refined

    _ask(output)
    known = None if given is None else files.read(given)
    made = refined(load(model), files.read(file), known, levels, number, seed, device=device)
    with Writer(output) as out:
        out.append(made)
    grid = " x ".join(str(size) for size in made[0][next(iter(made[0].data_vars))].shape)
    print(f"{len(made)} trajectories of {grid}: {output}")


__all__ = ["control", "refine", "rollout", "simulate"]
