"""Proof that the loop learns and is not a pretence (``make prove``).

Builds the wheel, installs it outside the checkout and refuses every read of the checkout from then on. On copies of
real series, with values rescaled and times shifted by a fresh seed, it runs real loops and null loops (whose
reviewer answers from labels moved to unrelated places), and checks what the README claims:

1. over the seeds, the gain in gold F1 of the real loop exceeds the null's, and the null promotes at most once;
2. zeroing an adapter restores the base's scores;
3. one seed gives the same adapter twice, two seeds give different ones;
4. pyfunc in a new process, with the cache deleted, gives equal scores.

An annotation posted by raw HTTP arriving to the second is proven by ``tests/live`` against a real Label Studio.

    python benchmarks/prove.py [--data FOLDER] [--seeds N] [--jobs N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("TSAD_DATA", ROOT.parent / "shared" / "data"))
SETTINGS = (
    "source=csv", "review=simulated", "loop.iterations=2", "sampling.windows=40", "gold.split=series",
    "gold.share=0.5", "windows.length=256", "tracking.plots=0", "tracking.system_metrics=false",
)  # fmt: skip

# Runs in the installed package: refuses to open anything of the checkout but its interpreter.
GUARD = """
import os, sys
_hidden, _allowed = os.environ["TSAD_HIDDEN"], os.environ["TSAD_ALLOWED"].split(os.pathsep)
def _hook(event, args):
    if event == "open" and isinstance(args[0], str):
        path = os.path.realpath(args[0])
        if path.startswith(_hidden + os.sep) and not any(path.startswith(a) for a in _allowed):
            raise PermissionError(f"the checkout is hidden: {path}")
sys.addaudithook(_hook)
"""


class Installed:
    """The wheel in a folder of its own, and how to run it."""

    def __init__(self, scratch: Path) -> None:
        self.site = scratch / "site"
        wheels = scratch / "wheels"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
        (wheel,) = wheels.glob("tsad-*.whl")
        subprocess.run([*pip, "install", "--no-deps", "--target", str(self.site), str(wheel)], check=True)
        (self.site / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
        self.wheel = wheel.name

    def env(self, home: Path) -> dict[str, str]:
        allowed = os.pathsep.join({sys.prefix, os.path.realpath(sys.prefix), str(ROOT / ".venv")})
        return {
            **os.environ, "PYTHONPATH": str(self.site), "TSAD_HOME": str(home), "TSAD_HIDDEN": str(ROOT),
            "TSAD_ALLOWED": allowed, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def python(self, home: Path, code: str, *arguments: str) -> str:
        """Run code in a fresh process of the installed package; its standard output."""
        home.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=home, env=self.env(home), capture_output=True, text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"failed: {code.strip()[:200]} {arguments}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done.stdout

    def tsad(self, home: Path, *arguments: str) -> str:
        return self.python(home, "import sys; from tsad.cli import main; sys.exit(main())", *arguments)


def copies(folder: Path, target: Path, seed: int, rotate: set[str]) -> list[str]:
    """Copies with values rescaled and times shifted; labels of the series in ``rotate`` moved by a random amount."""
    rng = np.random.default_rng(seed)
    target.mkdir(parents=True)
    names = []
    for path in sorted(folder.glob("*.csv*")):
        frame = pd.read_csv(path)
        if "label" not in frame or not frame["label"].any():
            continue
        scale, offset, days = np.exp(rng.uniform(-2, 2)), rng.normal() * 100, int(rng.integers(100, 3000))
        turn = float(rng.uniform(0.25, 0.75))
        name = path.name.split(".")[0]
        values = [c for c in frame if c.startswith("value")]
        frame[values] = frame[values] * scale + offset
        frame["timestamp"] = pd.to_datetime(frame["timestamp"]) + pd.Timedelta(days=days)
        label = frame["label"].to_numpy()
        frame["label"] = np.roll(label, int(turn * len(label))) if name in rotate else label
        frame[["timestamp", *values, "label"]].to_csv(target / f"{name}.csv", index=False)
        names.append(name)
    return names


# Prints one row per completed iteration of a loop.
READ = """
import json, sys
from pathlib import Path
from tsad.core.options import TrackingOptions
from tsad.tracking.store import open_store
options = TrackingOptions(uri="", timeout_seconds=30.0, system_metrics=False, keep_versions=5, plots=0)
loop = open_store(options, Path(sys.argv[1])).loop(sys.argv[2])
rows = []
for it in loop.iterations():
    steps = {name: it.finished(name).result for name in ("DATASET", "TRAIN", "EVALUATE", "PROMOTE")}
    rows.append({**steps, "metric": "interval_f1"})
