"""The command: verbs, sweeps, completion, one clear line per error."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml

from tsad import __version__, cli
from tsad.command.overrides import is_override, own_options, with_verb
from tsad.config import GROUPS, compose, options_of, settings
from tsad.config.manual import also, examples, manual
from tsad.config.validation import validated
from tsad.config.workbench import Workbench
from tsad.core import environment
from tsad.core.errors import ConfigError, StorageError
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.files.locate import shipped
from tsad.verbs.console import Console
from tsad.verbs.lookup import verb_module
from tsad.verbs.status import StatusKeys

ROOT = Path(__file__).resolve().parents[1]
VERBS = options_of("task")
HEAVY = ("torch", "mlflow", "transformers", "peft", "pandas", "matplotlib", "sklearn", "scipy", "evaluate", "numpy")


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Answer]
GIVEN = {"sets": ["x"], "output": "x", "folder": "x"}  # what YAML leaves to the user


@dataclass(frozen=True, eq=False)
class Rank(Result):
    """What the verbs of this file's ``calls`` answer."""

    rank: int
    waits: bool = False

    @property
    def optimised(self) -> float | None:
        return float(self.rank)

    @property
    def people_have_to_act(self) -> bool:
        return self.waits


@pytest.fixture
def run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """``run("train", "adapter.r=4")`` in an empty working directory, in this process."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("HYDRA_FULL_ERROR", "COMP_LINE", *environment.SILENCED, *environment.OFFLINE):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    logger = logging.getLogger("tsad")
    before = (list(logger.handlers), logger.level, logger.propagate)

    def call(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tsad", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        code = stop.value.code
        return Answer(code if isinstance(code, int) else 0, said.out, said.err)

    yield call
    logger.handlers[:], logger.level, logger.propagate = before
    assert list(here.iterdir()) == [], "nothing is written where the user stands"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Workbench, dict[str, Any]]]:
    """Every verb replaced by one that only notes how it was called and answers with ``adapter.r``."""
    made: list[tuple[str, Workbench, dict[str, Any]]] = []
    real = cli.verb_module

    def fake(verb: str) -> Any:
        def function(bench: Workbench, keys: Options, console: Console) -> Rank:
            made.append((verb, bench, keys.model_dump()))
            return console.answer(Rank(bench.adapter.r), lambda *_: None)

        return SimpleNamespace(keys_model=real(verb).keys_model, run=function)

    monkeypatch.setattr(cli, "verb_module", fake)
    return made


# --- verbs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_task_yaml_and_signature_agree(verb: str) -> None:
    text = (shipped("conf") / "task" / f"{verb}.yaml").read_text("utf-8")
    values = yaml.safe_load(text) or {}
    assert text.startswith("# @package _global_\n# "), "the second line says what the verb does"
    model = verb_module(verb).keys_model
    assert issubclass(model, Options) and set(values) == set(model.model_fields)
    validated(model, values, partial=True)
    for line in text.splitlines()[2:]:
        assert line == "{}" or line.startswith(("#", " ", "-")) or " # " in line, f"{verb}: {line!r} has no comment"


def test_a_bare_verb_is_short_for_its_task(run: Run, calls: list[Any]) -> None:
    assert run("promote", "force=true", "adapter.r=16", "source=synthetic").code == 0
    assert run("task=promote", "force=true", "source=synthetic").code == 0
    assert [(verb, arguments["force"]) for verb, _, arguments in calls] == [("promote", True)] * 2
    assert calls[0][1].adapter.r == 16 and calls[0][1].overrides == ("adapter.r=16", "source=synthetic")


def test_no_verb_is_status(run: Run, calls: list[Any]) -> None:
    assert run().code == 0
    assert run("experiment=demo").code == 0
    assert [verb for verb, *_ in calls] == ["status", "status"]


def test_words_that_are_no_overrides() -> None:
    verbs = ["train", "status", "detect"]
    assert with_verb(["-m", "train", "a.b=1"], verbs) == ["-m", "task=train", "a.b=1"]
    assert with_verb(["a.b=1", "-m", "train"], verbs) == ["-m", "a.b=1", "task=train"]
    assert with_verb(["train", "--cfg", "job"], verbs) == ["--cfg", "job", "task=train"]
    assert with_verb(["--cfg=job", "+x=1", "~windows"], verbs) == ["--cfg=job", "+x=1", "~windows"]
    assert with_verb(["train", "task=train"], verbs) == ["task=train", "task=train"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "unknown verb trian. Did you mean train? Verbs: benchmark, clean"),
        (["train", "push"], "two verbs: train and push"),
        (["train", "task=push"], "two verbs: train and push"),
        (["/data/plant"], "unknown verb /data/plant. Verbs:"),
        (["--multi"], "unknown option --multi. Did you mean --multirun?"),
        (["train", "new=true"], "unknown key new"),
        (["train", "+new=true"], "train has no key new"),
        (["evaluate", "versions=3"], "versions is 3 (int). It takes a list"),
        (["adapter.r=abc"], "adapter.r is 'abc' (str). It takes a whole number"),
        (["adapter.rr=1"], "unknown key adapter.rr. Did you mean adapter.r?"),
        (["experiment=demmo"], "there is no experiment 'demmo'. Did you mean demo?"),
        (["review=simulated", "gold=people"], "gold asks people (PeopleGold), and review is SimulatedReviewer"),
        (["source.root=a", "source.password=hunter2"], "source.password holds a secret"),
        (["-m", "adapter.r=4,8,x"], "adapter.r is 'x' (str)"),
    ],
)
def test_one_clear_line(run: Run, words: list[str], said: str) -> None:
    answer = run(*words)
    assert answer.code == 1 and answer.out == ""
    assert answer.err.startswith("error: ") and answer.err.count("\n") == 1
    assert said in answer.err and "hunter2" not in answer.err


# --- sweeps, values, where things lie ----------------------------------------------------------------------


@pytest.mark.parametrize("words", [["-m", "train", "adapter.r=4,8"], ["train", "adapter.r=4,8", "-m"]])
def test_multirun_goes_anywhere(run: Run, calls: list[Any], home: Path, words: list[str]) -> None:
    answer = run(*words, "source=synthetic")
    assert answer.code == 0, answer.err
    assert [(verb, bench.adapter.r) for verb, bench, _ in calls] == [("train", 4), ("train", 8)]
    assert len(list((home / "sweeps").iterdir())) == 1


def test_values_arrive_as_typed(run: Run, calls: list[Any]) -> None:
    roots = ["/数据/厂 (二)/a=b", r"C:\data\x y", "a (b)"]
    for root in roots:
        assert run("source=csv", f"source.root={root}").code == 0
    assert [bench.source_config["root"] for _, bench, _ in calls] == roots


def test_nothing_is_written_but_in_the_store(run: Run, calls: list[Any], home: Path) -> None:
    assert run("train", "source=synthetic", "adapter.r=3").code == 0
    written = [p for p in home.rglob("*") if p.is_file()]
    assert written == [], "Hydra keeps no copy of the overrides and no log"


def test_a_secret_variable_is_not_read_into_the_overrides(
    run: Run, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    assert run("tracking.uri=postgresql://u:${oc.env:DB_PASSWORD}@h/db").code == 0
    bench = calls[0][1]
    assert bench.tracking.uri == "postgresql://u:hunter2@h/db"
    assert "hunter2" not in bench.config_yaml + "".join(bench.overrides)


def test_cfg_job_prints_the_config(run: Run) -> None:
    answer = run("train", "adapter.r=3", "--cfg", "job")
    assert answer.code == 0 and yaml.safe_load(answer.out)["adapter"]["r"] == 3


# --- errors ------------------------------------------------------------------------------------------------


def failing(error: BaseException) -> Callable[[str], Any]:
    def function(bench: Workbench, keys: Options, console: Console) -> None:
        raise error

    return lambda verb: SimpleNamespace(keys_model=StatusKeys, run=function)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StorageError("disk full\nat /x", "Free some."), 1, "error: disk full at /x. Free some.\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "error: /x/y: Permission denied\n"),
        (ZeroDivisionError("by 0"), 1, "error: ZeroDivisionError: by 0 (tsad -v shows where)\n"),
        (KeyboardInterrupt(), 130, "error: interrupted. Go on with the same command\n"),
    ],
)
def test_exit_codes(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    monkeypatch.setattr(cli, "verb_module", failing(error))
    answer = run("status")
    assert (answer.code, answer.err) == (code, line)


def test_v_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "verb_module", failing(StorageError("disk full")))
    answer = run("-v", "status")
    assert answer.code == 1 and "Traceback" in answer.err and answer.err.endswith("error: disk full\n")


def test_a_verb_without_a_step(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown verb nothing"):
        verb_module("nothing")
    with pytest.raises(ConfigError, match="unknown verb console"):
        verb_module("console")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = f"{sys.executable} -m tsad --cfg job | head -1"
    environment = {**os.environ, "TSAD_HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", code], cwd=ROOT, capture_output=True, env=environment)
    assert done.returncode == 0 and done.stderr == b""


# --- help and completion -----------------------------------------------------------------------------------


def test_help_lists_every_verb_and_group(run: Run) -> None:
    answer = run("--help")
    assert answer.code == 0 and answer.err == ""
    for verb in VERBS:
        assert f"  {verb} " in answer.out
    for group in ("source", "detector", "adapter", "threshold", "review", "sampling", "gold", "tracking", "experiment"):
        for option in options_of(group):
            assert option in answer.out


def test_help_of_a_verb_shows_its_keys(run: Run) -> None:
    answer = run("promote", "--help")
    assert "  force=false " in answer.out and "@package" not in answer.out
    assert run("trian", "-h").code == 1
    with_iotdb = run("detect", "source=iotdb", "--help").out
    assert "source.paths=" in with_iotdb and "source.glob" not in with_iotdb and "threshold.default=" in with_iotdb


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_two_examples_that_could_be_typed(verb: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    typed = [shlex.split(line) for line in examples(verb)]
    assert len(typed) >= 2
    for program, *words in typed:
        overrides = [word for word in with_verb(own_options(words).words, VERBS) if is_override(word)]
        assert program == "tsad" and f"task={verb}" in {*overrides, "task=status"}
        settings(compose(overrides), overrides, verb_module(verb).keys_model, verb)
    for name in also(verb):
        group, _, key = name.partition(".")
        assert group in GROUPS and (not key or f"{name}=" in manual(verb, [], 80)), name


@pytest.mark.parametrize("width", [80, 120])
def test_help_wraps_at_words(run: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for words in ([], *([verb] for verb in VERBS)):
        lines = run(*words, "--help").out.splitlines()
        long = [line for line in lines if len(line) > width]
        assert all(len(line.split()) == 1 for line in long), long  # a path of the machine, a list


@pytest.mark.parametrize(
    ("words", "typed"),
    [(["export"], "Type e.g. output=reviewed.csv (file to write)"), (["repair"], "Type e.g. folder=/data/exchange"),
     (["benchmark", "output=x"], "Type e.g. 'sets=[../shared/data/NAB]'")],
)  # fmt: skip
def test_what_is_not_set_says_what_to_type(run: Run, words: list[str], typed: str) -> None:
    assert typed in run(*words).err


def test_version(run: Run) -> None:
    assert run("--version").out == f"tsad {__version__}\n"


@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("tsad ", ["train", "status", "detector=", "adapter."], []),
        ("tsad tr", ["train", "tracking="], ["status"]),
        ("tsad train ", ["adapter.", "detector="], ["status"]),
        ("tsad train adapter.l", ["adapter.learning_rate="], []),
        ("tsad promote for", ["force="], []),
        ("tsad -m iterate experiment=d", ["experiment=demo"], ["experiment=nab"]),
        ("tsad task=tr", ["task=train"], ["task=push"]),
        ("tsad nonsense loop.name=数( detector=", ["detector=patch"], []),
    ],
)
def test_completion(
    run: Run, monkeypatch: pytest.MonkeyPatch, line: str, wanted: list[str], unwanted: list[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    answer = run("-sc", "query=bash")
    offered = answer.out.split()
    assert answer.code == 0 and set(wanted) <= set(offered) and not set(unwanted) & set(offered)


def test_completion_script(run: Run) -> None:
    assert "complete -o nospace" in run("-sc", "install=bash").out


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["-sc", "query=bash"], ["--cfg", "job"]])
def test_answers_at_once(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        f"sys.argv[1:] = {words!r}\n"
        "from tsad.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)\n"
        "print(time.process_time(), file=sys.stderr)\n"
    )
    environment = {**os.environ, "TSAD_HOME": str(tmp_path), "COMP_LINE": "tsad train adapter."}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment, check=True
    )
    heavy, seconds = done.stderr.splitlines()[-2:]
    assert heavy == "" and float(seconds) < 1.5, "processor seconds, interpreter included"


def test_telemetry_is_off() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1" and os.environ["HF_HUB_OFFLINE"]
