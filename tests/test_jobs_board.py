"""Jobs: submitted exactly once, claimed, watched, stopped, found again after a kill."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jobs_kit import SMALL, Said, at_work, awaited, board, died, emptied, states, taken_file  # noqa: F401 - a fixture

from tsad.config.workbench import Workbench
from tsad.core.control import Silent, StopRequested, Switch
from tsad.core.errors import (
    ConfigError,
    JobError,
    JobRefusedError,
    QueueError,
    StorageError,
    TooManyJobsError,
    TrackingError,
    TsadError,
    UnknownJobError,
)
from tsad.core.options.service import due_at
from tsad.files.locate import shipped
from tsad.jobs import devices, words
from tsad.jobs.board import JobBoard, Submitted
from tsad.jobs.courier import PROGRESS, carrying, leave
from tsad.jobs.dispatch import Dispatcher
from tsad.jobs.folder import Asked, JobFolder, Progressing
from tsad.jobs.queues import JobQueues
from tsad.jobs.recovery import Exit, in_hand, recover, settle, taking
from tsad.jobs.schedules import Timetable
from tsad.jobs.stranded import Stranded
from tsad.jobs.working import BUSY, SLOT_VARIABLE, VARIABLE, JobAtWork, JobCall, NotOurs, working
from tsad.tracking.jobs import JobRuns, NewJob
from tsad.verbs.asking import Asking

# ruff: noqa: F811 - the fixture is imported


def submitted(board: JobBoard, verb: str = "ingest", *overrides: str) -> str:
    return board.submit(verb, overrides or SMALL).job.id


# ---- submission


def test_a_job_is_complete_in_mlflow_before_it_waits(board: JobBoard) -> None:
    made = board.submit("ingest", SMALL)
    assert made.new and made.job.state == "pending" and made.job.overrides == SMALL and made.job.loop == "default"
    assert made.job.to_json()["created"].endswith("+00:00") and made.job.started is None and made.job.exit == ""
    run = board.runs.store.client.get_run(made.job.id)
    assert run.info.status == "SCHEDULED" and json.loads(run.data.params["overrides"]) == list(SMALL)
    assert run.data.tags["tsad.kind"] == "job" and run.data.params["verb"] == "ingest"
    assert emptied(board) == [made.job.id]
    assert board.runs.store.loops() == []  # the experiment of jobs is no loop


def test_the_same_is_one_job_while_it_is_open(board: JobBoard) -> None:
    first = board.submit("ingest", SMALL)
    again = board.submit("ingest", SMALL)
    assert again.job.id == first.job.id and not again.new
    assert board.submit("ingest", [*SMALL, "source.seed=2"]).new
    assert board.submit("clean", []).new
    with at_work(board, first.job.id) as work:
        assert board.submit("ingest", SMALL).job.state == "running"
        work.answered(Said())
    later = board.submit("ingest", SMALL)
    assert later.new and later.job.id != first.job.id


def test_ten_clients_at_once_get_one_job(board: JobBoard) -> None:
    board.runs.experiment_id  # noqa: B018 - opened before they race
    start, made = threading.Barrier(10), []

    def post() -> None:
        start.wait()
        made.append(board.submit("ingest", SMALL))

    threads = [threading.Thread(target=post) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(made) == 10 and len({one.job.id for one in made}) == 1 and sum(one.new for one in made) == 1
    assert len(emptied(board)) == 1 and board.list()[1] == 1


def test_a_key_is_one_job_for_ever(board: JobBoard) -> None:
    first = board.submit("ingest", SMALL, key="night shift")
    with at_work(board, first.job.id) as work:
        work.answered(Said())
    again = board.submit("ingest", SMALL, key="night shift")
    assert again.job.id == first.job.id and not again.new and again.job.state == "succeeded"
    assert board.submit("ingest", SMALL, key="day shift").new
    with pytest.raises(JobError, match="this key was given to job"):
        board.submit("clean", [], key="night shift")
    board.delete(first.job.id)
    with pytest.raises(JobError, match=f"this key was given to job {first.job.id}, which was deleted"):
        board.submit("ingest", SMALL, key="night shift")  # a late repetition does not begin it anew


@pytest.mark.parametrize("first", ["", "morning"])
def test_a_key_for_a_job_that_is_open_already_is_that_job_for_ever(board: JobBoard, first: str) -> None:
    made = board.submit("ingest", SMALL, key=first)
    for key in ("noon", "evening"):
        again = board.submit("ingest", SMALL, key=key)
        assert again.job.id == made.job.id and not again.new
    with at_work(board, made.job.id) as work:
        work.answered(Said())
    for key in (*([first] if first else []), "noon", "evening"):
        assert board.submit("ingest", SMALL, key=key).job.id == made.job.id
    with pytest.raises(JobError, match="this key was given to job"):
        board.submit("clean", [], key="noon")
    assert board.submit("ingest", SMALL).new


def test_long_overrides_are_kept_whole(board: JobBoard) -> None:
    words = [*SMALL, f"points=[{','.join(f'AC6403B{number}.PV' for number in range(120))}]"]
    job = board.submit("detect", words).job
    assert list(job.overrides) == words == list(board.get(job.id).overrides)


def test_a_flood_is_refused(stocked: None, bench: Callable[..., Workbench]) -> None:
    board = JobBoard(bench("service.pending=3"), Asking())
    for seed in range(3):
        board.submit("ingest", [*SMALL, f"source.seed={seed}"])
    with pytest.raises(TooManyJobsError, match="3 jobs wait already"):
        board.submit("ingest", [*SMALL, "source.seed=9"])
    assert not board.submit("ingest", [*SMALL, "source.seed=0"]).new  # what waits already is no flood
    board.stop(board.list()[0][0].id)
    assert board.submit("ingest", [*SMALL, "source.seed=9"]).new
    board.close()


REFUSED = {
    "no verb": ("trian", [], "no verb 'trian'"),
    "serves": ("serve", [], "serve makes no job"),
    "waits for ever": ("watch", [], "watch makes no job"),
    "unknown key": ("ingest", ["source.rood=x"], "source.rood"),
    "wrong type": ("ingest", ["adapter.r=many"], "adapter.r"),
    "secret": ("iterate", ["review.token=abcdef"], "holds a secret"),
    "secret in a URL": ("ingest", ["source=sql", "source.url=postgresql://me:pa55@localhost/x"], "holds a secret"),
    "foreign class": ("detect", ["detector._target_=os.system"], "names a class"),
    "foreign class inside": ("detect", ["detector={_target_: subprocess.Popen}"], "names a class"),
    "hydra": ("ingest", ["hydra.run.dir=/tmp"], "for who starts the service"),
    "hydra group": ("ingest", ["hydra/launcher=basic"], "for who starts the service"),
    "another store": ("ingest", ["tracking.uri=sqlite:////tmp/x.db"], "for who starts the service"),
    "the service's own": ("ingest", ["service.roots=[/]"], "for who starts the service"),
    "option": ("ingest", ["--cfg=job"], "no key=value"),
    "multirun": ("ingest", ["-m"], "no key=value"),
    "bare word": ("ingest", ["train"], "no key=value"),
    "adds a key": ("ingest", ["+x=1"], "adds or removes"),
    "removes a key": ("ingest", ["~source"], "no key=value|adds or removes"),
    "reads the environment": ("ingest", ["loop.name=${oc.env:HOME}"], "reads something else"),
    "a variable by name": ("iterate", ["review.token_env=AWS_SECRET"], "names a variable"),
    "a variable inside": ("detect", ["detector.engine={token_env: HOME}"], "names a variable"),
    "a variable in a group": ("detect", ["engine={name: openai, token_env: HOME}"], "names a variable"),
    "a variable in a list": ("detect", ["detector.members=[{engine: {token_env: HOME}}]"], "names a variable"),
    "file": ("ingest", ["source=csv", "source.root=/etc"], "outside"),
    "in what extends a list": ("ingest", ["source=csv", "source.glob=extend_list(../../etc,/etc)"], "outside"),
    "relative file": ("ingest", ["source=csv", "source.root=../.."], "outside"),
    "home": ("ingest", ["source=csv", "source.root=~/.ssh"], "outside"),
    "here": ("ingest", ["source=csv", "source.root=conf"], "outside"),
    "glob": ("ingest", ["source=csv", "source.root=/etc/*.csv"], "outside"),
    "in a list": ("learning_curve", ["sets=[/etc/x]", "output=/tmp/x"], "outside"),
    "quoted": ("ingest", ["source=csv", "source.root='/etc'"], "outside"),
    "in a mapping": ("ingest", ["source=csv", "source={root: /etc}"], "outside|no source"),
    "output": ("export", ["output=out.jsonl"], "outside"),
    "database file": ("ingest", ["source=sql", "source.url=sqlite:////etc/passwd"], "outside"),
    "another server": ("iterate", ["review.url=http://elsewhere.example"], "a secret of the service could go"),
    "another engine": ("detect", ["engine=openai", "engine.url=http://elsewhere.example"], "a secret of the service"),
    "a YAML elsewhere": ("ingest", ["source=../../tmp/evil"], "there is no source"),
    "an experiment elsewhere": ("ingest", ["experiment=../local/default"], "there is no experiment"),
    "two lines": ("ingest", ["loop.name=a\nb"], "no key=value"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_not_be_asked_is_named(case: str, board: JobBoard) -> None:
    verb, overrides, found = REFUSED[case]
    with pytest.raises(ConfigError, match=found):
        board.submit(verb, overrides)
    assert board.list() == ([], 0)


def test_a_link_does_not_lead_out_of_the_roots(stocked: None, bench: Callable[..., Workbench], tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "way").symlink_to(outside)
    board = JobBoard(bench(f"service.roots=[{inside}]"), Asking())
    words = ["source=csv", f"source.root={inside}"]
    assert board.submit("ingest", words).new
    for path in (inside / "way", inside / ".." / "outside", outside, tmp_path / "inside2"):
        with pytest.raises(JobRefusedError, match="outside"):
            board.submit("ingest", ["source=csv", f"source.root={path}"])
    uploads = board.home / "service" / "uploads" / "abc"
    assert board.submit("ingest", ["source=csv", f"source.root={uploads}"]).new
    board.close()


def test_a_pattern_leads_nowhere_else(stocked: None, bench: Callable[..., Workbench], tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    board = JobBoard(bench(f"service.roots=[{root}]"), Asking())
    assert board.submit("ingest", ["source=csv", f"source.root={root}/*/plant*.csv"]).new
    for path in (f"{root}/**/../../etc/*.conf", f"{root}/*/..", f"{root}/a[b]/../../x", f"{root}/?/..\\..\\x"):
        for word in (f"source.root={path}", f"source={{root: '{path}'}}"):
            with pytest.raises(ConfigError, match=r"a pattern that goes up|no source"):
                board.submit("ingest", ["source=csv", word])
    assert board.submit("export", [f"output={root}/a/../x.csv"]).new
    for path in (f"{root}/*/../../home/u/.bashrc", f"{root}/x*.csv", f"{root}/x[1]"):
        with pytest.raises(JobRefusedError, match="a pattern to write to"):
            board.submit("export", [f"output={path}"])
    board.close()


def test_a_database_is_where_its_address_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    monkeypatch.chdir(tmp_path)
    words.check_paths([f"source.url=sqlite:///{root}/plant.db"], [root], [], frozenset())
    words.check_paths(["source.url=sqlite:///data/plant.db"], [root], [], frozenset())
    refused = (f"sqlite://{root}/x.db", "sqlite:////etc/x.db", "sqlite:///x.db", f"sqlite:///{root}/../x.db",
               f"sqlite:///file:{root}/x.db", "sqlite:///data/../x.db")  # fmt: skip
    for url in refused:
        with pytest.raises(JobRefusedError):
            words.check_paths([f"source.url={url}"], [root], [], frozenset())


def test_what_a_job_may_read_it_may_not_write(stocked: None, bench: Callable[..., Workbench], tmp_path: Path) -> None:
    board = JobBoard(bench("source=csv", f"source.root={tmp_path}"), Asking())
    upload = board.home / "service" / "uploads" / "abc"
    for folder in (tmp_path, upload):
        assert board.submit("ingest", ["source=csv", f"source.root={folder}"]).new
        with pytest.raises(JobRefusedError, match="outside"):
            board.submit("export", [f"output={folder}"])
        with pytest.raises(JobRefusedError, match="outside"):
            board.submit("repair", [f"folder={folder}", "apply=true"])
    assert board.submit("export", [f"output={board.home / 'service' / 'exports' / 'a.csv'}"]).new
    board.close()


def test_what_the_services_own_config_has_is_allowed(
    stocked: None, bench: Callable[..., Workbench], tmp_path: Path
) -> None:
    board = JobBoard(bench("source=csv", f"source.root={tmp_path}"), Asking())
    assert board.submit("ingest", ["source=csv", f"source.root={tmp_path}"]).new
    with pytest.raises(JobRefusedError):
        board.submit("ingest", ["source=csv", f"source.root={tmp_path / 'x'}"])
    board.close()


def test_names_that_ship_with_tsad_are_no_files(board: JobBoard) -> None:
    assert board.submit("detect", ["detector=chatts_tiny", "detector.weights=chatts_tiny", *SMALL]).new
    assert board.submit("ingest", ["experiment=demo"]).new
    assert board.submit("train", ["adapter=none", "adapter.start_from=base", "sampling=mix", *SMALL]).new
    assert board.submit("iterate", ["loop.name=plant 7", "review.url=http://127.0.0.1:8080"]).new


def test_every_key_that_names_a_file_is_known() -> None:
    told = re.compile(r"folders? (for|of|that|with|where)|file (to|in)|a (PNG |CSV )?file|a CSV|where the files")
    line = re.compile(r"^\s*(?P<key>\w+):.*?#\s*(?P<comment>.*)$")
    keys = set()
    for path in sorted(shipped("conf").rglob("*.yaml")):
        matches = map(line.match, path.read_text(encoding="utf-8").splitlines())
        keys |= {match["key"] for match in matches if match and told.search(match["comment"])}
    assert {"root", "output", "weights", "path"} <= keys and keys <= words.PATHS


def test_training_goes_to_the_gpu_that_has_least_to_do(board: JobBoard) -> None:
    board.gpus = ("0", "3")
    queues = [board.submit("train", [f"adapter.seed={seed}"]).job.queue for seed in range(3)]
    assert queues == ["gpu0", "gpu1", "gpu0"]
    assert board.submit("ingest", SMALL).job.queue == "cpu"
    board.gpus = ()
    assert board.submit("train", ["adapter.seed=9"]).job.queue == "cpu"


def test_a_job_for_a_gpu_that_is_gone_is_moved(board: JobBoard) -> None:
    board.gpus = ("0", "1")
    first, second = (board.submit("train", [f"adapter.seed={seed}"]).job for seed in range(2))
    assert (first.queue, second.queue) == ("gpu0", "gpu1")
    board.gpus, stranded = ("0",), Stranded(board)  # as its service is started again
    assert stranded.rescue(0.0) == stranded.rescue(59.0) == []
    with taking(board, second.id):  # another service has that GPU
        assert stranded.rescue(61.0) == []
    assert stranded.rescue(62.0) == [] and stranded.rescue(122.0) == [second.id]
    assert board.get(second.id).queue == "gpu0" and emptied(board, "gpu0") == [first.id, second.id]
    assert stranded.rescue(300.0) == []
    board.gpus = ()
    stranded.rescue(400.0)
    assert set(stranded.rescue(500.0)) == {first.id, second.id} == set(emptied(board))
    assert board.get(first.id).queue == "cpu"


def test_where_hosts_share_the_queue_a_job_says_what_it_waits_for(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.gpus = ("0",)
    job = board.submit("train", []).job
    board.gpus, stranded = (), Stranded(board)
    monkeypatch.setattr(JobQueues, "shared", True)
    stranded.rescue(0.0)
    assert stranded.rescue(99.0) == [] and board.get(job.id).queue == "gpu0"
    assert board.get(job.id).exit.startswith("waits for gpu0, which ")
    board.runs.begin(job.id, "1 0.00")
    assert board.get(job.id).exit == ""


def test_gpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert devices.gpus() == ["2", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: x)'\necho 'GPU 1: NVIDIA H200 (UUID: y)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert devices.gpus() == ["0", "1"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert devices.gpus() == []


# ---- the job's process


def test_a_job_that_ends_well(board: JobBoard) -> None:
    job_id = submitted(board)
    with at_work(board, job_id) as work:
        assert board.get(job_id).state == "running"
        with work.progress.task("reading", 4) as done:
            done(1)
            time.sleep(0.6)
            done(2)
            progress = board.get(job_id).progress
            assert progress is not None and progress.parts[0].to_json() == {"name": "reading", "total": 4, "count": 2}
            assert progress.rate and progress.seconds_left
        work.progress.note("half way")
        work.answered(Said("fine"))
    job = board.get(job_id)
    assert (job.state, job.exit, job.answer) == ("succeeded", "succeeded", {"words": "fine", "waits": False})
    assert job.attempt == 1 and job.seconds is not None and job.progress is None and job.error is None
    assert states(board, job_id) == ["running", "succeeded"]
    assert [e.values["text"] for e in board.folder(job_id).events() if e.kind == "note"] == ["half way"]
    run = board.runs.store.client.get_run(job_id)
    kept = {file.path for file in board.runs.store.client.list_artifacts(job_id)}
    assert run.info.status == "FINISHED" and {"answer.json", "events.jsonl"} <= kept
    board.folder(job_id).answer.unlink()
    assert board.get(job_id).answer == job.answer  # as kept with the run


def test_a_job_that_people_have_to_go_on_with_has_succeeded(board: JobBoard) -> None:
    job_id = submitted(board)
    with at_work(board, job_id) as work:
        work.answered(Said(waits=True))
    assert (board.get(job_id).state, board.get(job_id).exit) == ("succeeded", "people have to review first")


def test_errors_are_kept_with_their_remedy(board: JobBoard, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = submitted(board)
    with pytest.raises(TsadError), at_work(board, job_id):
        raise ConfigError("adapter.r is 0", "Give another.")
    job = board.get(job_id)
    assert job.state == "failed" and job.exit == "adapter.r is 0. Give another."
    assert job.error == {"code": "ConfigError", "message": "adapter.r is 0", "remedy": "Give another."}
    board.retry(job_id)
    with pytest.raises(ZeroDivisionError), at_work(board, job_id):
        print(1 / 0)
    job = board.get(job_id)
    assert job.error is not None and job.error["code"] == "ZeroDivisionError" and job.attempt == 2
    assert "ZeroDivisionError" in capsys.readouterr().err  # where it happened: in the log


@pytest.mark.parametrize("sign", ["x", '"', "\n", "\0", "警"])
def test_a_long_error_is_cut_and_hides_no_job(board: JobBoard, sign: str) -> None:
    job_id = submitted(board)
    record = board.runs.require(job_id)
    board.runs.end(job_id, "failed", "long", {"code": "E", "message": sign * 9000, "remedy": sign * 9000})
    error = board.get(job_id).error
    assert error is not None and error["code"] == "E" and {error["message"][:1], error["remedy"][:1]} == {sign}
    assert record.id == board.list()[0][0].id
    client = board.runs.store.client
    client.set_tag(job_id, "tsad.job.error", '{"code": "E", "mess')  # of an earlier version
    client.set_tag(job_id, "tsad.job.state", "running")
    client.set_tag(job_id, PROGRESS, '{"at": "2026')
    client.log_param(job_id, "claim.JOB.1", "elsewhere/abc 1 token 1.0")
    assert board.get(job_id).error is None and board.get(job_id).progress is None and board.counts()["running"] == 1


def test_one_process_works_on_a_job(board: JobBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.jobs.working.LOCK_SECONDS", 0.1)
    job_id = submitted(board)
    with at_work(board, job_id) as work:
        with pytest.raises(NotOurs) as refused, at_work(board, job_id):
            raise AssertionError("it works on it, too")
        assert refused.value.code == BUSY
        work.answered(Said())
    with pytest.raises(NotOurs), at_work(board, job_id):
        raise AssertionError("it has ended")


def test_it_stops_where_nothing_is_lost(board: JobBoard) -> None:
    job_id = submitted(board)
    with pytest.raises(StopRequested), at_work(board, job_id) as work:
        work.control.safe_point()
        assert board.stop(job_id).asked == "stop"
        time.sleep(0.25)
        work.control.safe_point()
        raise AssertionError("it goes on")
    job = board.get(job_id)
    assert (job.state, job.exit, job.asked) == ("stopped", "stopped by request", "")
    assert board.runs.store.client.get_run(job_id).info.status == "KILLED"
    with pytest.raises(JobError, match="has ended"):
        board.stop(job_id)


def test_it_pauses_and_goes_on(board: JobBoard) -> None:
    job_id = submitted(board)
    board.pause(job_id)
    passed = threading.Event()

    def job() -> None:
        with at_work(board, job_id) as work:
            work.control.safe_point()
            passed.set()
            work.answered(Said())

    thread = threading.Thread(target=job)
    thread.start()
    assert awaited(lambda: board.get(job_id).state == "paused") and not passed.is_set()
    board.resume(job_id)
    thread.join(20)
    assert passed.is_set() and states(board, job_id) == ["running", "paused", "running", "succeeded"]


def test_what_fails_while_it_is_stopped_is_stopped(board: JobBoard) -> None:
    job_id = submitted(board)
    with pytest.raises(ConfigError), at_work(board, job_id):
        board.stop(job_id)
        raise ConfigError("a helper of it ended")
    assert (board.get(job_id).state, board.get(job_id).error) == ("stopped", None)


def test_a_paused_job_can_be_stopped(board: JobBoard) -> None:
    job_id = submitted(board)
    board.pause(job_id)
    threading.Timer(0.5, board.stop, [job_id]).start()
    with pytest.raises(StopRequested), at_work(board, job_id) as work:
        work.control.safe_point()
    assert board.get(job_id).state == "stopped"


def test_a_checkpoint_is_asked_once(board: JobBoard) -> None:
    job_id = submitted(board)
    with at_work(board, job_id) as work:
        assert not work.control.checkpoint_asked()
        board.checkpoint(job_id)
        time.sleep(0.25)
        assert work.control.checkpoint_asked() and not work.control.checkpoint_asked()
        work.answered(Said())


@pytest.mark.parametrize("what", ["stop", "pause"])
def test_who_asks_for_checkpoints_first_hears_of_the_rest_too(board: JobBoard, what: str) -> None:
    """As training does at every step: the look for a checkpoint is not the one that a stop needs."""
    job_id = submitted(board)
    with pytest.raises(StopRequested), at_work(board, job_id) as work:
        getattr(board, what)(job_id)
        if what == "pause":
            threading.Timer(0.6, board.stop, [job_id]).start()
        for _ in range(20):
            time.sleep(0.21)  # longer than what a look stands for
            work.control.checkpoint_asked()
            work.control.safe_point()
    assert states(board, job_id) == ["running", *(["paused", "running"] if what == "pause" else []), "stopped"]


def test_a_signal_from_elsewhere_is_no_end(board: JobBoard) -> None:
    job_id = submitted(board)
    for _ in range(4):  # more often than attempts count
        signals = Switch()
        with pytest.raises(StopRequested), at_work(board, job_id, signals) as work:
            signals.stop()
            work.control.safe_point()
        job = board.get(job_id)
        assert job.state == "pending" and job.exit == "interrupted; it goes on"
        emptied(board)
        assert settle(board, job_id, Exit(130, job.attempt - 1))  # as its process ends
        assert emptied(board) == [job_id]
    with at_work(board, job_id) as work:
        work.answered(Said())
    assert board.get(job_id).attempt == 5


def test_a_job_asked_to_stop_before_it_begins_does_not_begin(board: JobBoard) -> None:
    job_id = submitted(board)
    assert board.stop(job_id).state == "stopped"
    with pytest.raises(NotOurs), at_work(board, job_id):
        raise AssertionError("it begins")


def test_who_listens_hears_of_a_stop_before_the_beginning_and_of_another_begin(board: JobBoard) -> None:
    job_id = submitted(board)
    board.stop(job_id)
    assert states(board, job_id) == ["stopped"]
    board.retry(job_id)
    assert states(board, job_id) == ["stopped", "pending"]
    with at_work(board, job_id) as work:
        work.answered(Said())
    assert states(board, job_id) == ["stopped", "pending", "running", "succeeded"]
    other = submitted(board)
    board.folder(other).ask(stop=True)  # while its process starts
    with pytest.raises(NotOurs), at_work(board, other):
        raise AssertionError("it begins")
    assert states(board, other) == ["stopped"]


def test_grandchildren_do_not_inherit_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for call in (JobCall("abc", "cpu.0"), JobCall("abc", "cpu.0", shared=True)):
        for name, value in call.environment().items():
            monkeypatch.setenv(name, value)
        assert JobCall.of_process() == call

    assert VARIABLE not in os.environ and SLOT_VARIABLE not in os.environ and JobCall.of_process() is None


# ---- what was lost


def test_a_job_that_was_never_queued_is_queued(board: JobBoard) -> None:
    job_id = submitted(board)
    assert recover(board) == []  # it waits
    assert emptied(board) == [job_id]  # taken by a service that is killed then
    assert recover(board) == [job_id] and recover(board) == []
    assert emptied(board) == [job_id]


def test_a_killed_job_is_begun_again_so_many_times(board: JobBoard) -> None:
    job_id = submitted(board)
    for attempt in range(1, 4):
        emptied(board)
        died(board, job_id)
        assert board.get(job_id).state == "running"
        assert recover(board) == ([job_id] if attempt < 3 else [])
    job = board.get(job_id)
    assert (job.state, job.exit, job.attempt) == ("failed", "was killed 3 times", 3)
    assert emptied(board) == []
    assert board.retry(job_id).state == "pending" and emptied(board) == [job_id]  # and counts from none again
    died(board, job_id)
    assert recover(board) == [job_id]


def test_the_signal_is_told(board: JobBoard) -> None:
    job_id = submitted(board)
    emptied(board)
    assert settle(board, job_id, Exit(130, 0)) and board.get(job_id).exit == ""  # before it was begun
    emptied(board)
    died(board, job_id)
    assert settle(board, job_id, Exit(-9, 0))
    assert "killed by signal 9 (out of memory, or by hand)" in board.get(job_id).exit
    died(board, job_id)
    settle(board, job_id, Exit(-9, 1))
    died(board, job_id)
    settle(board, job_id, Exit(-9, 2))
    assert board.get(job_id).exit == "was killed 3 times (signal 9)"


def test_a_process_that_is_killed_before_it_begins_is_no_endless_loop(board: JobBoard) -> None:
    job_id = submitted(board)
    assert not settle(board, job_id, Exit(-9, 0, 1)) and board.get(job_id).state == "pending"  # it waits already
    assert not settle(board, job_id, Exit(-9, 0, 3))
    assert board.get(job_id).exit == "was killed 3 times (signal 9)"


def test_a_process_that_ends_before_it_begins_tells_why_by_its_log(board: JobBoard) -> None:
    job_id = submitted(board)
    log = board.folder(job_id).log
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text('--- attempt 1\nwarning\n{"error": "ConfigError", "found": "no file", "remedy": "Make it."}\n')
    settle(board, job_id, Exit(1, 0))
    job = board.get(job_id)
    assert job.state == "failed" and job.error == {"code": "ConfigError", "message": "no file", "remedy": "Make it."}
    board.retry(job_id)
    log.write_text("Segmentation fault\n")
    settle(board, job_id, Exit(1, 0))
    assert board.get(job_id).exit == "its process ended and said: Segmentation fault"


@pytest.mark.parametrize("code", ["TrackingError", "StorageError", "QueueError"])
def test_an_outage_before_a_job_begins_is_not_its_end(board: JobBoard, code: str) -> None:
    job_id = submitted(board)
    log = board.folder(job_id).log
    log.parent.mkdir(parents=True, exist_ok=True)
    said = json.dumps({"error": code, "found": "it does not answer", "remedy": "Start it."})
    log.write_text(f"--- attempt 1, now\n{said}\n")
    for starts in (1, 2):
        emptied(board)
        assert settle(board, job_id, Exit(1, 0, starts)) and board.get(job_id).state == "pending"
        assert emptied(board) == [job_id]
    assert not settle(board, job_id, Exit(1, 0, 3))
    job = board.get(job_id)
    assert job.state == "failed" and job.error is not None and job.error["code"] == code
    board.retry(job_id)
    died(board, job_id)
    settle(board, job_id, Exit(1, 0, 1))  # it had begun: that was no start
    assert board.get(job_id).state == "failed"
    board.retry(job_id)
    log.write_text(f"--- attempt 1, now\n{said}\n--- attempt 2, now\nSegmentation fault\n")
    settle(board, job_id, Exit(1, 1, 1))
    assert board.get(job_id).exit == "its process ended and said: Segmentation fault"


def test_a_job_that_was_begun_again_at_once_is_not_ended_by_its_first_process(board: JobBoard) -> None:
    job_id = submitted(board)
    with pytest.raises(ConfigError), at_work(board, job_id):
        raise ConfigError("adapter.r is 0")
    board.retry(job_id)  # before its dispatcher has seen that its process is gone
    settle(board, job_id, Exit(1, 0))
    assert board.get(job_id).state == "pending"
    settle(board, job_id, Exit(1, 1))  # its second process could not begin
    assert board.get(job_id).state == "failed"


def test_what_was_answered_is_not_done_again(board: JobBoard) -> None:
    job_id = submitted(board)
    died(board, job_id)
    JobAtWork(Silent(), Switch(), job_id, JobFolder(board.home, job_id)).answered(Said("mine", waits=True))
    assert recover(board) == []
    job = board.get(job_id)
    assert (job.state, job.exit) == ("succeeded", "people have to review first")
    assert job.answer == {"words": "mine", "waits": True}


def test_a_stop_that_a_kill_came_before_is_a_stop(board: JobBoard) -> None:
    job_id = submitted(board)
    died(board, job_id)
    JobFolder(board.home, job_id).ask(stop=True)
    assert recover(board) == [] and board.get(job_id).state == "stopped"


def test_what_lives_is_left_alone(board: JobBoard) -> None:
    job_id = submitted(board)
    emptied(board)
    with at_work(board, job_id) as work:
        assert recover(board) == [] and board.get(job_id).state == "running"
        work.answered(Said())
    other = submitted(board)
    emptied(board)
    with taking(board, other):  # its process is just starting
        assert in_hand(board, other) and recover(board) == []
    taken_file(board.home, other).write_text("1 0.00")  # of a service that is gone
    assert not in_hand(board, other) and recover(board) == [other]


def test_half_made_runs_go_and_statuses_follow(board: JobBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submitted(board)
    draft = board.runs.create_run("ingest", {"tsad.kind": "job"})
    assert board.get(job_id) and board.list()[1] == 1 and board.runs.get(draft) is None
    recover(board)
    assert board.runs.store.client.get_run(draft).info.lifecycle_stage == "active"  # it may be being made
    monkeypatch.setattr("tsad.jobs.recovery.DRAFT_SECONDS", 0.0)
    client = board.runs.store.client
    client.set_tag(job_id, "tsad.job.state", "failed")  # killed before the status
    recover(board)
    assert client.get_run(draft).info.lifecycle_stage == "deleted" and client.get_run(job_id).info.status == "FAILED"


def test_another_hosts_job_is_alive_while_its_heart_beats(board: JobBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = submitted(board)
    here = board.runs.place
    board.runs.place = "elsewhere/abc"
    died(board, job_id)
    board.runs.place = here
    assert recover(board) == [] and board.get(job_id).host == "elsewhere"
    with pytest.raises(NotOurs), at_work(board, job_id):
        raise AssertionError("it is taken from the other host")
    emptied(board)
    board.runs.lease = 0.0
    assert recover(board) == [job_id]


@pytest.mark.parametrize("end", ["answer", "error", "signal"])
def test_an_attempt_that_lost_its_lease_leaves_the_newer_one_alone(board: JobBoard, end: str) -> None:
    job_id, signals, there = submitted(board), Switch(), JobRuns(board.runs.store)
    there.place, there.lease = "there/2", 0.0
    with suppress(StopRequested, ConfigError), at_work(board, job_id, signals) as work:
        with there.claimed(there.require(job_id)):  # this process was not heard of for a lease
            there.begin(job_id, "1 0.00")
        if end == "error":
            raise ConfigError("adapter.r is 0")
        if end == "signal":
            signals.stop()
            work.control.safe_point()
        work.answered(Said())
    job = board.get(job_id)
    assert (job.state, job.attempt, job.host, job.ended) == ("running", 2, "there", None)
    assert not board.runs.store.client.list_artifacts(job_id)
    there.end(job_id, "succeeded", "succeeded")
    assert board.get(job_id).state == "succeeded"


def test_another_host_is_asked_by_the_run_and_says_how_far_it_is(
    stocked: None, bench: Callable[..., Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsad.jobs.courier.SECONDS", 0.05)
    board = JobBoard(bench("service.queue=redis://127.0.0.1:1/0"), Asking())
    record = board.runs.create(NewJob("ingest", SMALL, "default", "cpu", "digest"))
    there = JobRuns(board.runs.store)  # the same store, and folders of another host
    there.place, folder = "there/2", JobFolder(tmp_path / "elsewhere", record.id)
    with carrying(there, folder, record.id, True):
        folder.write_progress(Progressing("2026-11-30T00:00:00+00:00", (), 2.0, 7.0))
        board.pause(record.id)
        assert awaited(lambda: folder.asked().pause)
        board.resume(record.id)
        board.checkpoint(record.id)
        assert awaited(lambda: not folder.asked().pause and folder.asked().checkpoints == 1)
        assert awaited(lambda: board.runs.require(record.id).tags.get(PROGRESS))
        board.runs.begin(record.id, "1 0.00")
        progress = board.get(record.id).progress
        assert progress is not None and progress.seconds_left == 7.0
    board.close()


def test_a_job_of_a_shared_queue_hears_other_hosts_without_its_address(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's own config does not name the queue: what its service was started with is not in its command line."""
    monkeypatch.setattr("tsad.jobs.courier.SECONDS", 0.05)
    job_id, there = submitted(board), JobRuns(board.runs.store)
    there.place, signals = "there/2", Switch()
    assert board.bench.service.queue == ""
    call: Any = working(JobCall(job_id, "", shared=True), board.bench, Silent(), signals)  # type: ignore[arg-type]
    with pytest.raises(StopRequested), call as work:
        leave(there, job_id, Asked(stop=True))
        assert awaited(lambda: board.folder(job_id).asked().stop)
        time.sleep(0.25)
        work.control.safe_point()
    assert board.get(job_id).state == "stopped"


