"""Control of Burgers: WDNO's objective J of forces tried on the solver, generated ones beside controllers.

    python benchmarks/fields_control.py --model burgers-control

Writes ``results/fields_control.json``. 50 tasks of seed 1: start and end of trajectories of WDNO's law (32 steps x 64
points, solver 256 points). Two objectives: the distance to the target alone (effort 0), and with 0.01 times the energy
of the force. All J are of re-simulated trajectories. Gain and strength of the guide were chosen on tasks of seed 2.

| row | what |
|---|---|
| uncontrolled | no force |
| proportional | feedback f = k (u* - u) of the state at each step, which the open-loop rows never see |
| model | 8 answers of the model to each task: their mean, and the best of 8, which is the one that the solver prefers |
| model, guided | the same, guided by the model's own J; spread over 3 seeds of sampling |
| model, guided by the solver | one answer to each of the first tasks, the believed force corrected through the solver |
| descend | L-BFGS through the solver from no force on the first tasks: the bound, which needs its gradient |

The published figure is of WDNO's own tasks, grid (80 x 120) and weight of the energy: it gives the size, no more.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from record import write

import sciflow
from sciflow.domains.fields import control
from sciflow.domains.fields.control import Controlled, Task
from sciflow.domains.fields.physics import Burgers

PUBLISHED = {
    "WDNO": {"J": 0.0205, "source": "WDNO, ICLR 2025, table 2a, as quoted by two reproductions"},
}
GAINS = (0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
MEMBERS = 8


def row(found: Controlled, seconds: float, tasks: int) -> dict[str, float]:
    """Figures of forces."""
    value = found.objective
    return {
        "J": float(value.mean()),
        "J_median": float(value.median()),
        "energy": float(found.force.square().mean() * 8.0),
        "cpu_s_per_task": seconds / tasks,
    }


def timed(what: Any) -> tuple[Controlled, float]:
    """Result and CPU seconds."""
    begin = time.process_time()
    found = what()
    return found, time.process_time() - begin


def learned(
    model: Any, task: Task, effort: float, guide: str, seeds: list[int], members: int
) -> dict[str, Any]:
    """Rows of a model: all answers, and the best of each task, over seeds."""
    tasks, rows, chosen = len(task.u0), [], []
    for seed in seeds:
        made, seconds = timed(
            lambda seed=seed: control.generated(
                model, task, members, effort, guide, seed=seed, device="cpu"
            )
        )
        rows.append(row(made, seconds, tasks))
        chosen.append(float(control.best(made, tasks).objective.mean()))
        print(effort, guide, seed, rows[-1], f"best of {members}: {chosen[-1]:.4f}", flush=True)
    values = [r["J"] for r in rows]
    spread = statistics.stdev if len(seeds) > 1 else lambda _: None
    return {
        "one_answer": {k: statistics.mean(r[k] for r in rows) for k in rows[0]},
        "one_answer_J_spread_over_seeds": spread(values),
        f"best_of_{members}_J": statistics.mean(chosen),
        f"best_of_{members}_J_spread_over_seeds": spread(chosen),
        "seeds": seeds,
    }


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="burgers-control")
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--first", type=int, default=12, help="tasks of the slow rows")
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--iterations", type=int, default=15, help="of L-BFGS")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, equation = sciflow.load(given.model), Burgers()
    task, other = control.tasks(equation, 1, given.tasks), control.tasks(equation, 2, given.tasks)
    first = Task(task.u0[: given.first], task.target[: given.first])
    results: dict[str, Any] = {}
    data = {
        "equation": equation.config(),
        "tasks": given.tasks,
        "members": given.members,
        "strength": control.STRENGTH,
        "parameters": model.parameters,
        "published": PUBLISHED,
    }

    def save() -> None:
        write("fields_control", seeds=[1, 2], data=data, results=results)

    for effort in (0.0, 0.01):
        idle = control.uncontrolled(equation, task)
        gain, _ = control.best_gain(equation, other, GAINS, effort)
        fed = control.proportional(equation, task, gain, effort)
        found: dict[str, Any] = {
            "uncontrolled": {"J": float(idle.objective.mean())},
            "proportional": {**row(fed, 0.0, given.tasks), "gain": gain},
        }
        results[f"effort {effort:g}"] = found
        print(effort, found, flush=True)
        found["model"] = learned(model, task, effort, "none", [0], given.members)
        found["model, guided"] = learned(
            model, task, effort, "surrogate", [0, 1, 2], given.members
        )
        slow = {
            "model, guided by the solver": lambda effort=effort: control.generated(
                model, first, 1, effort, "solver", iterations=2, device="cpu"
            ),
            "descend": lambda effort=effort: control.descend(
                equation, first, given.iterations, effort
            ),
        }
        for name, what in slow.items():
            made, seconds = timed(what)
            found[name] = {**row(made, seconds, given.first), "tasks": given.first}
            print(effort, name, found[name], flush=True)
            save()
        found["first tasks"] = {
            "tasks": given.first,
            "uncontrolled": float(idle.objective[: given.first].mean()),
            "proportional": float(fed.objective[: given.first].mean()),
        }
        save()


if __name__ == "__main__":
    main()
