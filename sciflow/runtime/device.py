"""Devices: a word of the user to a device of torch."""

from __future__ import annotations

import ctypes

import torch

from ..errors import SciflowError, expected

# Numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

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


def keep_memory() -> None:
    """Ask the C library to keep freed memory for the next layer of a network instead of handing it back.

    Large activations are else mapped and zeroed anew by the kernel in every layer: up to a fifth of the time on a CPU.
    For whole processes, such as the command line; a no-op where the C library is not glibc.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        library.mallopt(_MMAP_THRESHOLD, 1 << 30)
    except (OSError, AttributeError):
        return


__all__ = ["NAMES", "choose", "describe", "keep_memory"]
