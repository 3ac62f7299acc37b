"""GDSS on generic graphs: the four data sets of the paper as presets, and the way of the released weights into a model.

A node shows its degree one-hot, an edge is a number near 0 or 1; the preset's name stands for its process and for its
networks (``process = "gdss-grid"``, ``network = "gdss-grid"``), `Preset.training` is the authors' whole run.

| preset | nodes | edges | sampler of 1000 steps | averaged weights |
|---|---|---|---|---|
| gdss-community-small | VP .1-1 | VP .1-1 | Euler and Langevin, snr .05, scale .7 | no |
| gdss-ego-small | VP .1-1 | VP .1-1 | Euler alone | no |
| gdss-enzymes | VP .1-1 | VE .2-1 | S4, snr .15, scale .7 | yes |
| gdss-grid | VP .1-1 | VP .2-.8 | reverse diffusion and Langevin, snr .1, scale .7 | yes |

Protocol: the first fifth of the file is the test set; as many graphs as that are generated (here: several such draws),
sizes as in the training set, edges at 1/2, nodes without an edge dropped before the distances.

Reference: Jo, Lee, Hwang, Score-based generative modeling of graphs via the system of stochastic differential
equations, arXiv:2202.02514, tables 1, 5 and 6, and the configurations released with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sciflow.model import Model, Sampling

from .. import gdss
from ..gdss_checkpoint import SAMPLERS, GDSSCheckpoint, networks_from


@dataclass(frozen=True)
class Preset:
    """One data set of GDSS.

    Args:
        dataset: Its name (see `datasets`).
        authors: What the authors call it.
        degrees: Number of degrees 0, 1, ... that a node can show.
        nodes: Path of the nodes.
        edges: Path of the edges.
        depth: Graph convolutions of the network for the nodes.
        layers: Attention layers of the network for the edges.
        batch: Graphs per step of training.
        graphs: Training graphs.
        sizes: Number of training graphs of each size.
    """

    dataset: str
    authors: str
    degrees: int
    nodes: Mapping[str, Any]
    edges: Mapping[str, Any]
    depth: int
    layers: int
    batch: int
    graphs: int
    sizes: Mapping[int, int]

    def process(self) -> dict[str, Any]:
        """The paths, as the process of a configuration."""
        return {"atoms": dict(self.nodes), "bonds": dict(self.edges)}

    def network(self) -> dict[str, Any]:
        """The networks, as in a configuration."""
        edges = {
            "depth": self.layers,
            "width": 32,
            "attention_width": 32,
            "channels": [2, 8, 4],
            "linears": 2,
            "heads": 4,
        }
        return {
            "name": "gdss",
            "nodes": {"kind": "gcn", "depth": self.depth, "width": 32},
            "bonds": edges,
        }

    def sampling(self) -> Sampling:
        """The authors' sampler."""
        authors = SAMPLERS[self.authors]
        return Sampling(gdss.solver_of(authors), "uniform", authors.steps)

    def training(self, epochs: int = 5000) -> dict[str, Any]:
        """The authors' training as a whole configuration (see `sciflow.runtime.config`).

        Args:
            epochs: Passes over the data. The authors' rate falls by a thousandth per epoch, ours as a cosine.
        """
        name = f"gdss-{self.dataset.replace('_', '-')}"
        sampling = self.sampling()
        return {
            "domain": "graphs",
            "folder": f"runs/{name}",
            "process": name,
            "network": name,
            "data": {"train": f"{self.dataset}:train", "features": "degree"},
            "recipe": {
                "steps": epochs * -(-self.graphs // self.batch),
                "batch_size": self.batch,
                "learning_rate": 0.01,
                "weight_decay": 1e-4,
                "ema": 0.999,
            },
            "sampling": {
                "solver": sampling.solver,
                "grid": sampling.grid,
                "steps": sampling.steps,
            },
        }


def _vp(low: float = 0.1, high: float = 1.0) -> dict[str, Any]:
    return {"path": "vp", "beta_min": low, "beta_max": high}


_VE = {"path": "ve", "sigma_min": 0.2, "sigma_max": 1.0}

# fmt: off
PRESETS = {
    "gdss-community-small": Preset(
        "community_small",
        "community_small",
        10,
        _vp(),
        _vp(),
        3,
        5,
        128,
        80,
        {
            12: 21, 14: 20, 16: 15, 18: 13, 20: 11,
        },
    ),
    "gdss-ego-small": Preset(
        "ego_small",
        "ego_small",
        17,
        _vp(),
        _vp(),
        2,
        5,
        128,
        160,
        {
            4: 56, 5: 32, 6: 20, 7: 16, 8: 9, 9: 6, 10: 5, 11: 4, 12: 3, 13: 3, 14: 1, 16: 5,
        },
    ),
    "gdss-enzymes": Preset(
        "enzymes",
        "ENZYMES",
        10,
        _vp(),
        _VE,
        5,
        7,
        64,
        470,
        {
            10: 2, 11: 5, 12: 12, 13: 6, 14: 11, 15: 8, 16: 6, 17: 4, 18: 13, 19: 10, 20: 13,
            21: 14, 22: 13, 23: 8, 24: 18, 25: 15, 26: 19, 27: 19, 28: 16, 29: 10, 30: 10, 31:
            5, 32: 12, 33: 10, 34: 12, 35: 6, 36: 8, 37: 9, 38: 13, 39: 13, 40: 16, 41: 13, 42:
            19, 43: 5, 44: 18, 45: 4, 46: 9, 47: 4, 48: 13, 49: 3, 50: 8, 51: 5, 52: 7, 54: 2,
            55: 3, 56: 2, 57: 3, 58: 1, 60: 4, 62: 2, 64: 1, 66: 3, 74: 1, 96: 1, 121: 1, 123:
            1, 125: 1,
        },
    ),
    "gdss-grid": Preset(
        "grid",
        "grid",
        5,
        _vp(),
        _vp(0.2, 0.8),
        5,
        7,
        8,
        80,
        {
            110: 1, 121: 1, 130: 1, 132: 1, 140: 2, 143: 3, 144: 1, 150: 4, 156: 2, 160: 1, 165:
            2, 168: 2, 169: 1, 170: 1, 176: 2, 180: 5, 190: 3, 192: 2, 195: 1, 196: 1, 204: 3,
            208: 1, 209: 1, 210: 1, 216: 5, 221: 3, 228: 2, 234: 1, 238: 2, 240: 1, 247: 1, 252:
            3, 255: 2, 266: 1, 270: 2, 272: 2, 285: 1, 288: 3, 304: 1, 306: 3, 324: 2, 342: 2,
        },
    ),
}
# fmt: on
"""By the name that a configuration uses."""


def import_weights(checkpoint: GDSSCheckpoint, settings: Mapping[str, Any], name: str) -> Model:
    """Turn a checkpoint of generic graphs released by GDSS's authors into a model.

    Args:
        checkpoint: What `gdss_checkpoint.read` returned.
        settings: What `gdss_checkpoint.settings_from` says of it.
        name: Name of the model.
    """
    from .adapter import Graphs
    from .labels import Labels

    preset = next(p for p in PRESETS.values() if p.authors == checkpoint.dataset)
    authors, degrees = checkpoint.sampler, int(settings["features"])
    adapter = Graphs(
        Labels(),
        Labels(),
        preset.sizes,
        # The adjacency form has no use for frequencies; even ones say so.
        [1 / degrees] * degrees,
        [0.5, 0.5],
        gdss.process_of(settings),
        {"name": "gdss", **gdss.options_of(checkpoint)},
        degrees,
    )
    card = {
        "title": f"GDSS, weights released by its authors for {checkpoint.dataset}",
        "source": f"harryjo97/GDSS, checkpoints/, file {checkpoint.file}",
        "reference": "arXiv:2202.02514",
        "licence": "none stated by the authors",
        "data": f"{checkpoint.dataset}, the authors' split",
        "averaged": authors.ema,
    }
    sampling = Sampling(gdss.solver_of(authors), "uniform", authors.steps)
    return Model(adapter, networks_from(checkpoint), sampling, card, name)


__all__ = ["PRESETS", "Preset", "import_weights"]
