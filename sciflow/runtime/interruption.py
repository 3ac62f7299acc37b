"""Interruption: Ctrl-C that takes effect between steps, never in the middle of a write."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back; yields a function that raises `KeyboardInterrupt` if it was pressed.

    A second Ctrl-C is not held back, so that nobody is locked in. Outside the main thread nothing
    is changed.
    """
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def ask() -> None:
        if pressed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield ask
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield ask
    finally:
        signal.signal(signal.SIGINT, before)


__all__ = ["deferred"]