print(json.dumps(rows))
"""

# Prints the points that a folder's gold set takes, by the package's own split.
SPLIT = """
import json, sys
from tsad.config import compose, settings, workbench
from tsad.review.splits import split_gold
from tsad.steps.common import load_series
bench = workbench(settings(compose(sys.argv[1:])))
labelled = [s for s in load_series(bench) if s.labels is not None]
split = split_gold(labelled, bench.gold, bench.windows.length)
print(json.dumps(sorted({w.point_id for w in split.gold})))
"""

# Scores of one series by the base, by a registered version through pyfunc, and by its adapter zeroed.
SCORES = """
import json, os, shutil, sys
from pathlib import Path
import numpy as np, pandas as pd
import mlflow
home, name, csv = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
frame = pd.read_csv(csv, parse_dates=["timestamp"]).drop_duplicates("timestamp").sort_values("timestamp")
frame = pd.DataFrame({"point_id": "p", "timestamp": frame["timestamp"], "value": frame["value"]})
def scored(uri):
    return mlflow.pyfunc.load_model(uri).predict(frame)["score"].to_numpy()
out = {"base": scored(f"models:/{name}/1"), "adapted": scored(f"models:/{name}/{sys.argv[4]}")}
folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{sys.argv[4]}", dst_path=str(home / "copy")))
adapter = next(p.parent for p in folder.rglob("adapter_model.safetensors"))
from tsad.training.adapters import zero
from tsad.detectors.patch.detector import PatchDetector
from tsad.config import compose, settings, workbench
detector = workbench(settings(compose(["review=simulated"]))).make_detector()
from tsad.sources.validate import validate
stamps = frame["timestamp"].to_numpy().astype("datetime64[ns]").astype("int64")
series = validate("p", stamps, frame[["value"]].to_numpy(float), ("value",), time_kind="time")
zero(adapter, detector.network())
out["zeroed"] = detector.with_adapter(adapter).score([series])[0]
shutil.rmtree(home / "copy")
print(json.dumps({k: np.asarray(v, float).tolist() for k, v in out.items()}))
"""

ADAPTER_SHA = """
import hashlib, sys
from pathlib import Path
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{Path(sys.argv[1]) / 'mlflow.db'}")
folder = Path(mlflow.artifacts.download_artifacts(f"models:/{sys.argv[2]}/{sys.argv[3]}"))
print(hashlib.sha256(next(folder.rglob("adapter_model.safetensors")).read_bytes()).hexdigest())
"""


def run_loop(installed: Installed, home: Path, data: Path, name: str, seed: int) -> list[dict[str, Any]]:
    """One loop from nothing; a row per iteration with the results of its steps."""
    installed.tsad(home, "iterate", *settings(data, name, seed))
    return list(json.loads(installed.python(home, READ, str(home), name).splitlines()[-1]))


def settings(data: Path, name: str, seed: int) -> list[str]:
    return [
        *SETTINGS, f"source.root={data}", f"loop.name={name}", f"adapter.seed={seed}", f"sampling.seed={seed}",
        f"gold.seed={seed}",
    ]  # fmt: skip


def gain(rows: list[dict[str, Any]]) -> float:
    """Gold F1 of the last champion minus that of the unadapted base."""
    metric = rows[0]["metric"]
    return float(rows[-1]["PROMOTE"]["scores"][metric] - rows[0]["EVALUATE"]["scores"]["champion"][metric])


def one_seed(installed: Installed, scratch: Path, folder: Path, seed: int) -> dict[str, Any]:
    """A real and a null loop on the same rescaled, shifted copies and the same gold set."""
    started = time.perf_counter()
    real, null = scratch / f"real-{seed}", scratch / f"null-{seed}"
    copies(folder, real / "data", seed, set())
    gold = json.loads(installed.python(real / "home", SPLIT, *settings(real / "data", "split", seed)).splitlines()[-1])
    names = copies(folder, scratch / f"names-{seed}", seed, set())
    copies(folder, null / "data", seed, set(names) - set(gold))
    rows = {kind: run_loop(installed, at / "home", at / "data", "prove", seed) for kind, at in
            (("real", real), ("null", null))}  # fmt: skip
    first = [r[0]["EVALUATE"]["scores"]["champion"]["interval_f1"] for r in rows.values()]
    if abs(first[0] - first[1]) > 1e-9:
        raise SystemExit(f"seed {seed}: the two loops do not start from the same gold scores: {first}")
    return {
        "seed": seed, "base_f1": first[0], "real_gain": gain(rows["real"]), "null_gain": gain(rows["null"]),
        "real_promoted": sum(r["PROMOTE"]["promoted"] for r in rows["real"]),
        "null_promoted": sum(r["PROMOTE"]["promoted"] for r in rows["null"]),
        "trained": sum(r["TRAIN"]["trained"] for r in rows["real"]), "seconds": time.perf_counter() - started,
    }  # fmt: skip


def adapters(installed: Installed, scratch: Path, folder: Path) -> dict[str, bool]:
    """Same seed, same adapter; another seed, another; zeroed, the base; pyfunc without cache, the same scores."""
    homes = {}
    for label, seed in (("a", 1), ("b", 1), ("c", 2)):
        at = scratch / f"adapter-{label}"
        copies(folder, at / "data", 1, set())
        arguments = [*settings(at / "data", "adapter", 1)[:-3], f"adapter.seed={seed}", "sampling.seed=1",
                     "gold.seed=1", "loop.iterations=1"]  # fmt: skip
        # No gate in the way: what counts here is the adapter itself.
        installed.tsad(at / "home", "iterate", *arguments)
        homes[label] = at / "home"
    model = "tsad-adapter-patch"
    sha = {k: installed.python(home, ADAPTER_SHA, str(home), model, "2").split()[-1] for k, home in homes.items()}
    csv = sorted((scratch / "adapter-a" / "data").glob("*.csv"))[0]
    run = lambda: json.loads(installed.python(homes["a"], SCORES, str(homes["a"]), model, str(csv), "2").splitlines()[-1])  # noqa: E731,E501
    before = run()
    shutil.rmtree(homes["a"] / "cache", ignore_errors=True)
    shutil.rmtree(scratch / "adapter-a" / "hidden", ignore_errors=True)
    after = run()
    base, zeroed, adapted = (np.array(before[k]) for k in ("base", "zeroed", "adapted"))
    return {
        "one seed twice gives the same adapter": sha["a"] == sha["b"],
        "two seeds give different adapters": sha["a"] != sha["c"],
        "the adapter changes the scores": bool(np.abs(base - adapted).max() > 1e-3),
        "zeroing it restores the base's scores": bool(np.abs(base - zeroed).max() < 1e-6),
        "a new process without the cache gives equal scores": before["adapted"] == after["adapted"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove that the loop learns.")
    parser.add_argument("--data", type=Path, default=DATA / "MSCMD", help="folder of CSVs with a label column")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1)))
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(
            f"no series at {options.data}: name a folder of CSVs (timestamp, value, label) by --data or TSAD_DATA"
        )
    with tempfile.TemporaryDirectory(prefix="tsad-prove-") as name:
        scratch = Path(name)
        installed = Installed(scratch)
        where = installed.python(scratch / "where", "import tsad; print(tsad.__file__)").strip()
        print(f"{installed.wheel} runs from {where}; reading the checkout is refused")
        if not where.startswith(str(installed.site)):
            raise SystemExit("the checkout is not hidden")
        with ThreadPoolExecutor(options.jobs) as pool:
            rows = list(pool.map(lambda s: one_seed(installed, scratch, options.data, s), range(options.seeds)))
        print(pd.DataFrame(rows).round(3).to_string(index=False))
        real, null = (float(np.mean([r[k] for r in rows])) for k in ("real_gain", "null_gain"))
        checks = {
            f"mean gain of the real loop {real:+.3f} exceeds the null's {null:+.3f}": real > null,
            "the null promotes at most once": sum(r["null_promoted"] for r in rows) <= 1,
            "every real loop trained an adapter": all(r["trained"] for r in rows),
            **adapters(installed, scratch, options.data),
        }
    for claim, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'} {claim}")
    passed = sum(checks.values())
    print(f"{passed} passed, {len(checks) - passed} failed")
    return 0 if passed == len(checks) else 1


if __name__ == "__main__":
    raise SystemExit(main())
