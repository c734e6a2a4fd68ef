"""Proof that the loop learns and is not a pretence (``make prove``), about ten minutes on two cores.

Builds the wheel, installs it outside the checkout and refuses every read of the checkout from then on. On copies of
real series, with values rescaled and times shifted by a fresh seed, it runs real loops and null loops (whose
reviewer answers from labels moved to unrelated places; the gold set is the same), and checks what the README claims:

1. over the seeds, the gain in gold F1 of the real loop exceeds the null's, and the null promotes at most once;
2. zeroing an adapter restores the base's scores;
3. one seed gives the same adapter twice, two seeds give different ones;
4. pyfunc in a new process, with the cache deleted and the series moved away, gives equal scores.

That an annotation posted by raw HTTP arrives, to the second, in the next dataset version is proven by ``tests/live``
against a real Label Studio.

The data are the web KPIs of the AIOps challenge, split in time at half as their publisher does: the loop's own
use (teach on a plant's past, alarm on its future), some eighty short true intervals on the gold side (NAB has one or
two wide ones per file), none of the settings tuned on it. Everything not said in SETTINGS is as shipped.

    python benchmarks/prove.py [--data FOLDER] [--seeds N] [--jobs N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("TSAD_DATA", ROOT.parent / "shared" / "data"))
METRICS = ("interval_f1", "composite_f1")  # the gate's metric and its guard
KINDS = ("real", "null")
SETTINGS = (
    "source=csv", "review=simulated", "loop.name=prove", "loop.iterations=2", "sampling.windows=40", "gold=time",
    "gold.share=0.5", "tracking.plots=0", "tracking.system_metrics=false",
)  # fmt: skip

# Runs first in every process of the installed package: nothing of the checkout can be imported, listed or opened, but
# the interpreter that may lie in it. An editable install of the checkout has put its folder on sys.path by now.
# (Python's own reads are seen, a library's native ones are not; tsad and its settings are found by Python's.)
GUARD = """
import os, sys
_hidden, _allowed = os.environ["PROVE_HIDDEN"] + os.sep, os.environ["PROVE_ALLOWED"].split(os.pathsep)
def _refused(path):
    path = os.path.realpath(os.fsdecode(path)) + os.sep
    return path.startswith(_hidden) and not any(path.startswith(one + os.sep) for one in _allowed)
sys.path[:] = [one for one in sys.path if one == "" or not _refused(one)]
def _hook(event, args):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes, os.PathLike)):
        if _refused(args[0]):
            raise PermissionError(13, "the checkout is hidden", os.fsdecode(args[0]))
sys.addaudithook(_hook)
"""

# Where tsad comes from, and whether a file and a folder of the checkout can still be read.
WHERE = """
import json, os, sys
import tsad
def refused(read, path):
    try:
        read(path)
    except PermissionError:
        return True
    return False
root = sys.argv[1]
print(json.dumps([tsad.__file__, refused(open, root + "/README.md"), refused(os.listdir, root + "/tsad")]))
"""

# First gold timestamp of each series that has one, by the package's own split of the folder.
GOLD_STARTS = """
import json, sys
from tsad.config import compose, settings, workbench
from tsad.loop.common import load_series
bench = workbench(settings(compose(sys.argv[1:])))
labelled = [s for s in load_series(bench) if s.labels is not None]
starts = {}
for window in bench.gold_rule.split(labelled, bench.windows.length).gold:
    first = int(window.timestamps[0])
    starts[window.point_id] = min(first, starts.get(window.point_id, first))
print(json.dumps(starts))
"""

# What the steps of each iteration of the loop found.
ITERATIONS = """
import json, sys
from tsad.config import compose, settings, workbench
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import open_store
bench = workbench(settings(compose(sys.argv[1:])))
loop = LoopStore(open_store(bench.tracking, bench.home), bench.loop.name, bench.loop.lease)
steps = ("DATASET", "TRAIN", "REGISTER", "EVALUATE", "PROMOTE")
print(json.dumps([{name: i.finished(name).result for name in steps} for i in loop.iterations()]))
"""

# SHA-256 of the adapters of versions of the loop's model; "last" is the newest.
ADAPTERS = """
import hashlib, json, sys, tempfile
from pathlib import Path
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client, name, found = mlflow.MlflowClient(), sys.argv[2], []
newest = max(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
for number in sys.argv[3:]:
    with tempfile.TemporaryDirectory() as scratch:
        uri = f"models:/{name}/{newest if number == 'last' else number}"
        folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))
        (weights,) = folder.rglob("adapter_model.safetensors")
        found.append(hashlib.sha256(weights.read_bytes()).hexdigest())
