"""The Label Studio reviewer without a server: exports, the embedded server's files, and what is refused early."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_kit import label_studio_options

from tsad.core.errors import ConfigError, LabelError, MissingPackageError, ReviewError
from tsad.core.reviews import Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.review.label_studio import addresses, known, server
from tsad.review.label_studio.client import LostCallError, where
from tsad.review.label_studio.exports import read_export, to_label_studio
from tsad.review.label_studio.known import ANSWER
from tsad.review.label_studio.located import find_file
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.reviewer import LabelStudioReviewer

MINUTE = 60_000_000_000
START = 1_767_225_600_000_000_000  # 2026-01-01 00:00:00 UTC
OPTIONS = label_studio_options(poll_seconds=1.0, token_env="X", utc_offset="+08:00", chunk=2)


def windows(count: int = 5, name: str = "P1", kind: Any = "time") -> list[Window]:
    step, start = (1_000_000_000, 0) if kind == "index" else (MINUTE, START)
    stamps = start + step * np.arange(count * 10, dtype=np.int64)
    series = Series(name, stamps, np.arange(count * 10.0)[:, None], time_kind=kind)
    return [Window(series, 10 * k, 10 * k + 10) for k in range(count)]


def proposed(version: str, *intervals: Interval) -> tuple[Proposal, ...]:
    return (Proposal(intervals, Origin("patch", version)),)


def choices(count: int = 5, version: str = "m:1") -> list[Choice]:
    return [
        Choice(w, 0.5, "mix", proposals=proposed(version, Interval(int(w.timestamps[2]), int(w.timestamps[5]))),
               score=k / 10)
        for k, w in enumerate(windows(count))
    ]


class FakeServer:
    """Stands in for :class:`tsad.review.label_studio.client.Client`: one project, its tasks, a plug, a meter."""

    def __init__(self) -> None:
        self.project: dict[str, Any] | None = None
        self.rows: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self.changed: list[int] = []
        self.dies_after = 10**9
        self.read: list[tuple[str, ...]] = []  # the columns of every task that was read
        self.clock = 0
        self.seen: dict[int, Any] = {}
        self.others: list[int] = []  # further projects of the same title
        self.before_import: Callable[[], None] = lambda: None
        self.tabs: dict[int, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.url = "http://x"
        self.connected: dict[int, dict[str, Any]] = {}

    def find_projects(self, title: str) -> list[dict[str, Any]]:
        self.notice()
        said = [bool(a.get("was_cancelled")) for row in self.rows for a in row["annotations"]]
        counted = {"task_number": len(self.rows), "total_annotations_number": said.count(False),
                   "skipped_annotations_number": said.count(True), "created_at": "2026"}
        others = [{"id": n, "title": title, "task_number": 0} for n in self.others]
        return [*others, {**self.project, **counted}] if self.project else []

    def create_project(self, **fields: Any) -> dict[str, Any]:
        self.project = {"id": 1, **fields}
        return self.project

    def delete_project(self, project: int) -> None:
        self.others.remove(project)

    def update_project(self, project: int, **fields: Any) -> None:
        assert self.project is not None
        self.project |= fields

    def import_tasks(self, project: int, tasks: list[dict[str, Any]]) -> list[int]:
        self.before_import()
        if len(self.calls) >= self.dies_after:
            raise ReviewError("killed")
        self.calls.append(len(tasks))
        return [self.make(task) for task in tasks]

    def make(self, task: dict[str, Any]) -> int:
        self.clock += 1
        number = max((row["id"] for row in self.rows), default=0) + 1
        made: dict[str, Any] = {"id": number, "annotations": [], "drafts": 0, "overlap": 1, "is_labeled": False}
        self.rows.append({**made, "updated_at": self.now(), **json.loads(json.dumps(task))})
        return number

    def notice(self) -> None:
        """Whoever changes the answers of a task changes the time it bears, as on the server."""
        for row in self.rows:
            if row["annotations"] != self.seen.get(row["id"], []):
                self.clock += 1
                row["updated_at"] = self.now()
                self.seen[row["id"]] = json.loads(json.dumps(row["annotations"]))

    def now(self) -> str:
        return f"2026-01-01T{self.clock // 60:02d}:{self.clock % 60:02d}:00.000000Z"

    def answer(self, row: dict[str, Any], result: Any = (), skipped: bool = False, who: Any = 3) -> None:
        self.clock += 1
        said = {"id": self.clock, "completed_by": who, "result": list(result), "was_cancelled": skipped,
                "created_username": "Ann ann@example.org, 3", "updated_at": self.now()}
        row["annotations"].append(said)

    def replace_predictions(self, project: int, predictions: list[dict[str, Any]]) -> None:
        for one in predictions:
            next(r for r in self.rows if r["id"] == one["task"])["predictions"] = [one]

    def delete_untouched(self, project: int, ids: list[int]) -> None:
        self.rows = [r for r in self.rows if r["id"] not in ids or r["annotations"] or r["drafts"]]

    def tasks(self, project: int, columns: Any, conditions: Any = (), ids: Any = None) -> Iterator[dict[str, Any]]:
        for row in [r for r in self.rows if ids is None or r["id"] in ids]:
            shown = self.shown(row)
            if all(self.holds(shown, c) for c in conditions):
                self.read.append(tuple(columns))
                asked = {"id", *columns}  # of the task, and as the server has it of its answers too
                shown["annotations"] = [{k: v for k, v in a.items() if k in asked} for a in row["annotations"]]
                yield {k: v for k, v in shown.items() if k in asked}

    @staticmethod
    def shown(row: dict[str, Any]) -> dict[str, Any]:
        skips = sum(bool(a.get("was_cancelled")) for a in row["annotations"])
        return {"draft_exists": bool(row["drafts"]), "cancelled_annotations": skips, "predictions": [],
                "total_annotations": len(row["annotations"]) - skips, **row}

    @staticmethod
    def holds(row: dict[str, Any], condition: dict[str, Any]) -> bool:
        column = condition["filter"].removeprefix("filter:tasks:")
        value = row["data"].get(column[5:]) if column.startswith("data.") else row[column]
        compare = {"greater": operator.gt, "equal": operator.eq, "in_list": lambda v, among: v in among}
        return bool(compare[condition["operator"]](value, condition["value"]))

    def count_tasks(self, project: int, ids: list[int]) -> int:
        return len({r["id"] for r in self.rows} & set(ids))

    def newest(self, project: int, column: str) -> Any:
        self.notice()
        return max((row[column] for row in self.rows), default=None)

    def find(self, project: int, key: str, values: list[str], columns: Any) -> Iterator[dict[str, Any]]:
        yield from self.tasks(project, columns, [where(f"data.{key}", "in_list", values)])

    def views(self, project: int) -> list[dict[str, Any]]:
        return [{"id": number, "data": view} for number, view in self.tabs.items()]

    def save_view(self, project: int, data: Any, number: int | None = None) -> None:
        self.tabs[len(self.tabs) + 1 if number is None else number] = json.loads(json.dumps(data))

    def set_hotkey(self, action: str, key: str) -> None:
        self.keys[action] = key

    def connections(self, kind: str, project: int) -> list[dict[str, Any]]:
        return [{"id": number, **fields} for number, fields in self.connected.items()]

    def connect(self, kind: str, fields: Any, number: int | None, forbidden: Exception) -> None:
        self.connected[len(self.connected) + 1 if number is None else number] = dict(fields)

    def disconnect(self, kind: str, number: int) -> None:
        self.connected.pop(number, None)

    def task(self, number: int) -> dict[str, Any]:
        return json.loads(json.dumps(self.shown(next(r for r in self.rows if r["id"] == number))))

    def change_task(self, number: int, **fields: Any) -> None:
        self.changed.append(number)
        next(r for r in self.rows if r["id"] == number).update(fields)

    def annotate(self, task: int, result: list[Any]) -> None:
        row = next(r for r in self.rows if r["id"] == task)
        number = 1000 * task + len(row["annotations"])
        row["annotations"].append({"id": number, "completed_by": 1, "result": json.loads(json.dumps(result))})

    def delete_annotation(self, number: int) -> None:
        for row in self.rows:
            row["annotations"] = [a for a in row["annotations"] if a["id"] != number]

    def user(self) -> int:
        return 1


def reviewer(fake: FakeServer, kept: Path | None = None, **options: Any) -> LabelStudioReviewer:
    settings = LabelStudioOptions(**{**dict(OPTIONS), **options})
    client: Any = fake
    made = LabelStudioReviewer(settings, url="http://x", token="t", loop="demo", client=client)
    made.kept = kept
    return made


def test_a_push_goes_out_in_chunks_by_score_and_survives_a_kill() -> None:
    fake, queue = FakeServer(), choices(5)
    fake.dies_after = 2
    with pytest.raises(ReviewError, match="killed"):
        reviewer(fake).push(queue)
    assert len(fake.rows) == 4
    fake.dies_after = 99
    assert reviewer(fake).push(queue) == 1
    assert fake.calls == [2, 2, 1]
    by_score = [c.window.window_id for c in reversed(queue)]
    assert [r["data"]["window_id"] for r in fake.rows] == by_score
    assert {r["data"]["confidence"] for r in fake.rows} == {1.0}  # of the surest interval in each
    assert reviewer(fake).push(queue) == 0
    assert fake.project is not None and fake.project["title"] == "tsad-demo" and fake.project["model_version"] == "m:1"
    assert all("tasks:data.series" in tab["hiddenColumns"]["labeling"] for tab in fake.tabs.values())


def test_a_queue_that_cannot_be_shown_whole_is_not_pushed_in_part() -> None:
    fake, mixed = FakeServer(), choices(4)
    mixed[3] = replace(mixed[3], window=windows(1, "I", "index")[0])
    with pytest.raises(ReviewError, match=r"I has an index and the Label Studio project shows time.*two loops"):
        reviewer(fake).push(mixed)
    assert fake.project is None and fake.rows == []
    reviewer(fake).push(mixed[:3])
    with pytest.raises(ReviewError, match="I has an index"):
        reviewer(fake).push(mixed[3:])


def test_pull_reads_answers_in_the_order_of_the_choices_and_misses_tasks_that_are_gone() -> None:
    fake, queue = FakeServer(), choices(3)
    reviewer(fake).push(queue)
    row = next(r for r in fake.rows if r["data"]["window_id"] == queue[1].window.window_id)
    fake.answer(row, row["predictions"][0]["result"])
    states = [r.state for r in reviewer(fake).pull(queue)]
    assert states == [ReviewState.PENDING, ReviewState.ACCEPTED, ReviewState.PENDING]
    fake.rows.remove(next(r for r in fake.rows if not r["annotations"]))
    with pytest.raises(ReviewError, match=r"1 of 3 tasks are gone from project tsad-demo .*of P1.*tsad push"):
        reviewer(fake).pull(queue)


def test_a_retrained_model_brings_its_own_proposals_to_tasks_that_wait() -> None:
    fake, queue = FakeServer(), choices(2)
    reviewer(fake).push(queue)
    fake.answer(fake.rows[0])
    reviewer(fake).push(choices(2, "m:2"))
    assert [r["predictions"][0]["model_version"] for r in fake.rows] == ["m:1", "m:2"]
    assert [r["data"]["model_version"] for r in fake.rows] == ["m:1", "m:2"], "the list says the version that is shown"
    assert fake.project is not None and fake.project["model_version"] == "m:2"


def test_a_task_that_is_drawn_anew_is_read_in_the_offset_that_it_shows(tmp_path: Path) -> None:
    fake, queue = FakeServer(), choices(2, "m:2")
    reviewer(fake, tmp_path).push(choices(2))  # +08:00
    elsewhere = reviewer(fake, tmp_path, utc_offset="+00:00")
    elsewhere.push(queue)
    fake.answer(fake.rows[0], fake.rows[0]["predictions"][0]["result"])
    states = [r.state for r in reviewer(fake, tmp_path, utc_offset="+00:00").pull(queue)]
    assert sorted(states) == [ReviewState.ACCEPTED, ReviewState.PENDING]


def queue_answered(fake: FakeServer, kept: Path | None, count: int = 6) -> list[Choice]:
    """A queue that was pushed, one window answered, and pulled once."""
    queue = choices(count)
    reviewer(fake, kept).push(queue)
    fake.answer(fake.rows[0])
    reviewer(fake, kept).pull(queue)
    fake.clock += 10  # later than what becomes visible late
    fake.read.clear()
    return queue


def states(fake: FakeServer, kept: Path | None, queue: list[Choice]) -> list[str]:
    """Of the windows in the order of the project's tasks."""
    by_id = {r.window.window_id: str(r.state) for r in reviewer(fake, kept).pull(queue)}
    return [by_id[row["data"]["window_id"]] for row in sorted(fake.rows, key=lambda r: r["id"])]


