"""``tsad`` alone: what is connected, where each loop stands, what waits for whom, the champion, the disk used."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import TsadError
from tsad.core.reviews import ReviewState
from tsad.loop import detect, promote, pull
from tsad.loop.champion import registry_of
from tsad.loop.common import say, show
from tsad.loop.queue import queue_of

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore


def run(bench: Workbench) -> None:
    """Print the state of the store, of every loop in it, and of Label Studio where one is used."""
    if not bench.tracking.uri and not (bench.home / "mlflow.db").exists():
        say(f"store: {bench.home} (nothing in it yet)")
        say("begin with: tsad iterate experiment=demo")
        return
    from tsad.tracking.store import open_store

    store = open_store(bench.tracking, bench.home)
    say(f"store: {store.uri}")
    say(f"Label Studio: {label_studio_line(bench)}")
    names = store.loops()
    rows = [_row(bench, store.loop(name, bench.loop.lease)) for name in names]
    show(rows, "loops")
    for name in names:
        iterations = store.loop(name, bench.loop.lease).iterations()
        if iterations:
            _last_iteration(bench, iterations[-1])
    show(disk_rows(bench.home), "disk")


def label_studio_line(bench: Workbench) -> str:
    """One phrase: not started, running at a URL, or why it cannot be reached."""
    from tsad.review.server import describe

    return describe(bench.label_studio(), bench.home)


def _row(bench: Workbench, loop: LoopStore) -> dict[str, Any]:
    iterations = loop.iterations()
    row: dict[str, Any] = {
        "loop": loop.name, "iterations": sum(i.state == "COMPLETED" for i in iterations),
        "state": iterations[-1].state if iterations else "-", "champion": None, "dataset": None,
        "point_f1": None, "interval_f1": None, "composite_f1": None,
    }
    if not iterations:
        return row
    frozen = bench.thaw(iterations[-1].config_yaml)
    champion = registry_of(frozen, loop).alias("champion")
    if champion is not None:
        row["champion"] = f"{registry_of(frozen, loop).name}:{champion.version}"
        row["dataset"] = champion.tags.get("tsad.dataset_version") or "none (base)"
    for iteration in reversed(iterations):
        decision = iteration.finished(promote.STEP)
        if decision is not None:
            scores = decision.result["scores"]
            row |= {k: scores.get(k) for k in ("point_f1", "interval_f1", "composite_f1")}
            break
    return row


def _last_iteration(bench: Workbench, iteration: Iteration) -> None:
    """Where the newest iteration stands and how its windows were answered so far."""
    say(f"iteration {iteration.number} of {iteration.loop.name}: {iteration.state} {iteration.reason}".rstrip())
    drawn, collected = iteration.finished(detect.STEP), iteration.finished(pull.STEP)
    if collected is not None:
        states = Counter(collected.result["states"])
    elif drawn is not None:
        frozen = bench.thaw(iteration.config_yaml)
        try:
            people = frozen.reviewer.people
            reviewed = frozen.make_reviewer().pull(queue_of(frozen, drawn)) if people else []
        except TsadError as error:
            say(f"  reviews cannot be read: {error}")
            return
        states = Counter(r.state.value for r in reviewed)
    else:
        return
    say("  " + ", ".join(f"{states[s.value]} {s.value.lower()}" for s in ReviewState))


def disk_rows(home: Path) -> list[dict[str, Any]]:
    """Megabytes under each folder of the store."""
    parts = {"tracking store": home, "cache": home / "cache", "Label Studio": home / "label_studio"}
    sizes = {name: _megabytes(path) for name, path in parts.items()}
    sizes["tracking store"] -= sizes["cache"] + sizes["Label Studio"]
    return [{"what": name, "MB": round(size, 1)} for name, size in sizes.items()]


def _megabytes(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6 if folder.exists() else 0.0
