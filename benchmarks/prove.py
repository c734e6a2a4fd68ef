"""Proof that the loop learns and is not a pretence (``make prove``), four minutes on two idle cores.

Builds the wheel, installs it outside the checkout and refuses every read of the checkout from then on. On copies of
real series, with values rescaled and times shifted by a fresh seed, it runs real loops and null loops (whose
reviewer answers from labels moved to unrelated places; the gold set is the same), and checks what the README claims:

1. over the seeds, the gain in gold F1 of the real loop exceeds the null's, and the null promotes at most once;
2. every verdict of the gate follows from the figures it states, by the rule as README has it;
3. a registered version with an adapter carries its weights, one with a calibrator alone carries no weights and scores
   each point as the base does;
4. zeroing an adapter restores the base's scores; one seed gives the same adapter twice, two seeds give different ones
   (on the first registered version that has one; where none has, one is trained on the loop's reviews);
5. pyfunc in a new process, with the cache deleted and the series moved away, gives equal scores, with an adapter and
   without.

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
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from _installed import ADAPTERS, BY_PACKAGE, BY_PYFUNC, GOLD_STARTS, ITERATIONS, ROOT, Installed

DATA = Path(os.environ.get("TSAD_DATA", ROOT.parent / "shared" / "data"))
METRICS = ("interval_f1", "composite_f1")  # the gate's two
KINDS = ("real", "null")
SETTINGS = (
    "source=csv", "review=simulated", "loop.name=prove", "loop.iterations=2", "sampling.windows=40", "gold=time",
    "gold.share=0.5", "tracking.plots=0", "tracking.system_metrics=false",
)  # fmt: skip

MODEL = "tsad-prove-patch"
FORCED = ("threshold=reviewed", "adapter.min_positive=1")  # point by point, every adapter goes before the gate


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


def gains(verdict: Mapping[str, Any]) -> dict[str, str]:
    """The gains that the gate looked at, each with its interval at the level that decided."""
    return {
        f"gain {metric}": f"{g['gain']:+.3f} [{g['low']:+.3f}, {g['high']:+.3f}]"
        for metric, g in verdict["gains"].items()
    }


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
                        "adapter": steps["TRAIN"]["trained"], "promoted": steps["PROMOTE"]["promoted"],
                        "clause": steps["PROMOTE"]["clause"], **gains(steps["PROMOTE"]),
                    }
                )  # fmt: skip
    return pd.DataFrame(lines)


@dataclass(frozen=True)
class Version:
    """A registered version of a seed's real loop.

    Attributes:
        adapter: SHA-256 of its weights, "" where it has none.
        adapted: whether its iteration's training says that it has a new adapter.
    """

    row: Mapping[str, Any]
    number: str
    adapter: str
    adapted: bool


def registered(installed: Installed, scratch: Path, rows: Sequence[Mapping[str, Any]]) -> list[Version]:
    """Every version that the real loops registered after training."""
    versions = []
    for row in rows:
        made = [i for i in row["loops"]["real"] if i["REGISTER"]["challenger"] is not None]
        numbers = [str(i["REGISTER"]["challenger"]) for i in made]
        home = scratch / f"seed-{row['seed']}" / "real"
        pairs = json.loads(installed.python(home, ADAPTERS, store(home), MODEL, *numbers))
        versions += [
            Version(row, number, digest, bool(iteration["TRAIN"]["trained"]))
            for (number, digest), iteration in zip(pairs, made, strict=True)
        ]
    return versions


def scores_of(
    installed: Installed, scratch: Path, version: Version, home: Path
) -> dict[str, npt.NDArray[np.float64]]:
    """Scores of the seed's first series by base, version and zeroed adapter, and by pyfunc with data and cache gone."""
    at, seed, number = scratch / f"seed-{version.row['seed']}", int(version.row["seed"]), version.number
    csv = sorted((at / "data").glob("*.csv"))[0]
    into = scratch / f"scores-{home.name}-{seed}-{number}"
    into.mkdir()
    installed.python(
        home, BY_PACKAGE, number, csv.stem, str(into / "package.npz"), *settings(at / "data", seed)
    )
    moved = shutil.copy(csv, into / "moved.csv")
    shutil.rmtree(home / "cache", ignore_errors=True)
    (at / "data").rename(at / "gone")
    try:
        installed.python(home, BY_PYFUNC, store(home), MODEL, number, str(moved), csv.stem, str(into / "pyfunc.npz"))
    finally:
        (at / "gone").rename(at / "data")
    return {**np.load(into / "package.npz"), **np.load(into / "pyfunc.npz")}


def versions_hold(
    installed: Installed, scratch: Path, rows: Sequence[Mapping[str, Any]], pool: ThreadPoolExecutor
) -> dict[str, bool]:
    """The claims about registered versions, one without an adapter and one with; one that is missing is made."""
    versions = registered(installed, scratch, rows)
    plain = [v for v in versions if not v.adapter]
    first = {str(r["loops"]["real"][0]["REGISTER"]["challenger"]) for r in rows}
    adapted = [v for v in versions if v.adapter and v.number in first]  # of what can be trained again in one step
    print(f"{len(versions)} registered versions, {len(versions) - len(plain)} with an adapter", flush=True)
    claims = {
        f"{len(versions)} versions carry an adapter's weights wherever their training took one": all(
            bool(v.adapter) or not v.adapted for v in versions
        )
    }
    if plain:
        home = scratch / f"seed-{plain[0].row['seed']}" / "real"
        claims |= without_adapter(scores_of(installed, scratch, plain[0], home))
    return claims | with_adapter(installed, scratch, (adapted or versions)[0], pool)


