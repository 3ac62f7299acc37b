"""Rewards: any function of samples, as particle methods ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..errors import SciflowError, expected
from ..paths.base import Ends
from ..state import State
from ..streams import Streams
from ..system import System

Reward = Callable[[State], Tensor | Sequence[float]]
"""From clean samples to one number each; it need not be differentiable, and may decode them to objects first."""


def clean(
    system: System, state: State, ends: Mapping[str, Ends], t: float, streams: Streams
) -> State:
    """Return the believed data as clean samples: points of their spaces, and labels drawn from their probabilities.

    Args:
        system: The system.
        state: State at `t`.
        ends: Believed ends there.
        t: Time.
        streams: Random streams of the batch; labels have streams of their own.
    """
    own = Streams(streams.seed, streams.index, f"{streams.purpose} belief {t!r}")
    fields = {}
    for name, component in system.items():
        end, mask = ends[name], state.mask(name)
        if component.path.continuous:
            fields[name] = component.clean(end, mask)
        else:
            fields[name] = component.space.project(own.categorical(end.x1), mask)
    return state.replace(**fields)


def judge(reward: Reward, samples: State) -> Tensor:
    """Return the rewards of clean samples, float64 ``[B]``; what is not a number counts as minus infinity.

    Raises:
        SciflowError: The function raised, or returned another number of values.
    """
    try:
        values = torch.as_tensor(reward(samples), dtype=torch.float64, device=samples.device)
    except SciflowError:
        raise
    except Exception as error:
        name = getattr(reward, "__name__", type(reward).__name__)
        raise SciflowError(
            f"reward {name}: raised {type(error).__name__}: {error}; expected one number for every sample: return "
            "float('-inf') for those that cannot be judged"
        ) from error
    if values.shape != (samples.batch_size,):
        raise expected(
            "reward", tuple(values.shape), f"one number for each of {samples.batch_size} samples"
        )
    return values.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
