"""GDSS as a configuration of the core, and the way of its released weights into it.

GDSS is the system {atoms: Euclidean, bonds: Symmetric} with a Gaussian path each, one network for both scores, and
predictor-corrector sampling. A released file becomes a model of ours: same weights, same paths, and the authors'
sampler as its default.

Where we differ from the authors' code: the Langevin step of a sample is set by its own norms, not by the means of its
batch (``norm = "batch"`` in the solver's options brings those back); transitions between knots are exact instead of
Euler's (VP) and the last step returns the believed data.

Reference: Jo, Lee, Hwang, Score-based generative modeling of graphs via the system of stochastic differential
    equations,
arXiv:2202.02514.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sciflow.errors import built, unknown
from sciflow.model import Model, Sampling

from . import gdss_checkpoint
from .adapter import Molecules
from .networks.gdss import GDSSNetwork, ScoreNetworkA, ScoreNetworkX, ScoreNetworkXGMH
from .vocabulary import Vocabulary

_PREDICTORS = {"reverse": "reverse-diffusion", "euler": "euler-maruyama"}

# Numbers of heavy atoms in the training sides of the authors' split, from which they draw sizes.
_SIZES = {
    "QM9": {1: 3, 2: 3, 3: 9, 4: 26, 5: 115, 6: 558, 7: 2903, 8: 16541, 9: 100645},
    "ZINC250k": dict(
        zip(
            range(6, 39),
            (
                *(3, 5, 13, 67, 178, 654, 1053, 1606, 2532, 3844, 5695, 7863, 10489, 13065, 15906),
                *(18296, 16825, 18950, 20907, 20537, 17331, 14237, 9057, 6991, 5478, 4320, 3375),
                *(2327, 1553, 925, 358, 126, 2),
            ),
            strict=True,
        )
    ),
}

_NODES = {"gcn": ScoreNetworkX, "gmh": ScoreNetworkXGMH}


def network(features: int, options: Mapping[str, Any]) -> GDSSNetwork:
    """Make GDSS's networks from a configuration.

    Args:
        features: Number of atom types.
        options: ``nodes``: ``kind`` (``gcn`` or ``gmh``), ``depth``, ``width`` and, for ``gmh``, the options of
            `ScoreNetworkXGMH`; ``bonds``: options of `ScoreNetworkA`. What is left out is GDSS's own for QM9.

    Raises:
        SciflowError: An option is unknown.
    """
    for name in options:
        if name not in ("nodes", "bonds"):
            raise unknown("option of network gdss", name, ("nodes", "bonds"))
    nodes = {"kind": "gcn", "depth": 2, "width": 16, **options.get("nodes", {})}
    bonds = {"depth": 3, "width": 16, "attention_width": 16, **options.get("bonds", {})}
    kind = nodes.pop("kind")
    if kind not in _NODES:
        raise unknown("kind of GDSS's network for the atoms", kind, _NODES)
    what = "network gdss"
    return GDSSNetwork(
        built(f"{what}, nodes", _NODES[kind], _tuples(nodes), features),
        built(f"{what}, bonds", ScoreNetworkA, _tuples(bonds), features),
    )


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def import_weights(path: str | Path) -> Model:
    """Turn a checkpoint released by GDSS's authors into a model.

    Args:
        path: Their ``.pth`` file: of QM9 and ZINC250k comes a model of molecules, of the others one of graphs.

    Raises:
        SciflowError: The file is damaged, hostile or foreign.
    """
    checkpoint = gdss_checkpoint.read(path)
    settings = gdss_checkpoint.settings_from(checkpoint)
    types = settings["atom_types"]
    if types is None:
        from .generic.presets import import_weights as import_generic

        return import_generic(checkpoint, settings, Path(path).stem)
    authors = checkpoint.sampler
    # The adjacency form has no use for frequencies; even ones say so.
    adapter = Molecules(
        Vocabulary(types),
        _SIZES[checkpoint.dataset],
        [1 / len(types)] * len(types),
        [0.25] * 4,
        process_of(settings),
        {"name": "gdss", **options_of(checkpoint)},
    )
    card = {
        "title": f"GDSS, weights released by its authors for {checkpoint.dataset}",
        "source": f"harryjo97/GDSS, checkpoints/, file {checkpoint.file}",
        "reference": "arXiv:2202.02514",
        "licence": "none stated by the authors",
        "data": f"{checkpoint.dataset}, the authors' split",
    }
    return Model(
        adapter,
        gdss_checkpoint.networks_from(checkpoint),
        Sampling(solver_of(authors), "uniform", authors.steps),
        card,
        Path(path).stem,
    )


def process_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the process of a file's settings (see `gdss_checkpoint.settings_from`)."""
    return {
        name: {k: v for k, v in settings[name].items() if k not in ("kind", "steps")}
        for name in ("atoms", "bonds")
    }


def options_of(checkpoint: gdss_checkpoint.GDSSCheckpoint) -> dict[str, Any]:
    """Return the options of `network` that make the networks of a file."""
    bonds = _arguments(checkpoint.params_adj, "num_layers")
    bonds.pop("kind")
    return {"nodes": _arguments(checkpoint.params_x, "depth"), "bonds": bonds}


def solver_of(authors: gdss_checkpoint.AuthorsSampler) -> str | dict[str, Any]:
    """Return the authors' sampler as a solver of ours."""
    correction = {"snr": authors.snr, "scale": authors.scale_eps, "norm": "sample"}
    if authors.predictor == "s4":
        return {"name": "s4", **correction}
    predictor = _PREDICTORS[authors.predictor]
    if authors.corrector is None:
        return predictor
    return {"name": "predictor-corrector", "predictor": predictor, **correction}


def _arguments(params: Mapping[str, Any], depth: str) -> dict[str, Any]:
    """Say the authors' constructor arguments in our words."""
    options: dict[str, Any] = {"depth": params[depth], "width": params["nhid"]}
    if params["model_type"] == "ScoreNetworkX":
        return {"kind": "gcn", **options}
    return {
        "kind": "gmh",
        **options,
        "attention_width": params["adim"],
        "channels": [params["c_init"], params["c_hid"], params["c_final"]],
        "linears": params["num_linears"],
        "heads": params["num_heads"],
    }