print(json.dumps(found))
"""

# Scores of one series by the base, by a version as the loop loads it, and by its adapter zeroed: no pyfunc involved.
BY_PACKAGE = """
import sys, tempfile
from pathlib import Path
import numpy as np
from tsad.config import compose, settings, workbench
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.common import load_series
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import open_store
from tsad.adapters.lora import zero
number, point, into, *overrides = sys.argv[1:]
bench = workbench(settings(compose(overrides)))
series = load_series(bench, [point])
registry = registry_of(bench, LoopStore(open_store(bench.tracking, bench.home), bench.loop.name, bench.loop.lease))
version = load_registered(bench, registry, registry.resolve(number))
with tempfile.TemporaryDirectory() as scratch:
    zero(bench.make_detector().network(), version.adapter, Path(scratch) / "zeroed")
    (zeroed,) = bench.make_detector().with_adapter(Path(scratch) / "zeroed").score(series)
(base,), (adapted,) = bench.make_detector().score(series), version.score(series)
np.savez(into, base=base, adapted=adapted, zeroed=zeroed)
"""

# Scores of the same series, from a frame, by the registered version through pyfunc alone.
BY_PYFUNC = """
import sys
import mlflow, numpy as np, pandas as pd
uri, name, number, csv, point, into = sys.argv[1:]
mlflow.set_tracking_uri(uri)
frame = pd.read_csv(csv, parse_dates=["timestamp"]).drop(columns="label").assign(point_id=point)
np.savez(into, pyfunc=mlflow.pyfunc.load_model(f"models:/{name}/{number}").predict(frame)["score"].to_numpy())
"""
MODEL = "tsad-prove-patch"


class Installed:
    """The wheel in a folder of its own, and how to run it."""

    def __init__(self, scratch: Path) -> None:
        self.site = scratch / "site"
        self.running: set[subprocess.Popen[str]] = set()
        wheels = scratch / "wheels"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
        subprocess.run([*pip, "wheel", *isolation, "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
        (wheel,) = wheels.glob("tsad_loop-*.whl")
        subprocess.run([*pip, "install", "--no-deps", "--target", str(self.site), str(wheel)], check=True)
        (self.site / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
        home = scratch / "where"
        self.where, *refused = json.loads(self.python(home, WHERE, str(ROOT)))
        if not Path(self.where).resolve().is_relative_to(self.site.resolve()) or not all(refused):
            raise SystemExit(f"error: the checkout is not hidden: tsad runs from {self.where}, refused: {refused}")
        self.wheel = wheel.name

    def python(self, home: Path, code: str, *arguments: str) -> str:
        """Run code in a fresh process of the installed package; the last line of its standard output."""
        home.mkdir(parents=True, exist_ok=True)
        (scratch := self.site.with_name("tmp")).mkdir(exist_ok=True)  # whatever a killed process leaves goes with it
        allowed = {sys.prefix, os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)}
        env = {
            **os.environ, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            "TSAD_HOME": str(home), "TMPDIR": str(scratch), "PROVE_HIDDEN": str(ROOT),
            "PROVE_ALLOWED": os.pathsep.join(sorted(allowed)),
        }  # fmt: skip
        command = [sys.executable, "-c", code, *arguments]
        with subprocess.Popen(command, cwd=home, env=env, stdout=PIPE, stderr=PIPE, text=True) as process:
            self.running.add(process)
            out, err = process.communicate()
        self.running.discard(process)
        if process.returncode:
            raise SystemExit(f"error: failed: {code.strip()} {arguments}\n{out[-3000:]}\n{err[-6000:]}")
        return (out.strip().splitlines() or [""])[-1]

    def stop(self) -> None:
        """End what still runs, so that nothing writes into a folder being removed."""
        for process in list(self.running):
            process.kill()

    def tsad(self, home: Path, *arguments: str) -> None:
        self.python(home, "import sys; from tsad.cli import main; sys.exit(main())", *arguments)


def store(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


def settings(data: Path, seed: int) -> list[str]:
    return [
        *SETTINGS, f"source.root={data}", f"adapter.seed={seed}", f"sampling.seed={seed}", f"gold.seed={seed}",
        f"review.seed={seed}",
    ]  # fmt: skip


def copies(folder: Path, target: Path, seed: int) -> None:
    """Copies of a folder's series with values rescaled and times shifted."""
    rng = np.random.default_rng(seed)
    target.mkdir(parents=True)
    for path in sorted(folder.glob("*.csv*")):
        frame = pd.read_csv(path)
        scale, offset, days = np.exp(rng.uniform(-2, 2)), rng.normal() * 100, int(rng.integers(100, 3000))
        values = [str(c) for c in frame if str(c).startswith("value")]
        frame[values] = frame[values] * scale + offset
        frame["timestamp"] = pd.to_datetime(frame["timestamp"]) + pd.Timedelta(days=days)
        frame[["timestamp", *values, "label"]].to_csv(target / f"{path.name.split('.')[0]}.csv", index=False)


