"""Verbs: thin files that call and present, nothing else in the package prints; every answer is JSON where asked."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from test_layers import PACKAGE, ROOT, imports

import tsad.loop
from tsad import cli
from tsad.config import compose, options_of, settings, workbench
from tsad.core.control import StopRequested
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.core.windows import cut
from tsad.files.locate import shipped
from tsad.loop.common import load_series
from tsad.verbs.console import Console
from tsad.verbs.interrupts import Interrupts
from tsad.verbs.lookup import verb_module

VERBS = options_of("task")
SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=6", "source.points=900", "windows.length=150",
    "sampling.windows=6", "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.9", "tracking.system_metrics=false",
)  # fmt: skip


# --- the house ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", (PACKAGE / "verbs").glob("*.py"), ids=lambda p: p.name)
def test_verbs_say_it_through_their_console(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_one_thin_file(verb: str) -> None:
    path = PACKAGE / "verbs" / f"{verb}.py"
    assert path.is_file()
    for name, _ in imports(path):
        assert name.removeprefix("tsad.verbs.") not in VERBS, f"{verb} imports another verb"
    module = verb_module(verb)
    assert list(inspect.signature(module.run).parameters) == ["bench", "keys", "console"]
    assert issubclass(module.keys_model, Options)
    functions = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    assert "run" in functions and len(path.read_text("utf-8").splitlines()) <= 250


def test_no_stage_is_known_by_its_text_outside_its_module() -> None:
    names = {"DETECT", "PUSH", "DATASET", "WITHDRAW", "TRAIN", "REGISTER", "EVALUATE", "PROMOTE", "REPORT"}
    known: list[str] = []
    for path in [*PACKAGE.glob("loop/*.py"), *PACKAGE.glob("verbs/*.py")]:
        texts = [n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant)]
        known += {t for t in texts if t in names}
    assert sorted(known) == sorted(names), "each in one module"


def test_the_main_path_is_named_and_short() -> None:
    named = [ROOT / name for name in re.findall(r"``(tsad/\S+\.py)``:", tsad.loop.__doc__ or "")]
    assert 2 <= len(named) <= 5 and named[0] == PACKAGE / "cli.py"
    known: set[str] = set()
    for path in named:
        assert path.is_file()
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path != named[0]:
            assert dotted in known or f"{dotted.rpartition('.')[0]}.*" in known, f"nothing before it imports {dotted}"
        known |= {name for name, _ in imports(path)}
        if path == named[0] and "tsad.verbs.lookup" in known:
            known.add("tsad.verbs.*")  # by the verb's name
    text = named[-1].read_text("utf-8")
    assert "registry.promote(" in text, "the path ends where the champion's alias moves"


# --- the console -------------------------------------------------------------------------------------------


def test_a_table_says_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table([{"a": 1.23456, "b": None, "c": True, "d": float("nan"), "e": "x"}], "title")
    out = capsys.readouterr().out
    assert "title" in out and "1.23 " in out and "yes" in out and out.count(" - ") == 2
    Console().table([])
    assert capsys.readouterr().out == ""


def test_beside_json_everything_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    console.say("a line")
    console.table([{"a": 1}])
    said = capsys.readouterr()
    assert said.out == "" and "a line" in said.err and "a" in said.err


# --- every verb as JSON ------------------------------------------------------------------------------------


class Command:
    """``tsad WORDS -o json`` in this process, and what its answer has to be."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = patch, capsys
        self.answered: list[Result] = []
        self.verbs: set[str] = set()
        original = Console.answer

        def answer(console: Console, result: Any, present: Any) -> Any:
            self.answered.append(result)
            return original(console, result, present)

        patch.setattr(Console, "answer", answer)

    def __call__(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        self.verbs.add(words[0])
        self.answered.clear()
        self._patch.setattr(sys, "argv", ["tsad", *words, "-o", "json"])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = self._capsys.readouterr()
        assert (stop.value.code or 0) == code, f"{words}\n{said.out}\n{said.err}"
        lines = [json.loads(line, parse_constant=pytest.fail) for line in said.out.splitlines()]
        assert len(lines) == len(self.answered), said.out
        for line, result in zip(lines, self.answered, strict=True):
            assert type(result).from_json(line) == result, words
            assert line == result.to_json()
        return lines


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> Iterator[Command]:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield Command(monkeypatch, capsys)


def labelled_set(folder: Path) -> Path:
    """One labelled series with bursts."""
    folder.mkdir(parents=True)
    values = np.random.default_rng(0).standard_normal(1200)
    truth = np.zeros(1200, int)
    for start in range(100, 1200, 150):
        values[start : start + 8] += 9
        truth[start : start + 8] = 1
    rows = "\n".join(f"{k},{v:.4f},{y}" for k, (v, y) in enumerate(zip(values, truth, strict=True)))
    (folder / "s.csv").write_text(f"timestamp,value,label\n{rows}\n", "utf-8")
    return folder


def fake_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The MLflow UI and Label Studio as far as their verbs see them."""

    @contextmanager
    def served(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(link="http://127.0.0.1:5000", process=SimpleNamespace(poll=lambda: 0))

    monkeypatch.setattr("tsad.tracking.ui.served", served)
    url = "http://127.0.0.1:8080"
    monkeypatch.setattr("tsad.review.label_studio.server.start", lambda home, port, context, host: url)
    monkeypatch.setattr("tsad.review.label_studio.server.read_credentials", lambda home: SimpleNamespace(user="ann@x"))
    monkeypatch.setattr("tsad.review.label_studio.server.stop", lambda home: True)


@pytest.mark.timeout(900)  # some thirty commands, on machines that are busy
def test_every_verb_answers_in_json(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, empty_store: Path
) -> None:
    (empty,) = command("status")
    assert empty["empty"] is True and empty["loops"] == []
    home.mkdir(exist_ok=True)
    shutil.copy(empty_store, home / "mlflow.db")
    (state,) = command("iterate", *SMALL)
    assert state["ended"] and state["waiting"] is None and len(state["iterations"]) == 1
    assert state["score"] == state["iterations"][0]["scores"]["interval_f1"]
    (status,) = command("status", *SMALL)
    (loop,) = status["loops"]
    assert loop["iteration"]["state"] == "COMPLETED" and loop["iteration"]["started"].endswith("Z")
    assert sum(status["disk"].values()) > 0
    look_at_the_store(command, tmp_path)
    work_on_the_loop(command, tmp_path, monkeypatch)
    measure(command, tmp_path, monkeypatch)
    fake_servers(monkeypatch)
    assert command("ui")[0]["url"] == "http://127.0.0.1:5000"
    assert [command("studio", f"action={a}")[0]["action"] for a in ("start", "status", "stop")] == [
        "start", "status", "stop",
    ]  # fmt: skip
    serve(command, monkeypatch)
    assert command("jobs") == [{"jobs": [], "total": 0}]
    assert "adapter" in command("schema", "of=train")[0]["schemas"]["train"]["properties"]
    assert command.verbs == set(VERBS)


def serve(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    (readiness,) = command("watch", "dry_run=true", *SMALL)
    assert (readiness["loop"], readiness["ready"], readiness["ended"]) == ("demo", False, True)
    (watched,) = command("watch", *SMALL)
    assert watched["completed"] == [] and watched["readiness"]["ended"] is True

    def stop(_: Interrupts) -> None:
        raise StopRequested

    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "safe_point", stop)
        (site,) = command("serve", "port=0", *SMALL)
        (up,) = command("serve", "only=backend", "port=0", *SMALL)
    assert site["url"].startswith("http://127.0.0.1:") and site["open"] is False and "model_version" not in site
    assert up["model_version"] == "tsad-demo-robust_zscore:1" and up["open"] is False
    assert up["url"].startswith("http://127.0.0.1:") and up["token"].endswith("service/token")


def look_at_the_store(command: Command, tmp_path: Path) -> None:
    series = labelled_set(tmp_path / "set")
    csv = ("source=csv", f"source.root={series}", "loop.name=other")
    (ingested,) = command("ingest", *csv)
    assert ingested["series"][0]["points"] == 1200 and ingested["left_out"] == {} and ingested["report_run"]
    (listing,) = command("data", "series=true", *csv)
    assert listing["series"][0]["reviewed"] == 0.0 and listing["source_series"][0]["series"]["last"] == "1199"
    assert listing["datasets"][0]["bytes"] > 0 and listing["exports"] == []
    assert command("data", "action=show", "name=s", *csv)[0]["plot"]["run_id"]
    (registration,) = command("data", "action=register", f"path={series}", *csv)
    assert (registration["files"], registration["points"]) == (1, 1200)
    assert command("data", "action=show", "what=uploads", *csv)[0]["members"][0]["point"] == "s"
    (deletion,) = command("data", "action=delete", "what=uploads", "name=*", "dry_run=false", *csv)
    assert [item["refused"] for item in deletion["items"]] == [False]
    (repaired,) = command("repair", f"folder={series}")
    assert (repaired["applied"], len(repaired["files"])) == (False, 1)
    assert command("clean", "dry_run=true")[0]["freed_entries"] == 1


def work_on_the_loop(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scored,) = command("detect", *SMALL)
    assert scored["series"] == len(scored["rows"]) == 6 and 0 <= scored["rows"][0]["abnormal_share"] <= 1
    explain(command)
    similar(command)
    (history,) = command("detect", "version=none", "since=2000-01-01", "chunk=3650d", *SMALL)
    assert history["chunks"] == len(history["rows"]) and history["points"] > 0
    (evaluation,) = command("evaluate", "versions=[1,champion]", *SMALL)
    assert set(evaluation["scores"]) == {"1", "champion"} and evaluation["metric"] == "interval_f1"
    assert command("train", *SMALL)[0]["training"]["dataset_version"]
    assert command("promote", "version=2", "force=true", *SMALL)[0]["promoted"] is True
    assert command("rollback", *SMALL)[0]["champion"] == 1
    assert command("report", *SMALL)[0]["iterations"][0]["seconds"] > 0
    (export,) = command("export", f"output={tmp_path / 'x.csv'}", *SMALL)
    assert export["rows"] == len((tmp_path / "x.csv").read_text("utf-8").splitlines()) - 1

    def stopped(*_: Any, **__: Any) -> None:
        raise cli.TsadError("no training today", "Wait.")

    with monkeypatch.context() as patch:  # an iteration that stays open, with a queue
        patch.setattr("tsad.loop.train.fit", stopped)
        assert command("iterate", "loop.name=open", *SMALL, code=1) == []
    (reviews,) = command("review", "loop.name=open", *SMALL)
    assert reviews["iteration"] == 1 and len(reviews["windows"]) == 6
    (pushed,) = command("push", "loop.name=open", *SMALL)
    assert 0 < pushed.pop("proposed") <= 6
    assert pushed == {"iteration": 1, "created": 6, "withdrawn": 0, "queued": 6, "gold_queued": 0}
    assert sum(command("pull", "loop.name=open", *SMALL)[0]["dataset"]["states"].values()) == 6


def explain(command: Command) -> None:
    """What a version makes of a window is told in words, whether it proposes anything there or not."""
    series = load_series(workbench(settings(compose(list(SMALL)))))[0]
    window = cut(series, 150)[1]
    (told,) = command("explain", f"of={window.window_id}", *SMALL)
    stretch = told["stretches"][0]
    assert stretch["proposed"] is (stretch["probability"] >= stretch["threshold"]) and stretch["reasons"]
    at = f"{series.point_id}@{stretch['start']}"
    (again,) = command("explain", f"of={at}", "language=zh", *SMALL)
    assert again["stretches"][0]["start"] == stretch["start"] and "数值" in again["stretches"][0]["reasons"][0]
    (by_name,) = command("explain", f"of={window.window_id}", "loop.name=demo")
    assert by_name == told, "source, detector and windows are the loop's own"
    assert command("explain", "of=0123456789abcdef", *SMALL, code=1) == []
    assert command("explain", f"of={series.point_id}@1999-01-01", *SMALL, code=1) == []


def similar(command: Command) -> None:
    """What looks like a window is among the others, whole windows or candidates."""
    series = load_series(workbench(settings(compose(list(SMALL)))))[0]
    window = cut(series, 150)[1]
    (alike,) = command("similar", f"of={window.window_id}", "nearest=3", *SMALL)
    assert alike["model_version"] == "" and len(alike["nearest"]) == 3 and alike["run"]
    away = [row["distance"] for row in alike["nearest"]]
    assert away == sorted(away) and window.window_id not in [row["window"] for row in alike["nearest"]]
    assert command("similar", "of=0123456789abcdef", *SMALL, code=1) == []


def measure(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pretrain(options: Any, folder: Path, *, check: Any, **_: Any) -> dict[str, float]:
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_text("{}", "utf-8")
        check(folder, {"steps": 1.0, "validation_auc_pr": 0.5})
        return {"steps": 1.0, "validation_auc_pr": 0.5, "loss": float("nan")}

    sets = f"sets=[{tmp_path / 'set'}]"
    out = f"output={tmp_path / 'out'}"
    (board,) = command("benchmark", sets, "detectors=[robust_zscore]", out, "resamples=20", "loop.name=other")
    assert board["means"][-1]["set"] == "mean" and 0 <= board["means"][-1]["vus_pr"] <= 1
    small = ("reviews=[2]", "seeds=1", "resamples=20", "rotations=1", "detector=robust_zscore", "windows.length=128")
    (curve,) = command("learning_curve", sets, out, *small, "loop.name=other")
    assert curve["sets"] == ["set"] and 0 <= curve["score"] <= 1
    monkeypatch.setattr("tsad.detectors.patch.pretrain.pretrain", pretrain)  # has tests of its own
    weights = tmp_path / "weights"
    (pretrained,) = command("pretrain", f"output={weights}", "steps=1", "loop.name=other")
    assert pretrained["folder"] == str(weights)
    assert pretrained["metrics"] == {"steps": 1.0, "validation_auc_pr": 0.5, "loss": None}


def test_every_key_of_every_verb_is_in_its_model() -> None:
    for verb in VERBS:
        values = yaml.safe_load((shipped("conf") / "task" / f"{verb}.yaml").read_text("utf-8")) or {}
        assert set(values) == set(verb_module(verb).keys_model.model_fields)


# --- sweeps, errors, people --------------------------------------------------------------------------------


def test_a_sweep_is_a_line_per_run(command: Command) -> None:
    lines = command("-m", "clean", "dry_run=true", "older_than_days=1,2")
    assert len(lines) == 2 and [line["dry_run"] for line in lines] == [True, True]


def test_an_error_is_json_on_standard_error(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, name, found in (
        (["rollback", "loop.name=none"], "RegistryError", "previous"),
        (["trian"], "ConfigError", "unknown verb trian"),
        (["studio", "port=70000"], "OptionsError", "port is 70000"),
        (["studio", "action=stat"], "OptionsError", "action is 'stat'"),
    ):
        monkeypatch.setattr(sys, "argv", ["tsad", "-o", "json", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        error = json.loads(said.err.splitlines()[-1])
        assert (stop.value.code, said.out) == (1, "")
        assert error["error"] == name and found in error["found"] and set(error) == {"error", "found", "remedy"}


def test_a_form_of_output_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tsad", "-o", "yaml", "status"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: -o yaml is no form of output. It takes text or json.\n"


def test_o_is_no_part_of_the_config_and_goes_anywhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []
    module = verb_module("export")
    monkeypatch.setattr(module, "run", lambda bench, keys, console: seen.append((bench, keys)) or Waits())
    for words in (["-o", "json", "export"], ["export", "-o=json"], ["export", "-o", "text"]):
        monkeypatch.setattr(sys, "argv", ["tsad", *words, "output=x.csv", "source=synthetic"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 3, "people have to act"
    for bench, keys in seen:
        assert bench.overrides == ("source=synthetic",) and keys.output == "x.csv"
        assert "json" not in bench.config_yaml
    assert len(seen) == 3 and capsys.readouterr().out == ""


class Waits(Result):
    """An answer that waits for people."""

    @property
    def people_have_to_act(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("line", "offered"),
    [("tsad status -o ", "json text"), ("tsad -o j", "json"), ("tsad status -o json --mul", "--multirun")],
)
def test_o_is_completed(
    line: str, offered: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setattr(sys, "argv", ["tsad", "-sc", "query=bash"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == offered + "\n"


def test_help_says_the_exit_codes(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tsad", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    out = capsys.readouterr().out
    assert "-o json" in out and "0 done, 1 error, 3 people have to review first, 130 interrupted" in out
