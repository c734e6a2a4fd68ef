"""What a job's process and the service tell each other by files."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tsad.core.errors import StorageError
from tsad.jobs.folder import Asked, JobFolder, Progressing, ProgressPart


def test_nothing_is_there_before_something_is_said(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "abc1")
    assert folder.asked() == Asked() and folder.progress() is None and folder.events() == []
    assert not folder.path.exists()


def test_commands_add_up(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "abc1")
    folder.ask(pause=True)
    folder.ask(checkpoint=True)
    folder.ask(pause=False, checkpoint=True)
    assert JobFolder(tmp_path, "abc1").asked() == Asked(stop=False, pause=False, checkpoints=2)
    assert folder.ask(stop=True).stop


def test_progress_is_the_last_that_was_said(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "abc1")
    said = Progressing("2026-11-30T00:00:00+00:00", (ProgressPart("training", 60, 12),), 2.0, 24.0)
    folder.write_progress(Progressing("2026-11-29T00:00:00+00:00"))
    folder.write_progress(said)
    assert JobFolder(tmp_path, "abc1").progress() == said


def test_events_are_numbered_over_attempts_and_half_a_line_is_none(tmp_path: Path) -> None:
    first = JobFolder(tmp_path, "abc1")
    assert [first.append("metrics", {"loss": 0.5}), first.append("note", {"text": "wärmer"})] == [1, 2]
    with first.events_file.open("ab") as file:
        file.write(b'{"id": 3, "at": "2026')  # killed in the middle of a line
    assert [e.id for e in first.events()] == [1, 2]
    second = JobFolder(tmp_path, "abc1")
    assert second.append("metrics", {"loss": float("nan")}) == 3
    later = second.events(after=1)
    told = [(2, "note", {"text": "wärmer"}), (3, "metrics", {"loss": None})]
    assert [(e.id, e.kind, dict(e.values)) for e in later] == told
    assert [e.id for e in second.events(limit=2)] == [1, 2]


def test_an_event_that_the_disk_took_half_of_takes_no_other_with_it(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "abc1")
    assert folder.append("note", {"text": "one"}) == 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (folder.events_file.stat().st_size + 10, before[1]))  # as a full disk
    try:
        with pytest.raises(StorageError):
            folder.append("note", {"text": "two"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert folder.events_file.read_bytes().rpartition(b"\n")[2]  # half a line is there
    assert [folder.append("note", {"text": "three"}), folder.append("note", {"text": "four"})] == [2, 3]
    assert [event.values["text"] for event in folder.events()] == ["one", "three", "four"]


def test_an_id_is_no_path(tmp_path: Path) -> None:
    for name in ("../x", "a/b", "", "a.b"):
        with pytest.raises(ValueError, match="no id of a job"):
            JobFolder(tmp_path, name)