def test_a_job_keeps_the_service_s_log_as_the_service_does(
    stocked: None, bench: Callable[..., Workbench], tmp_path: Path
) -> None:
    own = ("service.log_mb=3.5", "service.logs=2", "service.queue=redis://:pa55@127.0.0.1:1/0")
    board = JobBoard(bench(*own), Asking())
    record = board.runs.create(NewJob("ingest", SMALL, "default", "cpu", "digest"))
    words = Dispatcher(board)._words(record)
    assert words[: len(SMALL) + 1] == ["ingest", *SMALL] and words[-2:] == ["service.log_mb=3.5", "service.logs=2"]
    assert not any("pa55" in word for word in words)
    board.verbs.check("ingest", words[1:])
    board.close()


# ---- afterwards


def test_only_ended_jobs_are_deleted_and_only_failed_ones_begun_again(board: JobBoard) -> None:
    job_id = submitted(board)
    with pytest.raises(JobError, match="has not ended"):
        board.delete(job_id)
    with pytest.raises(JobError, match="is pending"):
        board.retry(job_id)
    board.stop(job_id)
    with pytest.raises(JobError, match="does the same and is pending"):
        board.submit("ingest", SMALL)
        board.retry(job_id)
    board.delete(job_id)
    assert not board.home.joinpath("service", "jobs", job_id).exists()
    for act in (board.get, board.stop, board.retry, board.delete, board.log, board.pause):
        with pytest.raises(UnknownJobError):
            act(job_id)
    with pytest.raises(UnknownJobError):
        board.get("0" * 32)


