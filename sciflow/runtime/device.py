"""Devices: a word of the user to a device of torch."""

from __future__ import annotations

import torch

from ..errors import SciflowError, expected

NAMES = ("auto", "cpu", "cuda", "mps")


def choose(name: str = "auto") -> torch.device:
    """Return the device that `name` asks for; ``auto`` takes the first accelerator, else the CPU.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ..., ``mps``.

    Raises:
        SciflowError: There is no such device on this machine.
    """
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": _metal()}
    if name == "auto":
        return torch.device("cuda" if here["cuda"] else "mps" if here["mps"] else "cpu")
    kind, _, number = name.partition(":")
    if kind not in here or (number and not number.isdigit()):
        raise expected("device", name, f"one of {', '.join(NAMES)}, or cuda:NUMBER")
    if int(number or 0) >= here[kind]:
        has = f"{here[kind]} such devices here" if here[kind] else "a machine that has one"
        raise SciflowError(f"device: got {name!r}, expected {has}; use 'auto' or 'cpu'")
    return torch.device(name)


def _metal() -> int:
    return int(torch.backends.mps.is_available())


def describe(device: torch.device) -> str:
    """Return the device in words: its kind, and the model of a graphics card."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu ({threads} thread{'s' * (threads > 1)})"
    return str(device)


__all__ = ["NAMES", "choose", "describe"]
