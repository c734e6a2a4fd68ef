"""A job's training is heard: from the tuner's steps to the events of its folder, and to the service's log."""

# ruff: noqa: F401, F811  (fixtures are imported by name)

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import test_trainer
from jobs_kit import Said, at_work, board
from test_jobs_board import submitted

from tsad.core.context import Context
from tsad.core.labels import labels
from tsad.jobs.board import JobBoard
from tsad.jobs.logs import log_file
from tsad.service.counts import counted
from tsad.service.fanout import Fanout
from tsad.service.prometheus import Figures
from tsad.service.tail import pages


def test_what_training_tells_becomes_events_of_the_job(
    board: JobBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsad.core.pulse.SECONDS", 0.0)
    job = submitted(board)
    with at_work(board, job) as work:
        test_trainer.run(tmp_path, context=Context(listener=work.listener), patience=99)
        work.answered(Said())
    told = [told for page in pages(job, board.folder(job).events_file, 0, 1000) for told in page]
    steps = [event.values["step"] for event in told if event.kind == "metrics"]
    assert steps == list(range(1, 21))
    assert {"step", "step_loss", "learning_rate", "grad_norm"} <= set(told[1].values)
    assert [event.state for event in told if event.state] == ["running", "succeeded"]
    assert [event.id for event in told] == list(range(1, len(told) + 1))


def test_what_a_job_says_is_in_the_service_s_log_with_its_ids(board: JobBoard) -> None:
    job = submitted(board)
    logging.getLogger("tsad").setLevel(logging.INFO)
    with at_work(board, job) as work:
        logging.getLogger("tsad").info("half way")
        work.answered(Said())
    (line,) = [json.loads(text) for text in log_file(board.home).read_text().splitlines() if "half way" in text]
    assert (line["job"], line["loop"]) == (job, board.bench.loop.name)
    assert labels() == {}


def test_prometheus_is_told_of_jobs_and_queues(board: JobBoard) -> None:
    submitted(board)
    fanout = Fanout(board.home, lambda job: board.get(job).state)
    text = Figures(counted(board, fanout)).text().decode()
    for line in ('tsad_jobs{state="pending"} 1.0', 'tsad_jobs{state="failed"} 0.0', "tsad_listeners 0.0",
                 'tsad_queue_depth{queue="cpu"} 1.0', 'tsad_up{part="queues"} 1.0'):  # fmt: skip
        assert line in text.splitlines()


def test_a_call_that_is_no_job_tells_nobody() -> None:
    from tsad.core.control import Silent, Switch
    from tsad.jobs.working import JobAtWork

    assert JobAtWork(Silent(), Switch()).listener is None
