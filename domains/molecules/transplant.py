"""The weights of a graph transformer for another vocabulary and larger molecules: where fine-tuning begins.

What the network knows of an atom type lies in one column of each input layer and one row of the last layer. A type that
it knew keeps its own; a new one is shown to it as the known type of the same group of the periodic table, a charged one
counted by its electrons (N+ as C, O- as F, S as O, Cl as F), or else as the first; its logit starts at that of the
precondition alone. Sizes beyond the largest known begin as that one, new inputs without effect.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .vocabulary import Vocabulary, atomic_number

_SHELLS = (86, 54, 36, 18, 10, 2, 0)
_INNER = {18: 10, 36: 10, 54: 24}
"""Electrons of the d and f shells that a main-group element beyond these cores has filled."""


def group(symbol: str, charge: int) -> int:
    """Electrons outside of closed shells, 1 to 8 for main-group elements: that of an atom less its charge."""
    electrons = max(atomic_number(symbol) - charge, 0)
    shell = next(core for core in _SHELLS if electrons > core or core == 0)
    outer, inner = electrons - shell, _INNER.get(shell, 0)
    return outer - inner if outer > inner + 2 else outer


def likeness(new: Vocabulary, old: Vocabulary) -> list[int]:
    """For each type of a vocabulary the label of the known type that stands for it."""
    groups = [group(*kind) for kind in old.kinds]
    found = []
    for name, kind in zip(new.names, new.kinds, strict=True):
        if name in old.names:
            found.append(old.names.index(name))
        else:
            found.append(groups.index(group(*kind)) if group(*kind) in groups else 0)
    return found


def transplant(
    tensors: Mapping[str, Tensor],
    max_atoms: int,
    new: Vocabulary,
    old: Vocabulary,
    more: tuple[int, int] = (0, 0),
) -> dict[str, Tensor]:
    """Return the weights of a network in the shapes of another with more atom types and sizes.

    Args:
        tensors: Weights of the old network.
        max_atoms: Largest size that the new network knows.
        new: Its vocabulary; all else is as in the old.
        old: The old vocabulary.
        more: Inputs of each node and each pair that the new network has behind those of the old one.
    """
    like = torch.tensor(likeness(new, old))
    result = dict(tensors)
    for name, columns in zip(("node_in.weight", "pair_in.weight"), more, strict=True):
        weight = tensors[name]
        none = weight.new_zeros(len(weight), columns)
        result[name] = torch.cat([weight[:, like], weight[:, len(old) :], none], 1)
    known = [label for label, name in enumerate(new.names) if name in old.names]
    of = [old.names.index(new.names[label]) for label in known]
    for name in ("atom_head.3.weight", "atom_head.3.bias"):
        head = tensors[name].new_zeros(len(new), *tensors[name].shape[1:])
        head[known] = tensors[name][of]
        result[name] = head
    sizes = tensors["size.weight"]
    longer = max(0, max_atoms + 1 - len(sizes))
    result["size.weight"] = torch.cat([sizes, sizes[-1:].expand(longer, -1)])
    return result


__all__ = ["group", "likeness", "transplant"]