def unrelated(data: Path, target: Path, seed: int, gold_starts: Mapping[str, int]) -> None:
    """The same copies with the labels before each series' gold part turned by a random share of that part."""
    rng = np.random.default_rng([seed, 1])
    target.mkdir(parents=True)
    for path in sorted(data.glob("*.csv")):
        frame = pd.read_csv(path)
        stamps = pd.to_datetime(frame["timestamp"]).to_numpy().astype("datetime64[ns]").astype(np.int64)
        label = frame["label"].to_numpy(copy=True)
        pool = np.flatnonzero(stamps < gold_starts.get(path.stem, np.iinfo(np.int64).max))
        if len(pool):
            label[pool] = np.roll(label[pool], int(rng.uniform(0.25, 0.75) * len(pool)))
            label[pool[-1]] = 0  # an interval that ran on into the gold part would move its boundary
        frame.assign(label=label).to_csv(target / path.name, index=False)


def prepare(installed: Installed, scratch: Path, folder: Path, seed: int) -> None:
    """The copies of a seed, and the same with unrelated labels before the gold part."""
    at = scratch / f"seed-{seed}"
    copies(folder, at / "data", seed)
    starts = json.loads(installed.python(at / "split", GOLD_STARTS, *settings(at / "data", seed)))
    unrelated(at / "data", at / "unrelated", seed, starts)


def one_loop(installed: Installed, scratch: Path, seed: int, kind: str) -> list[dict[str, Any]]:
    """A loop from nothing; per iteration the results of its steps."""
    at, started = scratch / f"seed-{seed}", time.perf_counter()
    arguments = settings(at / ("data" if kind == "real" else "unrelated"), seed)
    installed.tsad(at / kind, "iterate", *arguments)
    found = list(json.loads(installed.python(at / kind, ITERATIONS, *arguments)))
    print(f"seed {seed}, {kind} loop: {time.perf_counter() - started:.0f} s", flush=True)
    return found