def test_jobs_are_found_by_what_they_are(board: JobBoard) -> None:
    ids = [submitted(board, "ingest", *SMALL, f"source.seed={seed}", f"loop.name=l{seed % 2}") for seed in range(4)]
    board.stop(ids[0])
    jobs, total = board.list(limit=2)
    assert total == 4 and [job.id for job in jobs] == ids[:1:-1]
    assert [job.id for job in board.list(limit=2, offset=2)[0]] == ids[1::-1]
    assert [job.id for job in board.list(state="stopped")[0]] == ids[:1]
    assert {job.id for job in board.list(loop="l1")[0]} == {ids[1], ids[3]}
    assert board.list(verb="train") == ([], 0) and board.list(loop="it's") == ([], 0)
    assert board.counts() | {"pending": 3, "stopped": 1} == board.counts()
    assert board.named(ids[2][:12]) == ids[2]
    with pytest.raises(UnknownJobError, match="no job has an id"):
        board.named("zz")


# ---- by the clock


def test_what_is_due_is_submitted_once(stocked: None, bench: Callable[..., Workbench]) -> None:
    due = "{cron: '*/5 6 * * 1-5', verb: ingest, overrides: [source=synthetic, source.points=300]}"
    wrong = "{cron: '0 6 * * *', verb: serve}"
    made = bench(f"service.schedules=[{due},{wrong}]")
    board, other = JobBoard(made, Asking()), JobBoard(made, Asking())
    before = datetime(2026, 11, 30, 5, 59, 40, tzinfo=UTC)  # a Monday
    timetable, second = Timetable(board, before), Timetable(other, before)
    assert timetable.submit_due(before) == []
    (job_id,) = timetable.submit_due(before + timedelta(seconds=30))
    assert second.submit_due(before + timedelta(seconds=30)) == [job_id]  # the other service of the store
    assert timetable.submit_due(before + timedelta(minutes=1)) == []
    assert timetable.submit_due(before) == []  # the clock was set back
    assert timetable.submit_due(before + timedelta(seconds=30)) == [job_id]
    with at_work(board, job_id) as work:
        work.answered(Said())
    (later,) = timetable.submit_due(before + timedelta(minutes=7))
    assert later != job_id and board.get(later).verb == "ingest"
    assert timetable.submit_due(before + timedelta(hours=30)) == []  # a night asleep: five minutes are made up for
    for one in (board, other):
        one.close()