def without_adapter(scores: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, bool]:
    return {
        "a version without adapter scores each point as the base does": np.array_equal(
            scores["scored"], scores["base"]
        ),
        "pyfunc in a new process, cache deleted and series gone, gives equal scores without adapter": np.array_equal(
            scores["pyfunc"], scores["scored"]
        ),
    }


def with_adapter(
    installed: Installed, scratch: Path, version: Version, pool: ThreadPoolExecutor
) -> dict[str, bool]:
    """The claims about one adapter: seeds, zeroing, and pyfunc on its own.

    A version without one stands for its loop, on whose first dataset version an adapter is made, with the check that
    refuses what does not help left out.
    """
    seed, forced = int(version.row["seed"]), () if version.adapter else FORCED
    runs = {"again": seed, "other": seed + 1, **({} if version.adapter else {"made": seed})}
    tasks = {n: pool.submit(trained, installed, scratch, version.row, n, s, forced) for n, s in runs.items()}
    adapters = {name: task.result() for name, task in tasks.items()}
    made, home = version, scratch / f"seed-{seed}" / "real"
    if not version.adapter:
        made, home = adapters["made"], scratch / "train-made"
    again, other = adapters["again"].adapter, adapters["other"].adapter
    scores = scores_of(installed, scratch, made, home)
    base, adapted, zeroed, pyfunc = (scores[k] for k in ("base", "scored", "zeroed", "pyfunc"))
    print(f"adapter {'of a loop' if version.adapter else 'made'} {made.adapter[:12]}; again {again[:12]}; another seed "
          f"{other[:12]}; largest difference of scores: adapted {np.abs(adapted - base).max():.3g}, zeroed "
          f"{np.abs(zeroed - base).max():.3g}, pyfunc {np.abs(pyfunc - adapted).max():.3g}")  # fmt: skip
    return {
        "one seed twice gives the same adapter, byte for byte": made.adapter == again != "",
        "two seeds give different adapters": bool(other) and made.adapter != other,
        "the adapter changes the scores": bool(np.abs(adapted - base).max() > 1e-3),
        "zeroing the adapter restores the base's scores": np.array_equal(zeroed, base),
        "pyfunc in a new process, cache deleted and series gone, gives equal scores with adapter": np.array_equal(
            pyfunc, adapted
        ),
    }


def trained(
    installed: Installed, scratch: Path, row: Mapping[str, Any], name: str, seed: int, overrides: Sequence[str]
) -> Version:
    """A version trained anew, in its own process, in a copy of the store, on the loop's first dataset version."""
    at, home = scratch / f"seed-{row['seed']}", scratch / f"train-{name}"
    shutil.copytree(at / "real", home)
    chosen = [s for s in settings(at / "data", row["seed"]) if not s.startswith("adapter.seed=")]
    dataset = row["loops"]["real"][0]["DATASET"]["version"]
    installed.tsad(home, "train", f"dataset={dataset}", f"adapter.seed={seed}", *overrides, *chosen)
    ((number, digest),) = json.loads(installed.python(home, ADAPTERS, store(home), MODEL, "last"))
    return Version(row, number, digest, bool(digest))


def learning(rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """The claims about the loops."""
    claims = {}
    for metric in METRICS:
        real, null = (float(np.mean([r[f"{kind}_{metric}"] for r in rows])) for kind in KINDS)
        claim = f"mean gain in gold {metric}: {real:+.3f} of the real loop exceeds {null:+.3f} of the null"
        claims[claim] = real > null
    promoted = sum(r["null_promoted"] for r in rows)
    claims[f"the null promotes at most once in all ({promoted})"] = promoted <= 1
    claims["every real loop registered a challenger in its first iteration"] = all(
        r["loops"]["real"][0]["REGISTER"]["challenger"] is not None for r in rows
    )
    verdicts = [i["PROMOTE"] for r in rows for loop in r["loops"].values() for i in loop]
    claims[f"{len(verdicts)} verdicts of the gate follow from the figures they state"] = all(map(follows, verdicts))
    return claims


def follows(verdict: Mapping[str, Any]) -> bool:
    """Whether a verdict is what README's rule makes of its figures; a gold set of these has evidence enough."""
    gains = list(verdict["gains"].values())
    rose = any(g["low"] > 0 for g in gains)
    fell = any(g["high"] < 0 or g["gain"] < -verdict["margin"] for g in gains)
    return bool(verdict["promoted"]) == (rose and not fell)


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
    print(f"load of the machine at the start: {load()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tsad-prove-") as name, ThreadPoolExecutor(jobs) as pool:
        scratch = Path(name).resolve()
        installed = Installed(scratch)
        print(f"{installed.wheel} runs from {installed.where}; the checkout is hidden", flush=True)
        try:
            rows = run_loops(installed, scratch, data, seeds, pool)
            with pd.option_context("display.width", 250, "display.max_columns", None, "display.max_colwidth", 130):
                print(details(rows).round(3).to_string(index=False))
                print(pd.DataFrame(rows).drop(columns="loops").round(3).to_string(index=False), flush=True)
            claims = {**learning(rows), **versions_hold(installed, scratch, rows, pool)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            installed.stop()
            raise
    for claim, holds in claims.items():
        print(f"{'ok  ' if holds else 'FAIL'} {claim}")
    passed = sum(claims.values())
    print(f"{passed} passed, {len(claims) - passed} failed; {time.perf_counter() - started:.0f} s")
    print(f"load of the machine at the end: {load()}")
    return 0 if passed == len(claims) else 1


def load() -> str:
    """Processes that want a core, of the last 1, 5 and 15 minutes, and how many cores there are."""
    return f"{', '.join(f'{value:.1f}' for value in os.getloadavg())} on {os.cpu_count()} cores"


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