def test_a_pull_reads_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeServer()
    queue = queue_answered(fake, tmp_path)
    assert states(fake, tmp_path, queue) == ["CORRECTED", *["PENDING"] * 5]
    assert fake.read == [ANSWER], "the answer that was the newest, and it is the same"
    fake.clock += 10
    fake.answer(fake.rows[3], skipped=True)
    fake.read.clear()
    assert states(fake, tmp_path, queue) == ["CORRECTED", "PENDING", "PENDING", "SKIPPED", "PENDING", "PENDING"]
    assert fake.read == [ANSWER] * 2, "that one, and what may have become visible late"
    monkeypatch.setattr(known, "LATE", timedelta())
    reviewer(fake, tmp_path).pull(queue)
    fake.read.clear()
    reviewer(fake, tmp_path).pull(queue)
    assert fake.read == [], "nothing can turn up late any more"
    fake.clock += 10
    fake.answer(fake.rows[4])
    assert states(fake, tmp_path, queue)[4] == "CORRECTED" and fake.read == [ANSWER]
    assert all("data" not in columns for columns in fake.read), "nobody reads a whole series again"
    assert "example.org" not in "".join(p.read_text() for p in tmp_path.iterdir()), "people are known by their ids"


@pytest.mark.parametrize("kept", [True, False])
def test_an_answer_that_was_changed_or_taken_back_is_noticed(tmp_path: Path, kept: bool) -> None:
    fake = FakeServer()
    folder = tmp_path if kept else None
    queue = queue_answered(fake, folder)
    row = fake.rows[0]
    row["annotations"][0] |= {"result": row["predictions"][0]["result"]}
    assert states(fake, folder, queue)[0] == "ACCEPTED"
    row["annotations"].clear()
    fake.seen[row["id"]] = []  # and the task does not even say that it changed
    assert states(fake, folder, queue) == ["PENDING"] * 6
    fake.answer(row)
    assert states(fake, folder, queue)[0] == "CORRECTED"


