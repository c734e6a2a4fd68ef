"""The stream of batches: the same for any number of workers, and no process is left behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from tsad.synthetic.generator import Batch, make_batch
from tsad.synthetic.stream import StreamError, stream

ROOT = Path(__file__).resolve().parents[1]


def same(a: Batch, b: Batch) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name == "values")
        for name in ("values", "labels", "kinds", "clean")
    )


def children() -> set[int]:
    """Live processes that this one started, leaving out multiprocessing's resource tracker, which stays."""
    found = [p for p in psutil.Process().children(recursive=True) if "resource_tracker" not in tell(p)]
    return {p.pid for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE}


def tell(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def gone(pids: set[int], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
            return True
        time.sleep(0.05)
    return False


def test_chunks_follow_from_seed_and_number_alone() -> None:
    first = list(itertools.islice(stream(7, 3, 64), 3))
    assert all(same(batch, make_batch(np.random.default_rng((7, k)), 3, 64)) for k, batch in enumerate(first))
    assert same(next(iter(stream(7, 3, 64, start=2))), first[2])
    assert not same(next(iter(stream(8, 3, 64))), first[0])


def test_two_workers_give_the_same_chunks_and_end_with_the_iterator() -> None:
    before = children()
    with closing(stream(3, 4, 64, workers=2)) as batches:  # type: ignore[type-var]
        told = list(itertools.islice(batches, 6))
        started = children() - before
        assert len(started) == 2
    assert all(same(a, b) for a, b in zip(told, stream(3, 4, 64), strict=False))
    assert gone(started)


def test_a_dead_worker_is_a_named_error_and_takes_the_others_along() -> None:
    before = children()
    batches: Iterator[Batch] = stream(3, 4, 64, workers=2)
    next(batches)
    started = children() - before
    os.kill(min(started), signal.SIGKILL)
    with pytest.raises(StreamError, match=r"a worker .* died .2 workers, chunks of 4 x 64"):
        list(itertools.islice(batches, 50))
    assert gone(started)


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_workers_do_not_outlive_a_killed_reader(tmp_path: Path) -> None:
    code = (
        "from tsad.synthetic.stream import stream\n"
        "import time\n"
        "if __name__ == '__main__':\n"
        "    batches = stream(0, 2, 64, workers=2)\n"
        "    next(batches)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "reader.py"
    script.write_text(code, encoding="utf-8")
    house = {**os.environ, "PYTHONPATH": str(ROOT)}
    reader = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=house)
    try:
        assert reader.stdout is not None and reader.stdout.readline() == b"ready\n"
        workers = {p.pid for p in psutil.Process(reader.pid).children(recursive=True)}
        assert len(workers) >= 2
    finally:
        reader.kill()
        reader.wait()
    assert gone(workers)


@pytest.mark.parametrize("wrong", [(-1, 4, 64, 0), (0, 0, 64, 0), (0, 4, 63, 0), (0, 4, 64, -1)])
def test_impossible_streams_are_refused_before_anything_starts(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="stream needs count >= 1"):
        stream(*wrong)