def one_row(seed: int, loops: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The gains of a seed's real and null loop over the base, on the same gold set."""
    real, null = (loops[kind][0]["EVALUATE"] for kind in KINDS)
    base = real["scores"]["champion"]
    if real["gold_version"] != null["gold_version"] or any(
        abs(base[m] - null["scores"]["champion"][m]) > 1e-9 for m in METRICS
    ):
        raise SystemExit(f"error: seed {seed}: the two loops do not start from the same gold set and scores")
    row: dict[str, Any] = {"seed": seed, "gold": int(base["intervals"]), **{f"base_{m}": base[m] for m in METRICS}}
    for kind, iterations in loops.items():
        last = iterations[-1]["PROMOTE"]["scores"]
        row |= {f"{kind}_{m}": last[m] - base[m] for m in METRICS}
        row[f"{kind}_promoted"] = sum(i["PROMOTE"]["promoted"] for i in iterations)
        row[f"{kind}_trained"] = sum(i["TRAIN"]["trained"] for i in iterations)
    return row | {"loops": loops}


def details(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One line per loop and iteration: what was reviewed, trained and said of the challenger."""
    lines = []
    for row in rows:
        for kind, iterations in row["loops"].items():
            for number, steps in enumerate(iterations, 1):
                scores = steps["EVALUATE"]["scores"].get("challenger", {})
                lines.append(
                    {
                        "seed": row["seed"], "loop": kind, "iteration": number,
                        "windows": steps["DATASET"]["windows"], "positive": steps["DATASET"]["positive"],
                        "threshold": steps["TRAIN"]["threshold"],
                        **{m: scores.get(m, np.nan) for m in (*METRICS, "auc_pr")},
                        "promoted": steps["PROMOTE"]["promoted"], "reason": steps["PROMOTE"]["reason"],
                    }
                )  # fmt: skip
    return pd.DataFrame(lines)


def retrained(installed: Installed, scratch: Path, row: Mapping[str, Any], seed: int) -> str:
    """SHA-256 of an adapter trained anew, in its own process, on the loop's first dataset version."""
    at, home = scratch / f"seed-{row['seed']}", scratch / f"again-{seed}"
    shutil.copytree(at / "real", home)
    chosen = [s for s in settings(at / "data", row["seed"]) if not s.startswith("adapter.seed=")]
    dataset = row["loops"]["real"][0]["DATASET"]["version"]
    installed.tsad(home, "train", f"dataset={dataset}", f"adapter.seed={seed}", *chosen)
    return str(json.loads(installed.python(home, ADAPTERS, store(home), MODEL, "last"))[0])


def adapters(
    installed: Installed, scratch: Path, row: Mapping[str, Any], pool: ThreadPoolExecutor
) -> dict[str, bool]:
    """The claims about one adapter: seeds, zeroing, and pyfunc on its own."""
    at, seed = scratch / f"seed-{row['seed']}", int(row["seed"])
    home, number = at / "real", str(row["loops"]["real"][0]["REGISTER"]["challenger"])
    (original,) = json.loads(installed.python(home, ADAPTERS, store(home), MODEL, number))
    again, other = pool.map(lambda s: retrained(installed, scratch, row, s), (seed, seed + 1))
    csv = sorted((at / "data").glob("*.csv"))[0]
    installed.python(
        home, BY_PACKAGE, number, csv.stem, str(scratch / "package.npz"), *settings(at / "data", seed)
    )
    moved = shutil.copy(csv, scratch / "moved.csv")
    shutil.rmtree(home / "cache")
    (at / "data").rename(at / "gone")
    installed.python(home, BY_PYFUNC, store(home), MODEL, number, str(moved), csv.stem, str(scratch / "pyfunc.npz"))
    found = {**np.load(scratch / "package.npz"), **np.load(scratch / "pyfunc.npz")}
    base, adapted, zeroed, pyfunc = (found[k] for k in ("base", "adapted", "zeroed", "pyfunc"))
    print(f"adapter {original[:12]}; again {again[:12]}; another seed {other[:12]}; largest difference of scores: "
          f"adapted {np.abs(adapted - base).max():.3g}, zeroed {np.abs(zeroed - base).max():.3g}, "
          f"pyfunc {np.abs(pyfunc - adapted).max():.3g}")  # fmt: skip
    return {
        "one seed twice gives the same adapter, byte for byte": original == again,
        "two seeds give different adapters": original != other,
        "the adapter changes the scores": bool(np.abs(adapted - base).max() > 1e-3),
        "zeroing the adapter restores the base's scores": np.array_equal(zeroed, base),
        "pyfunc in a new process, cache deleted and series gone, gives equal scores": np.array_equal(pyfunc, adapted),
    }


def learning(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """The claims about the loops."""
    claims = {}
    for metric in METRICS:
        real, null = (float(np.mean([r[f"{kind}_{metric}"] for r in rows])) for kind in KINDS)
        claim = f"mean gain in gold {metric}: {real:+.3f} of the real loop exceeds {null:+.3f} of the null"
        claims[claim] = real > null
    promoted = sum(r["null_promoted"] for r in rows)
    claims[f"the null promotes at most once in all ({promoted})"] = promoted <= 1
    claims["every real loop trained an adapter in every iteration"] = all(
        r["real_trained"] == len(r["loops"]["real"]) for r in rows
    )
    return claims


def run_loops(
    installed: Installed, scratch: Path, data: Path, seeds: int, pool: ThreadPoolExecutor
) -> list[dict[str, Any]]:
    """A row per seed, from its real and its null loop."""
    list(pool.map(lambda seed: prepare(installed, scratch, data, seed), range(seeds)))
    pairs = [(seed, kind) for seed in range(seeds) for kind in KINDS]
    loops = dict(zip(pairs, pool.map(lambda pair: one_loop(installed, scratch, *pair), pairs), strict=True))
    return [one_row(seed, {kind: loops[seed, kind] for kind in KINDS}) for seed in range(seeds)]


def prove(data: Path, seeds: int, jobs: int) -> int:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tsad-prove-") as name, ThreadPoolExecutor(jobs) as pool:
        scratch = Path(name).resolve()
        installed = Installed(scratch)
        print(f"{installed.wheel} runs from {installed.where}; the checkout is hidden", flush=True)
        try:
            rows = run_loops(installed, scratch, data, seeds, pool)
            with pd.option_context("display.width", 250, "display.max_columns", None, "display.max_colwidth", 130):
                print(details(rows).round(3).to_string(index=False))
                print(pd.DataFrame(rows).drop(columns="loops").round(3).to_string(index=False), flush=True)
            claims = {**learning(rows), **adapters(installed, scratch, rows[0], pool)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            installed.stop()
            raise
    for claim, holds in claims.items():
        print(f"{'ok  ' if holds else 'FAIL'} {claim}")
    passed = sum(claims.values())
    print(f"{passed} passed, {len(claims) - passed} failed; {time.perf_counter() - started:.0f} s")
    return 0 if passed == len(claims) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove that the loop learns.")
    parser.add_argument("--data", type=Path, default=DATA / "AIOPS_KPI", help="folder of CSVs: timestamp, value, label")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="loops at a time, a core each")
    options = parser.parse_args()
    if not any(options.data.glob("*.csv*")):
        print(
            f"error: no series in {options.data}. Name a folder of CSVs (timestamp, value, label) by --data, or the "
            "folder that holds AIOPS_KPI/ by TSAD_DATA.", file=sys.stderr,
        )  # fmt: skip
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clean-up, as Ctrl-C goes
    return prove(options.data.resolve(), options.seeds, options.jobs)


if __name__ == "__main__":
    raise SystemExit(main())
