"""Arrays inside a configuration: numbers in base64, so that a model's settings can hold a fitted law."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import SciflowError


def packed(values: Tensor, half: bool = False) -> dict[str, Any]:
    """Return numbers as a JSON-able table.

    Args:
        values: Any shape.
        half: Keep 16 bits of each number, not 32; round the numbers first (`rounded`) for the same numbers again.
    """
    kind = "float16" if half else "float32"
    data = np.ascontiguousarray(values.detach().cpu().numpy().astype("<f2" if half else "<f4"))
    text = base64.b64encode(data.tobytes()).decode("ascii")
    return {"shape": list(values.shape), "kind": kind, "data": text}


def rounded(values: Tensor) -> Tensor:
    """Return the numbers as 16 bits hold them, float32."""
    return values.half().float()


def unpacked(table: Mapping[str, Any]) -> Tensor:
    """Return the numbers of a table, float32.

    Raises:
        SciflowError: The table is damaged.
    """
    try:
        kind = {"float16": "<f2", "float32": "<f4"}[table["kind"]]
        data = np.frombuffer(base64.b64decode(table["data"], validate=True), dtype=kind)
        return torch.from_numpy(data.reshape(table["shape"]).astype(np.float32))
    except (KeyError, TypeError, ValueError) as error:
        raise SciflowError(
            f"numbers of a configuration: cannot be read ({error}), expected shape, kind and data; copy the model again"
        ) from error


__all__ = ["packed", "rounded", "unpacked"]
