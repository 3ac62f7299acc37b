"""Work spread over processes, results in order."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sciflow.errors import need

T = TypeVar("T")
R = TypeVar("R")

_LEAST = 200  # tasks below which starting processes costs more than it saves


def processors() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(work: Callable[[T], R], tasks: Sequence[T], workers: int | None = None) -> Iterator[R]:
    """Yield ``work(task)`` for each task, in order.

    Args:
        work: A function of a module.
        tasks: What can be pickled.
        workers: Processes; None is the number of processors this process may use, and one for few tasks.
    """
    count = workers if workers is not None else processors() if len(tasks) >= _LEAST else 1
    if count <= 1:
        yield from map(work, tasks)
        return
    if sys.platform == "linux":
        # Forked: there at once, where a fresh process would load torch and pymatgen for seconds. What the children
        # do here is numpy on small arrays: it meets none of the threads that a fork leaves behind.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pool = multiprocessing.get_context("fork").Pool(count)
        with pool:
            yield from pool.imap(work, tasks, chunksize=max(1, min(32, len(tasks) // (4 * count))))
        return
    joblib = need("joblib", "crystals")
    fresh = joblib.Parallel(n_jobs=count, return_as="generator", batch_size=32)
    yield from fresh(joblib.delayed(work)(task) for task in tasks)