def test_an_answer_that_a_bulk_action_counts_late_is_noticed(tmp_path: Path) -> None:
    fake = FakeServer()
    queue = queue_answered(fake, tmp_path)
    fake.answer(fake.rows[1])
    fake.rows[1] |= {"total_annotations": 0}  # its counter is brought up to date after the answer is there
    assert states(fake, tmp_path, queue)[1] == "CORRECTED"
    del fake.rows[1]["total_annotations"]
    assert states(fake, tmp_path, queue)[1] == "CORRECTED"


def test_tasks_of_others_deleted_and_made_are_noticed(tmp_path: Path) -> None:
    fake = FakeServer()
    queue = queue_answered(fake, tmp_path)
    double = json.loads(json.dumps({k: fake.rows[2][k] for k in ("data", "predictions")}))
    fake.make(double)
    fake.answer(fake.rows[-1])
    assert states(fake, tmp_path, queue)[2] == "CORRECTED", "of another push, of the same window"
    fake.make({"data": {"window_id": "of another queue"}})
    del fake.rows[1]
    with pytest.raises(ReviewError, match="1 of 6 tasks are gone"):
        reviewer(fake, tmp_path).pull(queue)
    assert reviewer(fake, tmp_path).push(queue) == 1
    assert len(reviewer(fake, tmp_path).pull(queue)) == 6


