"""A training run: from a configuration to a model in a folder.

The folder holds the checkpoint and the log of the trainer and, at the end, the model with averaged
weights (``model.json``, ``model.safetensors``). The same run again goes on from the last
checkpoint; a finished one is not trained again, its model is written anew.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .. import checkpoint, grids, registry, solvers
from .. import coupling as couplings
from ..adapter import Adapter
from ..errors import expected
from ..learning import Dataset, Dropout, Objective, Recipe, train
from ..learning.trainer import CHECKPOINT, LOG
from ..model import CONFIG, Model, load
from . import device as devices
from .config import Config
from .output import refuse
from .provenance import versions

OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        step: Step of the last checkpoint, 0 where there is none.
        steps: Steps of the whole run.
        seconds: Seconds of training in the log, interruptions left out.
    """

    step: int
    steps: int
    seconds: float

    @property
    def finished(self) -> bool:
        """True where the last step is done."""
        return self.step >= self.steps


def progress(config: Config) -> Progress:
    """Look how far a run is.

    Raises:
        SciflowError: Its checkpoint is damaged.
    """
    path = config.folder / CHECKPOINT
    step = int(checkpoint.load(path)[1].get("step", 0)) if path.exists() else 0
    return Progress(step, config.as_recipe().steps, _seconds(config.folder / LOG, step))


def run(config: Config, on_step: OnStep | None = None) -> Model:
    """Train, go on training, or take a finished run; write the model and return it.

    Args:
        config: What to train.
        on_step: Called after each step with its number (from 1) and scalars.

    Raises:
        SciflowError: The data cannot be used, the folder holds another run or cannot be written,
            the loss is not finite.
    """
    recipe, sampling = config.as_recipe(), config.as_sampling()
    device = devices.choose(config.device)
    done = progress(config)
    if is_first():
        refuse(config.folder / CHECKPOINT)
    kind = registry.adapter(config.domain)
    start = load(recipe.start) if recipe.start else None
    if start is None:
        adapter, dataset = kind.from_data(config.data, config.options)
    elif start.adapter.name != kind.name:
        raise expected("recipe.start", recipe.start, f"a model of {kind.name}")
    else:
        adapter, dataset = kind.from_start(start.adapter, config.data, config.options)
    system = adapter.system()
    solver, grid = solvers.make(sampling.solver), grids.make(sampling.grid)
    solver.check(system)  # what cannot be sampled in the end is refused now
    grid.knots(sampling.steps, system)
    # The weights of a seed must not depend on what drew random numbers before.
    torch.manual_seed(config.seed)
    network = adapter.network()
    if start is not None:
        weights = adapter.carried(start.adapter, start.network.state_dict())
        checkpoint.begin(network, weights, recipe.start)
    objective = Objective(
        system,
        network,
        config.as_times(),
        _dropout(adapter, recipe),
        couplings.make(recipe.coupling),
    )
    ema = train(
        objective,
        dataset,
        recipe,
        config.folder,
        seed=config.seed,
        device=device.type,
        precision=config.precision,
        header={"adapter": json.loads(json.dumps(adapter.config()))},
        on_step=on_step,
    )
    network.cpu()
    averages = {name: value.cpu() for name, value in ema.average.items()}
    network.load_state_dict({**network.state_dict(), **averages})
    trained = _trained(config.folder) if done.finished else {}
    card = {
        **config.card,
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": trained or _training(config, dataset, device),
    }
    name = str(config.card.get("name", config.folder.name))
    model = Model(adapter, network.eval(), sampling, card, name)
    if is_first():
        model.save(config.folder)
    return model


def is_first() -> bool:
    """True for the one process, or the first of many, that talks and writes."""
    return os.environ.get("RANK", "0") == "0"


def _training(config: Config, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """How the model was trained."""
    steps = config.as_recipe().steps
    left_out = dict(getattr(dataset, "left_out", {}))
    return {
        "samples": len(dataset),
        **({"left_out": left_out} if left_out else {}),
        "steps": steps,
        "seed": config.seed,
        "device": devices.describe(device),
        "precision": config.precision,
        "seconds": _seconds(config.folder / LOG, steps),
        "versions": versions(),
        "config": config.public(),
    }


def _dropout(adapter: Adapter, recipe: Recipe) -> Dropout | None:
    """Hide the conditions that a model can do without: all of them, or each with even odds where there are several."""
    null = adapter.null()
    if not null:
        return None
    return Dropout(null, recipe.condition_dropout, each=0.5 if len(null) > 1 else 0.0)


def _trained(folder: Path) -> dict[str, Any]:
    """How a finished model was trained, as it says itself: perhaps on another machine."""
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8"))["card"]["training"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _seconds(log: Path, step: int) -> float:
    """Seconds of training up to a step, as the log has them; a log that is cut is no error."""
    if not log.exists():
        return 0.0
    try:
        with open(log, newline="", encoding="utf-8") as file:
            rows = [
                float(row["seconds"]) for row in csv.DictReader(file) if int(row["step"]) <= step
            ]
    except (OSError, KeyError, ValueError, TypeError):
        return 0.0
    return rows[-1] if rows else 0.0


__all__ = ["Progress", "is_first", "progress", "run"]
