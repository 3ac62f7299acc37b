"""Weights that the authors of GDSS released: read without running code, rebuilt as our networks.

A file holds the training configuration, the constructor arguments and weights of both networks
and, for generic graphs, their averaged weights.

What a file means, t counted as in the paper (1 is noise; the house counts the other way):

* VP: beta(t) = beta_min + t (beta_max - beta_min), and the network predicts the noise;
* VE: sigma(t) = beta_min (beta_max / beta_min)^t, and the network is the score itself.

Reference: Jo, Lee, Hwang, Score-based Generative Modeling of Graphs via the System of Stochastic
Differential Equations (ICML 2022), tables 4 and 5 and the released configurations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sciflow.errors import expected, unknown

from . import torch_zip
from .networks.gdss import GDSSNetwork, ScoreNetworkA, ScoreNetworkX, ScoreNetworkXGMH

_KEYS = ("model_config", "params_x", "params_adj", "x_state_dict", "adj_state_dict")
_ATTENTION = re.compile(r"(layers\.\d+)\.attn\.(\d+)\.gnn_([qkv])\.(weight|bias)")
_PROJECTION = {"q": "query", "k": "key", "v": "value"}


@dataclass(frozen=True)
class AuthorsSampler:
    """How the authors sample a data set: reverse time from 1 to `eps` in `steps` equal steps.

    Attributes:
        predictor: ``"reverse"``, ``"euler"`` or ``"s4"``; S4 always corrects.
        corrector: ``"langevin"``, or None for none.
        snr: Signal-to-noise ratio of the corrector.
        scale_eps: Scale of the corrector's noise.
        ema: Whether the averaged weights are sampled.
        n_steps: Corrector steps per step.
        steps: Predictor steps.
        eps: Last time.
    """

    predictor: str
    corrector: str | None
    snr: float
    scale_eps: float
    ema: bool = False
    n_steps: int = 1
    steps: int = 1000
    eps: float = 1e-4


SAMPLERS = {
    "QM9": AuthorsSampler("reverse", "langevin", 0.2, 0.7),
    "ZINC250k": AuthorsSampler("reverse", "langevin", 0.2, 0.9),
    "ZINC250k v2": AuthorsSampler("reverse", "langevin", 0.2, 0.8),
    "community_small": AuthorsSampler("euler", "langevin", 0.05, 0.7),
    "ego_small": AuthorsSampler("euler", None, 0.0, 0.0),
    "ENZYMES": AuthorsSampler("s4", "langevin", 0.15, 0.7, ema=True),
    "grid": AuthorsSampler("reverse", "langevin", 0.1, 0.7, ema=True),
}
"""Per data set; "v2" is the second ZINC250k file, whose network for the atoms has attention."""

ATOM_TYPES = {
    "QM9": ("C", "N", "O", "F"),
    "ZINC250k": ("C", "N", "O", "F", "P", "S", "Cl", "Br", "I"),
}
"""The order of the atom channels; generic graphs have none, their channels are one-hot degrees."""


@dataclass(frozen=True, eq=False)
class GDSSCheckpoint:
    """What a file of the authors holds.

    Attributes:
        config: The training configuration.
        params_x: Constructor arguments of the network for the atoms.
        params_adj: Constructor arguments of the network for the bonds.
        weights_x: Its weights by the authors' names.
        weights_adj: The other's.
        ema_x: Averaged weights by the same names, or None.
        ema_adj: The other's.
        file: Name of the file, without its folder.
    """

    config: dict[str, Any]
    params_x: dict[str, Any]
    params_adj: dict[str, Any]
    weights_x: dict[str, Tensor]
    weights_adj: dict[str, Tensor]
    ema_x: dict[str, Tensor] | None
    ema_adj: dict[str, Tensor] | None
    file: str

    @property
    def dataset(self) -> str:
        """Name of the data set, as the authors write it."""
        return str(_entry(self, self.config, "data", "data"))

    @property
    def sampler(self) -> AuthorsSampler:
        """How the authors sample this model.

        Raises:
            SciflowError: The data set is none of theirs.
        """
        name = self.dataset
        if name == "ZINC250k" and self.params_x.get("model_type") == "ScoreNetworkX_GMH":
            name = "ZINC250k v2"
        if name not in SAMPLERS:
            raise unknown(f"{self.file}: data set", name, SAMPLERS)
        return SAMPLERS[name]


def _weights(file: str, key: str, value: Any) -> dict[str, Tensor]:
    if not isinstance(value, dict) or not value:
        raise expected(f"{file}: {key}", type(value).__name__, "a dictionary of weights")
    for name, tensor in value.items():
        if not (isinstance(name, str) and isinstance(tensor, Tensor)):
            raise expected(f"{file}: {key}", name, "names of tensors only")
        if not tensor.is_floating_point():
            raise expected(f"{file}: {key}.{name}", str(tensor.dtype), "floating-point weights")
    return {name.removeprefix("module."): tensor for name, tensor in value.items()}


def _average(file: str, key: str, value: Any, of: dict[str, Tensor]) -> dict[str, Tensor]:
    # The average is a list in the order of the network's parameters, which is that of its weights.
    shadow = value.get("shadow_params") if isinstance(value, dict) else None
    if not isinstance(shadow, list) or len(shadow) != len(of):
        raise expected(f"{file}: {key}", type(value).__name__, f"{len(of)} averaged weights")
    for (name, weight), mean in zip(of.items(), shadow, strict=True):
        if not isinstance(mean, Tensor) or mean.shape != weight.shape:
            raise expected(
                f"{file}: {key}.{name}", getattr(mean, "shape", mean), str(weight.shape)
            )
    return dict(zip(of, shadow, strict=True))


def read(path: str | Path) -> GDSSCheckpoint:
    """Read a file of the authors.

    Args:
        path: A ``.pth`` file in torch's zip format.

    Raises:
        SciflowError: The file is missing, truncated, of another format, names code, or does not
            hold the two networks of GDSS.
    """
    path = Path(path)
    document = torch_zip.read(path)
    got = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
    if not isinstance(document, dict) or any(key not in document for key in _KEYS):
        raise expected(path.name, got, "a checkpoint of GDSS with " + ", ".join(_KEYS))
    for key in _KEYS[:3]:
        if not isinstance(document[key], dict):
            raise expected(f"{path.name}: {key}", type(document[key]).__name__, "a dictionary")
    x = _weights(path.name, "x_state_dict", document["x_state_dict"])
    adj = _weights(path.name, "adj_state_dict", document["adj_state_dict"])
    ema = [
        _average(path.name, key, document[key], of) if key in document else None
        for key, of in (("ema_x", x), ("ema_adj", adj))
    ]
    config, params_x, params_adj = (document[key] for key in _KEYS[:3])
    return GDSSCheckpoint(config, params_x, params_adj, x, adj, ema[0], ema[1], path.name)


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' weights under the names, and in the shapes, of our modules.

    The projections of all channels of a layer become one tensor ``[C, ...]``; the rest is renamed.

    Raises:
        SciflowError: Two channels of a layer differ in shape.
    """
    result: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, Tensor]] = {}
    for name, tensor in weights.items():
        match = _ATTENTION.fullmatch(name)
        if match:
            layer, channel, projection, kind = match.groups()
            stack = f"{layer}.{_PROJECTION[projection]}" + ("_bias" if kind == "bias" else "")
            stacks.setdefault(stack, {})[int(channel)] = tensor
            continue
        name = re.sub(r"^layers\.(\d+)\.(weight|bias)$", _convolution, name)
        name = re.sub(r"\.mlp\.", ".edges.", name).replace(".multi_channel.", ".nodes.")
        name = name.replace(".linears.", ".layers.").replace(".linear.", ".layers.0.")
        result[name] = tensor
    for name, stack in stacks.items():
        channels = [stack[channel] for channel in sorted(stack)]
        if any(channel.shape != channels[0].shape for channel in channels):
            shapes = ", ".join(str(tuple(channel.shape)) for channel in channels)
            raise expected(f"weights {name}", shapes, "one shape for all channels")
        result[name] = torch.stack(channels)
    return result