def test_what_is_kept_may_be_deleted_damaged_or_of_another_project(tmp_path: Path) -> None:
    fake = FakeServer()
    queue = queue_answered(fake, tmp_path)
    (file,) = tmp_path.iterdir()
    good = json.loads(file.read_text())
    for text in ("{", "[]", json.dumps({**good, "form": 0}), json.dumps({**good, "project": [9, "2026"]}), None):
        file.write_text(text) if text is not None else file.unlink()
        assert states(fake, tmp_path, queue) == ["CORRECTED", *["PENDING"] * 5]
        assert json.loads(file.read_text())["windows"].keys() == good["windows"].keys()
    reviewer(fake, tmp_path).pull(queue[:2])
    assert len(json.loads(file.read_text())["windows"]) == 2, "the windows of earlier queues do not add up"
    assert states(fake, tmp_path, queue)[0] == "CORRECTED"


def test_two_pushes_at_once_leave_one_task_per_window(tmp_path: Path) -> None:
    fake, queue = FakeServer(), choices(5)

    def other() -> None:
        fake.before_import = lambda: None
        assert reviewer(fake, tmp_path / "other").push(queue) == 5
        fake.answer(fake.rows[0])

    fake.before_import = other
    reviewer(fake, tmp_path).push(queue)
    assert len(fake.rows) == 5 and len({r["data"]["window_id"] for r in fake.rows}) == 5
    assert states(fake, tmp_path, queue).count("CORRECTED") == 1


