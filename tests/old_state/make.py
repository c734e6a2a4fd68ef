"""Makes the store that ``tests/test_old_state.py`` opens: run once, by the commit before issue 10 (64107cc).

    git worktree add /tmp/base 64107cc && cd /tmp/base
    PYTHONPATH=/tmp/base python PATH/TO/tests/old_state/make.py PATH/TO/tests/old_state

It works in a folder of its own and leaves two files: ``store.tar.xz``, the store (database, artifacts) with one loop of
two registered versions, the second adapted and promoted, and an open iteration 2 that has been detected and pushed; and
``expected.json``, what that commit says of it: scores of both versions, hashes, stage names, and the figures with which
it completes iteration 2 in a copy.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

OVERRIDES = (
    "loop.name=plant", "loop.iterations=2", "source=synthetic", "source.series=6", "source.points=1500",
    "review=simulated", "detector=patch", "windows.length=200", "windows.context=400", "sampling.windows=12",
    "tracking.plots=0",
    "gold.resamples=100", "adapter.steps=4", "adapter.r=1", "adapter.alpha=2", "adapter.target_modules=[q_proj]",
    "adapter.modules_to_save=[head]", "adapter.batch_size=4", "adapter.min_windows=2", "adapter.min_positive=1",
    "adapter.eval_every=2", "adapter.checkpoint_every=0",
)  # fmt: skip
EVERY = 25  # points between the scores that are written down


def workbench_in(home: Path) -> Any:
    from tsad.config import compose, settings, workbench

    os.environ["TSAD_HOME"] = str(home)
    return workbench(settings(compose(OVERRIDES), OVERRIDES))


def make(home: Path) -> None:
    """Iteration 1 to its end, version 2 promoted by force, iteration 2 until people would have answered."""
    from tsad.loop import iterate
    from tsad.steps import promote, pull

    bench = workbench_in(home)
    iterate(replace(bench, loop=replace(bench.loop, iterations=1)))
    promote.run(workbench_in(home), version="challenger", force=True)
    collect = pull._collect

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    pull._collect = stopped
    with suppress(KeyboardInterrupt):
        iterate(workbench_in(home))
    pull._collect = collect


def expected(home: Path) -> dict[str, Any]:
    """What the commit says of the store; iteration 2 goes on in place, so ``home`` has been packed before."""
    from tsad.steps.champion import registry_of
    from tsad.steps.common import load_series, open_loop

    from tsad.loop import iterate
    from tsad.tracking.pyfunc_model import load_version

    bench = workbench_in(home)
    loop, series = open_loop(bench), load_series(bench)[:2]
    versions = {}
    for version in registry_of(bench, loop).versions():
        loaded = load_version(registry_of(bench, loop), version)
        versions[version.label] = {
            "scores": [[float(s) for s in d.scores[::EVERY]] for d in loaded.detections(series)],
            "intervals": [[[i.start, i.end, i.score] for i in d.intervals] for d in loaded.detections(series)],
            "origin": [loaded.origin.detector, loaded.origin.dataset_version, loaded.origin.config_hash],
            "config_hash": loaded.detector.config_hash,
            "threshold": loaded.threshold,
        }
    before = {
        "datasets": {r.version: r.purpose for r in loop.datasets()},
        "states": {str(i.number): i.state for i in loop.iterations()},
    }
    iterate(bench)
    iterations = loop.iterations()
    claims = loop.store.client.get_run(iterations[-1].run_id).data.params
    return {
        "versions": versions,
        **before,
        "claims": sorted(k for k in claims if k.startswith("claim.")),
        "stages": [s.data.tags["tsad.step"] for s in iterations[-1].steps()],
        "figures": {k: v for k, v in sorted(iterations[-1].metrics.items()) if k != "seconds"},
        "datasets_after": {r.version: r.purpose for r in loop.datasets()},
        "home": str(home),
    }


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tsad-old-") as scratch:
        home = Path(scratch) / "alt 工厂"
        make(home)
        for name in ("work", "hydra", "uploads"):
            shutil.rmtree(home / name, ignore_errors=True)
        with sqlite3.connect(home / "mlflow.db") as database:
            database.execute("VACUUM")
        database.close()
        with tarfile.open(folder / "store.tar.xz", "w:xz", preset=9) as pack:
            pack.add(home, "store")
        text = json.dumps(expected(home), indent=1, ensure_ascii=False)
        (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
