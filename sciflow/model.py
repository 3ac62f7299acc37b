"""A model: an adapter, its system, a trained network, how to sample it, and its card.

On disk a model is a folder with ``model.json`` (configuration and card, plain text) and ``model.safetensors`` (weights).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from . import checkpoint, registry
from .adapter import Adapter
from .errors import SciflowError, expected, unknown
from .system import System

FORMAT = 1


@dataclass(frozen=True)
class Sampling:
    """How to sample a model.

    Args:
        solver: Name of the solver (see `sciflow.solvers`), or its name and options.
        grid: Name of the time grid (see `sciflow.grids`), or its name and options.
        steps: Number of steps.
    """

    solver: str | dict[str, Any] = "ancestral"
    grid: str | dict[str, Any] = "uniform"
    steps: int = 100


@dataclass(frozen=True)
class Model:
    """A model; see the module.

    Args:
        adapter: Adapter of its domain.
        network: Network with trained weights.
        sampling: Default settings of generation.
        card: What is known about the weights: data, licence, training, measured figures.
        name: Its name or path.
    """

    adapter: Adapter
    network: nn.Module
    sampling: Sampling = field(default_factory=Sampling)
    card: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def system(self) -> System:
        """The system of components."""
        return self.adapter.system()

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder; returns the folder.

        Raises:
            SciflowError: The folder cannot be written.
        """
        folder = Path(folder)
        config = {
            "format": FORMAT,
            "domain": self.adapter.name,
            "adapter": self.adapter.config(),
            "sampling": asdict(self.sampling),
            "card": dict(self.card),
        }
        checkpoint.save(
            folder / "model.safetensors", self.network.state_dict(), {"domain": self.adapter.name}
        )
        checkpoint.write_text(folder / "model.json", json.dumps(config, indent=1) + "\n")
        return folder


def load(name: str | Path) -> Model:
    """Load a model by the name of a shipped one or by the path of a folder.

    Raises:
        SciflowError: There is no such model, or its files are damaged or do not fit together.
    """
    folder = Path(name)
    if not (folder / "model.json").exists():
        shipped = registry.shipped()
        if str(name) not in shipped:
            if folder.exists():
                raise expected(
                    str(name),
                    "a place without model.json",
                    "the folder of a model or a shipped name",
                )
            raise unknown("model", str(name), shipped)
        folder = shipped[str(name)]
    try:
        config = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        version, domain = config["format"], config["domain"]
        adapter = registry.adapter(domain).from_config(config["adapter"])
        sampling = Sampling(**config.get("sampling", {}))
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise SciflowError(
            f"{folder / 'model.json'}: got {type(error).__name__}: {error}, expected the configuration of a "
            "model written by sciflow; copy or download it again"
        ) from None
    if version != FORMAT:
        raise expected(
            str(folder), f"model format {version}", f"format {FORMAT}", "update sciflow"
        )
    tensors, _ = checkpoint.load(folder / "model.safetensors")
    network = adapter.network()
    checkpoint.load_into(network, tensors, str(folder / "model.safetensors"))
    return Model(adapter, network.eval(), sampling, config.get("card", {}), folder.name)