def test_a_project_that_label_studio_made_twice_is_one() -> None:
    fake, queue = FakeServer(), choices(2)
    create = fake.create_project

    def twice(**fields: Any) -> dict[str, Any]:
        fake.others.append(2)
        return create(**fields)

    fake.create_project = twice  # type: ignore[method-assign]
    assert reviewer(fake).push(queue) == 2 and fake.others == []

    def lost(**fields: Any) -> dict[str, Any]:
        raise LostCallError("gone", "wait")

    fake = FakeServer()
    fake.create_project = lost  # type: ignore[method-assign]
    with pytest.raises(ReviewError, match="gone"):
        reviewer(fake).push(queue)


def test_a_push_that_lost_its_connection_makes_only_what_did_not_arrive() -> None:
    fake, queue = FakeServer(), choices(5)
    make = fake.import_tasks
    lost = iter((True, False, False, True, False, False, False))

    def flaky(project: int, tasks: list[dict[str, Any]]) -> list[int]:
        if not next(lost):
            return make(project, tasks)
        if fake.rows:  # this time the tasks arrived, the answer did not
            make(project, tasks)
        raise LostCallError("gone", "wait")

    fake.import_tasks = flaky  # type: ignore[method-assign]
    assert reviewer(fake).push(queue) == 5
    assert len(fake.rows) == 5 and len({r["data"]["window_id"] for r in fake.rows}) == 5


def test_withdraw_takes_unanswered_tasks_of_the_push_named() -> None:
    fake, queue = FakeServer(), choices(4)
    reviewer(fake).push(queue[:2])
    reviewer(fake).push([replace(c, proposals=proposed("m:2", *(c.proposal or ()))) for c in queue[2:]])
    fake.answer(fake.rows[0])
    with pytest.raises(ValueError, match="choices, a model version or a push"):
        reviewer(fake).withdraw()
    assert reviewer(fake).withdraw(push_id="m:1") == 1
    assert reviewer(fake).withdraw(queue) == 2
    assert len(fake.rows) == 1


def test_options_that_cannot_be_honoured_are_refused_before_connecting() -> None:
    for change, key in (
        ({"utc_offset": "CET"}, "utc_offset"), ({"chunk": 0}, "chunk"), ({"max_channels": 0}, "max_channels"),
        ({"project": "x" * 51}, "project"),
    ):
        with pytest.raises((ConfigError, ValueError), match=key):
            reviewer(FakeServer(), **change)
    with pytest.raises(ConfigError, match=r"review\.template=nothing\.xml.*timeseries\.xml"):
        find_file("nothing.xml", "template", "*.xml")


def reviewed(kind: Any = "time") -> list[ReviewedWindow]:
    spans = [(0, 3), (), (7, 10)]
    out = []
    for window, span in zip(windows(3, "AC.PV", kind), spans, strict=True):
        ends = [*window.timestamps.tolist(), window.span[1]]
        said = (Interval(ends[span[0]], ends[span[1]], "spike"),) if span else ()
        choice = Choice(window, 1.0, "mix", Purpose.TRAIN, proposed("m:1"))
        out.append(ReviewedWindow(choice, (), ReviewState.CORRECTED, said))
    return out


