"""Push windows with pre-annotations into a real Label Studio and pull them back: tasks per second, bytes, what changed.

    python benchmarks/label_studio.py [--tasks 1000 10000] [--points 512] [--single 50] [--home FOLDER]

Tasks are what people get: context, pictures and proposals included. Compared with one call per task. Starts the
embedded server in a scratch folder (``--home`` keeps one between runs) and deletes its projects afterwards.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tsad.config.composing import option
from tsad.core.overview import overview_of
from tsad.core.reviews import Choice, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.review.label_studio import convert, server, template
from tsad.review.label_studio.known import LATE
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.reviewer import LabelStudioReviewer

SECOND = 1_000_000_000
OPTIONS = LabelStudioOptions(**{k: v for k, v in option("review", "label_studio").items() if k != "_target_"})
ORIGIN = Origin("patch", "bench:1")
CHANGED = 10  # answers changed between two pulls


def windows(count: int, points: int) -> list[Choice]:
    """Windows of one long series, each with two proposed intervals."""
    rng = np.random.default_rng(0)
    stamps = 1_767_225_600 * SECOND + 60 * SECOND * np.arange(count * points, dtype=np.int64)
    series = Series("BENCH", stamps, np.cumsum(rng.normal(size=(count * points, 1)), axis=0))
    out, overview = [], overview_of(series)
    for k in range(count):
        window = Window(series, k * points, (k + 1) * points)
        t = window.timestamps
        proposal = tuple(Interval(int(t[a]), int(t[a + 30]), score=0.8) for a in (points // 4, points // 2))
        out.append(Choice(window, 0.5, "mix", proposals=(Proposal(proposal, ORIGIN),), score=k / count, iteration=1,
                          overview=overview))  # fmt: skip
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


def change(http: httpx.Client, project: int) -> None:
    """Change some answers, as people do who look at them again."""
    query = json.dumps({"filters": {"conjunction": "and", "items": []}, "ordering": ["tasks:id"]})
    params: dict[str, Any] = {
        "project": project, "page_size": CHANGED, "fields": "all", "include": "id,annotations", "query": query,
    }  # fmt: skip
    for task in _checked(http.get("/api/tasks/", params=params))["tasks"]:
        _checked(http.patch(f"/api/annotations/{task['annotations'][0]['id']}/", json={"result": []}))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--single", type=int, default=50, help="tasks of the one-call-per-task comparison")
    parser.add_argument("--home", type=Path, help="keep the server's data here between runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = args.home or Path(scratch)
        url = server.start(home)
        try:
            for tasks in args.tasks:
                measure(url, server.read_token(home), windows(tasks, args.points), args.single)
        finally:
            if args.home is None:
                server.stop(home)


def measure(url: str, token: str, choices: list[Choice], single: int) -> None:
    """One run against a server."""
    reviewer, other = (
        LabelStudioReviewer(OPTIONS, url=url, token=token, loop=f"bench-{uuid.uuid4().hex[:6]}") for _ in range(2)
    )
    http = httpx.Client(base_url=url, headers={"Authorization": f"Token {token}"}, timeout=3600, trust_env=False)
    project, form = other._project_for(choices[:single])
    made = len(json.dumps(convert.task(choices[0], form, OPTIONS, "bench")).encode())
    print(f"\n{len(choices)} tasks of {len(choices[0].window)} points, {made} bytes each")
    push_seconds, pull_seconds = one_by_one(http, project, choices[:single], form)
    with tempfile.TemporaryDirectory() as kept:
        reviewer.kept = Path(kept)
        spent = timed(reviewer, http, choices)
    for name, seconds in (("push", push_seconds), ("pull", pull_seconds)):
        ratio = (seconds / single) / (spent[name] / len(choices))
        print(f"one call per task: {name:4s} {1000 * seconds / single:7.1f} ms per task = {ratio:.1f} x ours")
    for one in (reviewer, other):
        _checked(http.delete(f"/api/projects/{one._project()['id']}/"))


def timed(reviewer: LabelStudioReviewer, http: httpx.Client, choices: list[Choice]) -> dict[str, float]:
    """Seconds of each step, printed as they come."""
    spent: dict[str, float] = {}
    pulled: list[ReviewedWindow] = []

    def pull() -> None:
        pulled[:] = reviewer.pull(choices)

    def settle() -> None:
        time.sleep(LATE.total_seconds() + 1)
        pull()

    def pull_anew() -> None:
        for path in (reviewer.kept or Path()).iterdir():
            path.unlink()
        reviewer._known = None
        pull()

    for name, work in {
        "push": lambda: reviewer.push(choices),
        "push again (nothing new)": lambda: reviewer.push(choices),
        "pull (nothing answered)": pull,
        "answer all, inside Label Studio": lambda: accept(http, reviewer._project()["id"]),
        "pull": pull,
        "(wait until nothing can turn up late)": settle,
        "pull (nothing changed)": pull,
        f"change {CHANGED}, a call each": lambda: change(http, reviewer._project()["id"]),
        f"pull ({CHANGED} changed)": pull,
        "pull without the copy in the cache": pull_anew,
    }.items():
        begun = time.perf_counter()
        work()
        spent[name] = time.perf_counter() - begun
        each = 1000 * spent[name] / len(choices)
        print(f"{name:36s} {spent[name]:8.1f} s {each:8.1f} ms per task {1000 / each:9.0f} tasks/s", flush=True)
    states = [r.state for r in pulled]
    accepted, corrected = states.count(ReviewState.ACCEPTED), states.count(ReviewState.CORRECTED)
    print(f"{accepted} of {len(choices)} came back exactly as proposed, {corrected} as they were changed")
    return spent


if __name__ == "__main__":
    main()