def _convolution(match: re.Match[str]) -> str:
    return f"{'weights' if match[2] == 'weight' else 'biases'}.{match[1]}"


def _entry(checkpoint: GDSSCheckpoint, tree: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            got = "nothing under " + ".".join(keys)
            raise expected(f"{checkpoint.file}: model_config", got, "the authors' configuration")
        tree = tree[key]
    return tree


def _number(checkpoint: GDSSCheckpoint, tree: Any, *keys: str) -> int | float:
    value = _entry(checkpoint, tree, *keys)
    if not isinstance(value, int | float):
        raise expected(f"{checkpoint.file}: model_config, " + ".".join(keys), value, "a number")
    return value


def _whole(file: str, params: Mapping[str, Any], *names: str) -> list[int]:
    for name in names:
        value = params.get(name)
        # More than any released network has; it keeps a wrong file from asking for all memory.
        if type(value) is not int or not 1 <= value <= 256:
            raise expected(f"{file}: {name}", value, "a whole number from 1 to 256")
    return [params[name] for name in names]


def network_from(
    params: Mapping[str, Any], file: str = "arguments"
) -> ScoreNetworkX | ScoreNetworkXGMH | ScoreNetworkA:
    """Return one network, with random weights, of the authors' constructor arguments.

    Args:
        params: ``params_x`` or ``params_adj`` of a checkpoint.
        file: Name for the messages.

    Raises:
        SciflowError: An argument is missing or out of range.
    """
    kinds = {"ScoreNetworkX": "depth", "ScoreNetworkX_GMH": "depth", "ScoreNetworkA": "num_layers"}
    kind = str(params.get("model_type"))
    if kind not in kinds:
        raise unknown(f"{file}: model_type", kind, kinds)
    features, depth, width = _whole(file, params, "max_feat_num", kinds[kind], "nhid")
    if kind == "ScoreNetworkX":
        return ScoreNetworkX(features, depth, width)
    if params.get("conv", "GCN") != "GCN":
        raise expected(f"{file}: conv", params["conv"], "GCN")
    names = ("adim", "c_init", "c_hid", "c_final", "num_linears", "num_heads")
    attention, first, middle, last, linears, heads = _whole(file, params, *names)
    stack = ScoreNetworkA if kind == "ScoreNetworkA" else ScoreNetworkXGMH
    return stack(features, depth, width, attention, (first, middle, last), linears, heads)


def _filled(
    file: str, params: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> ScoreNetworkX | ScoreNetworkXGMH | ScoreNetworkA:
    with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten
        network = network_from(params, file)
    ours = our_names(weights)
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(name) != wanted.get(name):
            got, want = shapes.get(name, "nothing"), wanted.get(name, "nothing")
            raise expected(f"{file}: {params['model_type']}.{name}", got, str(want))
    network.load_state_dict(ours, assign=True)
    return network.eval()


def networks_from(checkpoint: GDSSCheckpoint, ema: bool | None = None) -> GDSSNetwork:
    """Return the two networks with the authors' weights.

    Args:
        checkpoint: What `read` returned.
        ema: Take the averaged weights; None does as the authors do for the data set (and takes the
            plain ones for a data set that is none of theirs).

    Raises:
        SciflowError: The weights do not fit the constructor arguments, or there is no average.
    """
    if ema is None:
        ema = checkpoint.dataset in SAMPLERS and checkpoint.sampler.ema
    x = checkpoint.ema_x if ema else checkpoint.weights_x
    adj = checkpoint.ema_adj if ema else checkpoint.weights_adj
    if x is None or adj is None:
        raise expected(f"{checkpoint.file}: averaged weights", "none", "some", "leave ema out")
    nodes = _filled(checkpoint.file, checkpoint.params_x, x)
    bonds = _filled(checkpoint.file, checkpoint.params_adj, adj)
    if isinstance(nodes, ScoreNetworkA) or not isinstance(bonds, ScoreNetworkA):
        kinds = f"{type(nodes).__name__} and {type(bonds).__name__}"
        raise expected(f"{checkpoint.file}: model_type", kinds, "ScoreNetworkX and ScoreNetworkA")
    return GDSSNetwork(nodes, bonds)


def settings_from(checkpoint: GDSSCheckpoint) -> dict[str, Any]:
    """Return what the file says about its diffusion, as plain data.

    Returns:
        ``atoms`` and ``bonds``, each ``{"path": "vp", "beta_min": .., "beta_max": ..}`` or
        ``{"path": "ve", "sigma_min": .., "sigma_max": ..}`` with ``"kind"`` (what the network
        predicts: ``"noise"`` or ``"score"``) and ``"steps"`` (of the authors' discretisation);
        ``dataset``, ``max_nodes``, ``features`` and ``atom_types`` (None for generic graphs).

    Raises:
        SciflowError: The configuration lacks a setting, or names an unknown path.
    """

    def path(component: str) -> dict[str, Any]:
        sde = _entry(checkpoint, checkpoint.config, "sde", component)
        kind = str(_entry(checkpoint, sde, "type"))
        names = {"VP": "beta", "subVP": "beta", "VE": "sigma"}
        if kind not in names:
            raise unknown(f"{checkpoint.file}: sde.{component}.type", kind, names)
        low, high = (float(_number(checkpoint, sde, f"beta_{end}")) for end in ("min", "max"))
        return {
            "path": kind.lower(),
            f"{names[kind]}_min": low,
            f"{names[kind]}_max": high,
            "kind": "score" if kind == "VE" else "noise",
            "steps": int(_number(checkpoint, sde, "num_scales")),
        }

    return {
        "dataset": checkpoint.dataset,
        "atoms": path("x"),
        "bonds": path("adj"),
        "max_nodes": int(_number(checkpoint, checkpoint.config, "data", "max_node_num")),
        "features": int(_number(checkpoint, checkpoint.config, "data", "max_feat_num")),
        "atom_types": ATOM_TYPES.get(checkpoint.dataset),
    }