@pytest.mark.parametrize("kind", ["time", "index"])
def test_an_export_of_ours_is_read_back_exactly(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "export.json"
    windows = reviewed(kind)
    path.write_text(json.dumps(to_label_studio(windows, OPTIONS)))
    assert read_export(path) == {"AC.PV": tuple(i for r in windows for i in r.intervals)}


def test_an_export_of_a_foreign_project_is_read_too(tmp_path: Path) -> None:
    region = {"type": "timeserieslabels", "value": {"start": "2026-01-01 00:05:00", "end": "2026-01-01 00:06:00",
                                                    "timeserieslabels": ["Run"]}}
    tasks = [
        {"id": 1, "data": {"csv": "/data/upload/1/0a1b2c3d-pump 7.csv"}, "annotations": [
            {"result": [], "updated_at": "2026-01-02T00:00:00Z"},
            {"result": [region], "updated_at": "2026-01-03T00:00:00Z"},
            {"result": [], "was_cancelled": True, "updated_at": "2026-01-04T00:00:00Z"},
        ]},
        {"id": 2, "data": {"point_id": "B"}, "annotations": [{"result": []}]},
        {"id": 3, "data": {"point_id": "C"}, "annotations": []},
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    found = read_export(path)
    assert found["B"] == () and "C" not in found
    (interval,) = found["pump 7"]
    assert interval == Interval(START + 5 * MINUTE, START + 6 * MINUTE + 1_000_000_000, "Run")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,value", "cannot be read"),
        ('{"a": 1}', "no list of Label Studio tasks"),
        ('[{"data": {}, "annotations": [{"result": []}]}]', "does not say which point"),
        ('[{"id": 4, "data": {"point_id": "P"}, "annotations": [{"result": [{"type": "timeserieslabels", '
         '"value": {"start": "yesterday", "end": "today"}}]}]}]', "task 4 .* cannot be read"),
    ],
)
def test_what_is_no_export_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(text)
    with pytest.raises(LabelError, match=said):
        read_export(path)
    with pytest.raises(LabelError, match="absent"):
        read_export(tmp_path / "absent.json")


