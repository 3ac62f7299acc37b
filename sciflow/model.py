"""A model: an adapter, its system, a trained network, how to sample it, and its card.

On disk a model is a folder with ``model.json`` (configuration and card, plain text) and
``model.safetensors`` (weights).
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
CONFIG = "model.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Sampling:
    """How to sample a model.

    Args:
        solver: Name of the solver (see `sciflow.solvers`), or its name and options.
        grid: Name of the time grid (see `sciflow.grids`), or its name and options.
        steps: Number of steps.
        guidance: Weight of guidance by the conditions that are given; 1 is none.
    """

    solver: str | dict[str, Any] = "ancestral"
    grid: str | dict[str, Any] = "uniform"
    steps: int = 100
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise expected("sampling.steps", self.steps, "at least 1")


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

    @property
    def parameters(self) -> int:
        """Number of parameters of the network."""
        return sum(p.numel() for p in self.network.parameters())

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
        checkpoint.save(folder / WEIGHTS, self.network.state_dict(), {"domain": self.adapter.name})
        checkpoint.write_text(folder / CONFIG, json.dumps(config, indent=1) + "\n")
        return folder


def cards(domain: str | None = None) -> dict[str, dict[str, Any]]:
    """What is known of the shipped models (of one domain), by name; no weights are read.

    Each has ``domain``, ``folder``, ``sampling`` and the entries of its card; the one that a
    domain takes where none is named has ``default`` true, else it is the first.
    """
    return {name: _card(folder) for name, folder in registry.shipped(domain).items()}


def card(name: str | Path) -> dict[str, Any]:
    """What is known of one model, by its name or folder (see `cards`).

    Raises:
        SciflowError: There is no such model, or its files are damaged.
    """
    return _card(_folder(name))


def _card(folder: Path) -> dict[str, Any]:
    config = _read(folder)
    return {
        "domain": config["domain"],
        "folder": str(folder),
        "sampling": config.get("sampling", {}),
        **config.get("card", {}),
    }


def default(domain: str) -> str:
    """Name of the shipped model that a domain takes where none is named.

    Raises:
        SciflowError: There is no such domain, or no model comes with it.
    """
    if domain not in registry.names():
        raise unknown("domain", domain, registry.names())
    found = cards(domain)
    if not found:
        raise expected(
            f"models of {domain}",
            "none",
            "one that is shipped",
            "name a folder by --model, or train one",
        )
    marked = [name for name, card in found.items() if card.get("default")]
    return (marked or list(found))[0]


def load(name: str | Path) -> Model:
    """Load a model by the name of a shipped one or by the path of a folder.

    Raises:
        SciflowError: There is no such model, or its files are damaged or do not fit together.
    """
    folder = _folder(name)
    config = _read(folder)
    try:
        adapter = registry.adapter(config["domain"]).from_config(config["adapter"])
        sampling = Sampling(**config.get("sampling", {}))
        network = adapter.network()
    except SciflowError as error:
        raise SciflowError(f"{folder / CONFIG}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, error) from None
    weights = folder / WEIGHTS
    tensors, header = checkpoint.load(weights)
    if header.get("domain", config["domain"]) != config["domain"]:
        raise expected(
            str(weights), f"weights of domain {header['domain']}", f"weights of {config['domain']}"
        )
    checkpoint.load_into(network, tensors, str(weights))
    return Model(adapter, network.eval(), sampling, config.get("card", {}), folder.resolve().name)


def _folder(name: str | Path) -> Path:
    folder = Path(name)
    if not (folder / CONFIG).is_file():
        shipped = registry.shipped()
        if str(name) not in shipped:
            wanted = "the folder of a model or a shipped name"
            if folder.exists():
                raise expected(str(name), f"a place without {CONFIG}", wanted)
            if not shipped:
                raise expected("model", str(name), "the folder of a model (none are shipped)")
            raise unknown("model", str(name), shipped)
        return shipped[str(name)]
    return folder


def _read(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        version = config["format"]
        if not isinstance(config["domain"], str) or not isinstance(config["adapter"], dict):
            raise TypeError("domain and adapter are not a name and a table")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from None
    if version != FORMAT:
        raise expected(
            str(folder), f"model format {version}", f"format {FORMAT}", "update sciflow"
        )
    return config


def _damaged(folder: Path, error: Exception) -> SciflowError:
    return SciflowError(
        f"{folder / CONFIG}: got {type(error).__name__}: {error}, expected the configuration of "
        "a model written by sciflow; copy or download it again"
    )
