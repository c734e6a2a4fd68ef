"""The wheel of the checkout, installed outside it, and the code that ``prove.py`` runs in processes of that package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE

ROOT = Path(__file__).resolve().parents[1]

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

# Number of versions of the loop's model, and SHA-256 of their adapters, "" for one without; "last" is the newest.
ADAPTERS = """
import hashlib, json, sys, tempfile
from pathlib import Path
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client, name, found = mlflow.MlflowClient(), sys.argv[2], []
newest = max(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
for number in sys.argv[3:]:
    with tempfile.TemporaryDirectory() as scratch:
        number = str(newest) if number == "last" else number
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=scratch))
        weights = [path.read_bytes() for path in folder.rglob("adapter_model.safetensors")]
        found.append([number, hashlib.sha256(weights[0]).hexdigest() if weights else ""])
print(json.dumps(found))
"""

# Scores of one series by the base, by a version as the loop loads it, and by its adapter zeroed where it has one: no
# pyfunc involved.
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
(base,), (scored,) = bench.make_detector().score(series), version.score(series)
scores = {"base": base, "scored": scored}
if version.adapter is not None:
    with tempfile.TemporaryDirectory() as scratch:
        zero(bench.make_detector().network(), version.adapter, Path(scratch) / "zeroed")
        (scores["zeroed"],) = bench.make_detector().with_adapter(Path(scratch) / "zeroed").score(series)
np.savez(into, **scores)
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
