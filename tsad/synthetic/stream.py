"""An endless stream of synthetic batches, made ahead by worker processes, the same however many there are."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tsad.core.environment import set_environment
from tsad.core.errors import TsadError
from tsad.synthetic.generator import SHORTEST, Batch, make_batch

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

T = TypeVar("T")
AHEAD = 2  # chunks per worker that are made before they are asked for


class StreamError(TsadError):
    """Workers that died, or that could not be started."""


def stream(seed: int, count: int, length: int, workers: int = 0, *, start: int = 0) -> Iterator[Batch]:
    """Chunks ``start``, ``start + 1``, ... of ``count`` windows of ``length`` points, without end.

    Chunk k is ``make_batch(np.random.default_rng((seed, k)), count, length)``, so the stream depends on nothing but
    ``seed``, ``count`` and ``length``, and ``start`` goes on where a run was interrupted. Workers start with the first
    chunk and end when the iterator is closed or collected (``close()``, end of a ``with contextlib.closing(...)``),
    after the chunk that each is at; they also end when the process that reads the stream is killed. A program that
    takes workers needs ``if __name__ == "__main__":``, since they are spawned.

    Args:
        seed: 0 or more.
        count: windows per chunk, B.
        length: points per window, L, at least 64.
        workers: processes beside this one; 0 = made here, when asked for.
        start: first chunk, 0 or more.

    Raises:
        ValueError: at once, for sizes that no batch can have.
        StreamError: while iterating, when a worker has died.
    """
    if count < 1 or length < SHORTEST or min(seed, workers, start) < 0:
        raise ValueError(
            f"stream needs count >= 1, length >= {SHORTEST}, seed, workers and start >= 0, "
            f"not {count}, {length}, {seed}, {workers} and {start}"
        )
    made = functools.partial(_numbered, seed, count, length)
    return in_order(made, workers, start, what=f"chunks of {count} x {length}")


def chunk(seed: int, number: int, count: int, length: int) -> Batch:
    """One chunk of the stream by its number (see :func:`stream`)."""
    return make_batch(np.random.default_rng((seed, number)), count, length)


def _numbered(seed: int, count: int, length: int, number: int) -> Batch:
    return chunk(seed, number, count, length)


def in_order(make: Callable[[int], T], workers: int, start: int, *, what: str) -> Generator[T]:
    """``make(start)``, ``make(start + 1)``, ... without end, in order; workers make them ahead (see :func:`stream`).

    Args:
        make: what a spawned process can import; must not depend on what was made before.
        workers: processes beside this one; 0 = made here, when asked for.
        what: names what is made in the error.

    Raises:
        StreamError: while iterating, when a worker has died.
    """
    if workers == 0:
        return (make(k) for k in itertools.count(start))
    return _from_workers(make, workers, start, what)


def _from_workers(make: Callable[[int], T], workers: int, start: int, what: str) -> Generator[T]:
    from concurrent.futures.process import BrokenProcessPool

    pool = _pool(workers)
    waiting: deque[Future[T]] = deque()
    numbers = itertools.count(start)
    try:
        while True:
            while len(waiting) < AHEAD * workers:
                waiting.append(pool.submit(make, next(numbers)))
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise StreamError(
            f"a worker of the synthetic stream died ({workers} workers, {what})",
            "It was killed, or memory ran out: take smaller chunks or fewer workers (workers=0 makes them here). A "
            'script that takes workers must keep its main part under if __name__ == "__main__":.',
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # spawn: a fork would copy the threads' locks of torch, and the GPU's state
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """In a worker: phone nowhere, leave Ctrl-C to the reader of the stream, and end when that process is gone."""
    import multiprocessing
    import os
    import signal
    import threading

    set_environment()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(0)

        threading.Thread(target=watch, daemon=True).start()
