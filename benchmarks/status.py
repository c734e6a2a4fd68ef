"""Seconds of ``tsad`` alone for a store of many iterations, and of its parts: interpreter, config, store.

Makes a store of real runs (parameters, metrics, a champion; no artifacts but the configs), then runs the command as a
user does, in a process of its own.

    python -m benchmarks.status [--iterations 100] [--repeat 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCORES = ("point_precision", "point_recall", "point_f1", "interval_precision", "interval_recall", "interval_f1",
          "composite_f1")  # fmt: skip
REVIEWS = '{"queue": {"ACCEPTED": 20, "CORRECTED": 4}, "gold": {}}'


def filled(iterations: int) -> None:
    """A loop of so many completed iterations in ``$TSAD_HOME``, as ``tsad iterate`` leaves them."""
    from tsad.config import compose, settings, workbench
    from tsad.loop.opening import open_loop

    bench = workbench(settings(compose(["experiment=demo"]), ["experiment=demo"]))
    with open_loop(bench).lock() as held:
        for number in range(1, iterations + 1):
            iteration = held.create_iteration(number, bench.config_yaml, bench.parameters())
            figures = {f"gold/{name}": 0.5 for name in SCORES}
            iteration.recorder.tags({"tsad.reviews": REVIEWS})
            iteration.complete(figures)
        with held.run("REGISTER") as step:
            step.result({})
        registry = held.registry(bench.make_detector().name)
        registry.promote(registry.register(run_id=step.run_id, model_uri=f"runs:/{step.run_id}/model", tags={}))


def seconds(*words: str) -> tuple[float, float]:
    """Of a command: on the clock, and of the processor."""
    before = os.times()
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    clock, after = time.perf_counter() - started, os.times()
    return clock, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["TSAD_HOME"] = str(Path(place) / "store")
        filled(given.iterations)
        print(f"{'':34} clock  processor (medians of {given.repeat}, seconds)")
        for name, words in (
            (f"tsad, {given.iterations} iterations", ("-m", "tsad")),
            ("of it: the config composed and shown", ("-m", "tsad", "--cfg", "job")),
            ("beside it: import mlflow", ("-c", "import mlflow")),
        ):
            pairs = [seconds(*words) for _ in range(given.repeat)]
            clock, processor = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{name:38} {clock:5.2f}  {processor:5.2f}")


if __name__ == "__main__":
    main()