def test_the_embedded_server_keeps_its_secrets_to_itself(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="tsad studio"):
        server.read_token(tmp_path)
    with pytest.raises(ReviewError, match=r"not running.*tsad studio"):
        server.service_url(OPTIONS, tmp_path)
    server.folder(tmp_path).mkdir()
    keys = server._credentials(tmp_path)
    assert server._credentials(tmp_path) == keys and server.read_token(tmp_path) == keys.token
    assert len(keys.token) == 40 and int(keys.token, 16) >= 0
    assert server.credentials_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert keys.token not in repr(keys) and keys.password not in repr(keys)
    assert keys.token not in " ".join(server.command(8080))
    env = server.environment(tmp_path, keys, 8080)
    assert env["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false" and env["LABEL_STUDIO_SENTRY_DSN"] == ""
    server.credentials_file(tmp_path).write_text("{")
    with pytest.raises(ReviewError, match="cannot be read"):
        server.read_token(tmp_path)


def test_the_embedded_server_cannot_leave_this_machine() -> None:
    import subprocess
    import sys

    attempt = """
import socket, urllib.request
with socket.create_server(("127.0.0.1", 0)) as here:
    socket.create_connection(here.getsockname()).close()
socket.getaddrinfo("localhost", 80)
socket.getfqdn("192.0.2.3")  # as a server that listens there calls itself; it puts up with the refusal
for go in (
    lambda: urllib.request.urlopen("http://example.org"),
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.2", 53)),
):
    try:
        go()
    except OSError as error:
        assert "may not leave this machine" in str(error), error
    else:
        raise SystemExit("it left")
"""
    done = subprocess.run([sys.executable, "-c", server.GUARD + attempt], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refused = [line.split()[-1] for line in done.stderr.splitlines()]
    assert refused == ["192.0.2.3", "example.org", "192.0.2.1", "192.0.2.2"]


def test_colleagues_are_let_in_at_this_machine_s_own_address_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = server.Credentials("u", "p", "t")
    private = server.environment(tmp_path, keys, 8080)
    assert private["LABEL_STUDIO_ALLOWED_HOSTS"] == "127.0.0.1,localhost"
    assert private["LABEL_STUDIO_SSRF_PROTECTION_ENABLED"] == private["LABEL_STUDIO_ML_BLOCK_LOCAL_IP"] == "false"
    shared = server.environment(tmp_path, keys, 8081, ("plant-pc", "192.168.1.20"))
    assert shared["LABEL_STUDIO_ALLOWED_HOSTS"] == "plant-pc,192.168.1.20,127.0.0.1,localhost"
    assert shared["LABEL_STUDIO_CSRF_TRUSTED_ORIGINS"] == "http://plant-pc:8081,http://192.168.1.20:8081"
    assert shared["LABEL_STUDIO_HOST"] == "http://plant-pc:8081" and "LABEL_STUDIO_HOST" not in private
    assert shared["LABEL_STUDIO_SSRF_PROTECTION_ENABLED"] == "true", "colleagues reach nothing else here through it"
    assert server.command(8081, "192.168.1.20")[4:] == [
        "--no-browser", "--internal-host", "192.168.1.20", "--port", "8081", "--log-level", "WARNING"
    ]
    assert server.is_open("http://192.168.1.20:8081") and not server.is_open("http://127.0.0.1:8080")
    assert addresses.own_address("localhost") == "127.0.0.1"
    monkeypatch.setattr(server, "require_package", lambda: None)  # the extra may not be installed
    strange = (("0.0.0.0", "every network"), ("192.0.2.77", "no address of this machine"), ("a b", "look up"))
    for host, reason in strange:
        with pytest.raises(ReviewError, match=rf"host={host}.*{reason}.*host=192\.168"):
            server.start(tmp_path, host=host)
    running = {"pid": 1, "created": 1.0, "port": 1, "url": "http://127.0.0.1:1", "address": "127.0.0.1"}
    monkeypatch.setattr(server, "status", lambda home: running)
    with pytest.raises(ReviewError, match=r"runs at http://127\.0\.0\.1:1, which is not 127\.0\.0\.2.*action=stop"):
        server.start(tmp_path, host="127.0.0.2")


def test_status_is_of_the_process_that_was_started_and_no_other(tmp_path: Path) -> None:
    assert server.status(tmp_path) is None and server.stop(tmp_path) is False
    assert "not running" in server.describe(OPTIONS, tmp_path)
    server.folder(tmp_path).mkdir()
    stale = {"pid": 1, "created": 12.0, "port": 1, "url": "http://127.0.0.1:1"}
    (server.folder(tmp_path) / "server.json").write_text(json.dumps(stale))
    assert server.status(tmp_path) is None
    dead = OPTIONS.model_copy(update={"url": "http://127.0.0.1:9/"})
    assert server.describe(dead, tmp_path) == "http://127.0.0.1:9 does not answer"
    assert server.service_url(OPTIONS.model_copy(update={"url": "http://h:1/"}), tmp_path) == "http://h:1"


def test_a_missing_package_and_a_taken_port_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata
    import socket

    with monkeypatch.context() as installed:
        installed.setattr(server, "require_package", lambda: None)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ReviewError, match=f"Port {port} on 127.0.0.1 is taken"):
                server.start(tmp_path, port)
            with pytest.raises(ReviewError, match=f"Port {port} on 127.0.0.2 is taken"):  # it minds localhost's, too
                server.start(tmp_path, port, host="127.0.0.2")
        with addresses.reserved_port("127.0.0.1", (port,)) as held:
            assert held == port
            with pytest.raises(ReviewError, match=f"Port {port} on 127.0.0.1 is taken"):  # by a server about to listen
                server.start(tmp_path, port)
            with addresses.reserved_port("127.0.0.1", (port,)) as other:
                assert other != port, "two starts at once take two"

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(MissingPackageError, match=r"pip install -e '.*\[studio\]'; or name"):
        server.start(tmp_path)
