"""A checkpoint of the smallest networks, laid out as the files of GDSS's authors are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Document = dict[str, Any]


def random_like(names: dict[str, tuple[int, ...]]) -> OrderedDict[str, Tensor]:
    return OrderedDict((name, torch.randn(shape)) for name, shape in names.items())


def linear(name: str, *widths: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(len(widths) - 1):
        shapes[f"{name}.linears.{k}.weight"] = (widths[k + 1], widths[k])
        shapes[f"{name}.linears.{k}.bias"] = (widths[k + 1],)
    return shapes


def document(attribute_dict: Callable[..., Any]) -> Document:
    """Return the content of the file; `attribute_dict` makes its tables."""
    x = {"layers.0.weight": (2, 4), "layers.0.bias": (4,)} | linear("final", 6, 12, 12, 2)
    adj: dict[str, tuple[int, ...]] = {}
    for k, (inner, c, out) in enumerate(((2, 1, 3), (4, 3, 2))):
        for channel in range(c):
            for part in "qkv":
                adj[f"layers.{k}.attn.{channel}.gnn_{part}.weight"] = (inner, 4)
                adj[f"layers.{k}.attn.{channel}.gnn_{part}.bias"] = (4,)
        hidden = 2 * max(c, out)
        adj |= linear(f"layers.{k}.mlp", 2 * c, hidden, out)
        adj |= linear(f"layers.{k}.multi_channel", c * 4, hidden, 4)
    adj |= linear("final", 6, 12, 12, 1)
    ve = {"beta_min": 0.2, "beta_max": 1.0, "num_scales": 1000}
    vp = {"beta_min": 0.1, "beta_max": 1.0, "num_scales": 1000}
    return {
        "model_config": attribute_dict(
            data=attribute_dict(data="ZINC250k", max_node_num=38, max_feat_num=2),
            sde=attribute_dict(
                x=attribute_dict(type="VP", **vp), adj=attribute_dict(type="VE", **ve)
            ),
            seed=42,
            lr=1e-3,
            flags=[True, None, ("a", 1.5)],
        ),
        "params_x": {"model_type": "ScoreNetworkX", "max_feat_num": 2, "depth": 1, "nhid": 4},
        "params_adj": {
            "model_type": "ScoreNetworkA",
            "max_feat_num": 2,
            "max_node_num": 38,
            "nhid": 4,
            "num_layers": 2,
            "num_linears": 2,
            "c_init": 1,
            "c_hid": 3,
            "c_final": 2,
            "adim": 4,
            "num_heads": 2,
            "conv": "GCN",
        },
        "x_state_dict": random_like(x),
        "adj_state_dict": random_like(adj),
    }


def saved(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path, **options)
    return path
