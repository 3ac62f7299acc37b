"""The verb ``simulate`` of the command line: trajectories by the law of an equation, into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sciflow.errors import expected
from sciflow.runtime import progress
from sciflow.runtime.config import toml_value

from . import simulation
from .physics import EQUATIONS


def simulate(
    equation: Annotated[
        str, typer.Argument(metavar="EQUATION", help=f"One of: {', '.join(EQUATIONS)}.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File: .nc or .zarr.")],
    number: Annotated[int, typer.Option("--number", "-n", help="How many trajectories.")] = 100,
    seed: Annotated[int, typer.Option(help="Trajectory k of a seed is always the same.")] = 0,
    start: Annotated[int, typer.Option(help="Number of the first trajectory.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A number of the equation: viscosity=0.02."),
    ] = None,
) -> None:
    """Simulate trajectories of an equation: what is given, drawn by its law, and what follows."""
    if number < 1 or start < 0:
        raise expected("-n and --start", (number, start), "at least 1, and not below 0")
    options = {}
    for text in option or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise expected("--option", text, "KEY=VALUE")
        options[key.strip()] = toml_value(value)
    law = simulation.equation(equation, options)
    done = 0
    with progress.samples(equation) as tell:

        def more(count: int) -> None:
            nonlocal done
            done += count
            tell(done, number)

        simulation.write(law, number, output, seed, start, more)
    print(f"{number} trajectories of {equation}: {output}")


__all__ = ["simulate"]
