"""Push windows with pre-annotations into a real Label Studio and pull them back: seconds, ratio to one call each.

    python benchmarks/label_studio.py [--tasks 1000] [--points 2000] [--single 50] [--home FOLDER]

Starts the embedded server in a scratch folder (``--home`` keeps one between runs) and deletes its project afterwards.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tsad.config.composing import option
from tsad.core.reviews import Choice, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.review.label_studio import convert, server, template
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.reviewer import LabelStudioReviewer

SECOND = 1_000_000_000
OPTIONS = LabelStudioOptions(**{k: v for k, v in option("review", "label_studio").items() if k != "_target_"})
ORIGIN = Origin("patch", "bench:1")


def windows(count: int, points: int) -> list[Choice]:
    """Windows of one long series, each with two proposed intervals."""
    rng = np.random.default_rng(0)
    stamps = 1_767_225_600 * SECOND + 60 * SECOND * np.arange(count * points, dtype=np.int64)
    series = Series("BENCH", stamps, np.cumsum(rng.normal(size=(count * points, 1)), axis=0))
    out = []
    for k in range(count):
        window = Window(series, k * points, (k + 1) * points)
        t = window.timestamps
        proposal = tuple(Interval(int(t[a]), int(t[a + 30]), score=0.8) for a in (points // 4, points // 2))
        out.append(Choice(window, 0.5, "mix", proposals=(Proposal(proposal, ORIGIN),), score=k / count))
    return out


def one_by_one(http: httpx.Client, project: int, choices: list[Choice], form: template.Template) -> tuple[float, float]:
    """Seconds to create and to read back these windows with one call per task and per prediction."""
    begun = time.perf_counter()
    numbers = []
    for choice in choices:
        made = convert.task(choice, form, OPTIONS, "single")
        task = _checked(http.post("/api/tasks/", json={"project": project, "data": made["data"]}))
        shown = {"task": task["id"], "project": project, **made["predictions"][0]}
        _checked(http.post("/api/predictions/", json=shown))
        numbers.append(task["id"])
    pushed = time.perf_counter() - begun
    begun = time.perf_counter()
    for number in numbers:
        _checked(http.get(f"/api/tasks/{number}/"))
    return pushed, time.perf_counter() - begun


def accept(http: httpx.Client, project: int) -> None:
    """Answer every task with its proposals, by the data manager's own action."""
    body = {"selectedItems": {"all": True, "excluded": []}, "model_version": "bench:1"}
    params: dict[str, Any] = {"id": "predictions_to_annotations", "project": project}
    _checked(http.post("/api/dm/actions/", params=params, json=body))


def _checked(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json() if answer.content else None


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--single", type=int, default=50, help="tasks of the one-call-per-task comparison")
    parser.add_argument("--home", type=Path, help="keep the server's data here between runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = args.home or Path(scratch)
        url = server.start(home)
        try:
            measure(url, server.read_token(home), args.tasks, args.points, args.single)
        finally:
            if args.home is None:
                server.stop(home)


def measure(url: str, token: str, tasks: int, points: int, single: int) -> None:
    """One run against a server."""
    choices = windows(tasks, points)
    reviewer = LabelStudioReviewer(OPTIONS, url=url, token=token, loop=f"bench-{uuid.uuid4().hex[:6]}")
    other = LabelStudioReviewer(OPTIONS, url=url, token=token, loop=f"bench-{uuid.uuid4().hex[:6]}")
    http = httpx.Client(base_url=url, headers={"Authorization": f"Token {token}"}, timeout=600, trust_env=False)
    reviewer.push([])  # the SDK is imported before the clock starts, for both ways alike
    assert reviewer.client and other.client
    spent: dict[str, float] = {}
    pulled: list[ReviewedWindow] = []
    for name, work in {
        "push": lambda: reviewer.push(choices),
        "push again (nothing new)": lambda: reviewer.push(choices),
        "answer all, inside Label Studio": lambda: accept(http, reviewer._project()["id"]),
        "pull": lambda: pulled.extend(reviewer.pull(choices)),
    }.items():
        begun = time.perf_counter()
        work()
        spent[name] = time.perf_counter() - begun
        print(f"{name:34s} {spent[name]:8.1f} s   {1000 * spent[name] / tasks:7.1f} ms per task", flush=True)
    accepted = sum(r.state is ReviewState.ACCEPTED for r in pulled)
    print(f"{accepted} of {tasks} windows of {points} points came back exactly as proposed")
    project, form = other._project_for(choices[:single])
    push_seconds, pull_seconds = one_by_one(http, project, choices[:single], form)
    for name, seconds in (("push", push_seconds), ("pull", pull_seconds)):
        ratio = (seconds / single) / (spent[name] / tasks)
        print(f"one call per task: {name:4s} {1000 * seconds / single:7.1f} ms per task = {ratio:.1f} x ours")
    for one in (reviewer, other):
        _checked(http.delete(f"/api/projects/{one._project()['id']}/"))


if __name__ == "__main__":
    main()