@pytest.mark.parametrize("outage", [TrackingError("x"), QueueError("x"), StorageError("x"), TooManyJobsError("x")])
def test_what_was_due_in_an_outage_is_made_up_for(
    stocked: None, bench: Callable[..., Workbench], monkeypatch: pytest.MonkeyPatch, outage: TsadError
) -> None:
    due = "service.schedules=[{cron: '0 6 * * *', verb: ingest},{cron: '1 6 * * *', verb: clean}]"
    board = JobBoard(bench(due), Asking())
    before, submit = datetime(2026, 11, 30, 5, 59, 40, tzinfo=UTC), board.submit
    timetable, tried = Timetable(board, before), []

    def hindered(verb: str, *words: object) -> Submitted:
        tried.append(verb)
        if verb == "ingest" and len(tried) < 3:
            raise outage
        return submit(verb, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(board, "submit", hindered)
    assert timetable.submit_due(before + timedelta(minutes=1)) == []
    (clean,) = timetable.submit_due(before + timedelta(minutes=2))
    ingest, again = timetable.submit_due(before + timedelta(minutes=3))
    assert tried == ["ingest", "ingest", "clean", "ingest", "clean"] and again == clean != ingest
    assert timetable.submit_due(before + timedelta(minutes=4)) == []
    board.close()


def test_a_clock_goes_on_after_a_fault(
    stocked: None, bench: Callable[..., Workbench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    board = JobBoard(bench("service.schedules=[{cron: '0 0 1 1 *', verb: ingest}]"), Asking())
    stop, looks = threading.Event(), []

    def look(_: datetime) -> list[str]:
        looks.append(1)
        if len(looks) == 2:
            stop.set()
        raise ZeroDivisionError

    timetable = Timetable(board, datetime.now(UTC))
    monkeypatch.setattr(timetable, "submit_due", look)
    monkeypatch.setattr(stop, "wait", lambda _: stop.is_set())
    timetable.follow(stop)
    assert len(looks) == 2 and "ZeroDivisionError" in caplog.text
    board.close()


def test_times_of_cron_are_checked(bench: Callable[..., Workbench]) -> None:
    assert due_at("0 6 * * *", datetime(2026, 1, 1, 6, 0, tzinfo=UTC))
    assert not due_at("0 6 * * *", datetime(2026, 1, 1, 6, 1, tzinfo=UTC))
    for cron in ("0 6 * *", "61 * * * *", "x * * * *", "*/0 * * * *", "@daily"):
        with pytest.raises(ConfigError, match=r"service\.schedules.*is no time of cron"):
            bench(f"service.schedules=[{{cron: '{cron}', verb: ingest}}]")
    with pytest.raises(ConfigError, match="overides"):
        bench("service.schedules=[{cron: '* * * * *', verb: ingest, overides: []}]")


def test_a_timetable_ends_with_its_service(stocked: None, bench: Callable[..., Workbench]) -> None:
    board = JobBoard(bench("service.schedules=[{cron: '0 0 1 1 *', verb: ingest}]"), Asking())
    stop = threading.Event()
    thread = threading.Thread(target=Timetable(board, datetime.now(UTC)).follow, args=(stop,))
    thread.start()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    board.close()


def test_what_the_service_was_started_with_is_its_jobs_too(stocked: None, bench: Callable[..., Workbench]) -> None:
    own = ("source=synthetic", "source.series=2", "loop.name=plant", "threshold.default=0.9")
    board = JobBoard(bench(*own), Asking())
    try:
        job = board.submit("detect", ["loop.name=other", *SMALL]).job
    finally:
        board.close()
    assert job.loop == "other"
    assert job.overrides == ("threshold.default=0.9", "loop.name=other", *SMALL)


def test_lists_follow_what_others_do(board: JobBoard, bench: Callable[..., Workbench]) -> None:
    other = JobBoard(board.bench, Asking())
    first = board.submit("ingest", SMALL).job.id
    assert [job.id for job in board.list()[0]] == [first]
    second = other.submit("clean", []).job.id
    with at_work(other, first) as work:
        assert [job.state for job in board.list()[0]] == ["pending", "running"]
        work.answered(Said())
    third = other.submit("ingest", SMALL).job.id
    other.stop(third)  # begun and ended between two looks
    assert [(job.id, job.state) for job in board.list()[0]] == [
        (third, "stopped"), (second, "pending"), (first, "succeeded"),
    ]  # fmt: skip
    other.stop(second)
    other.delete(second)  # open when it was seen
    assert [job.id for job in board.list()[0]] == [third, first]
    board.delete(first)
    assert [job.id for job in board.list()[0]] == [third]
    other.retry(third)
    assert [job.state for job in board.list()[0]] == ["pending"]
    other.close()
