"""Language models behind a server: what is asked, how sure an answer is, and every fault by its name."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from served_kit import Stub, answer, stub

from tsad.config import Settings, compose, settings, workbench
from tsad.config.destinations import check_destinations
from tsad.config.workbench import Workbench
from tsad.core.bases import DetectorBase
from tsad.core.building import build
from tsad.core.errors import ConfigError, DetectorError, EngineError
from tsad.core.intervals import runs_of
from tsad.core.options import EngineOptions
from tsad.core.options.engine import IN_PROCESS
from tsad.core.series import Series
from tsad.core.types import ANOMALY, Origin
from tsad.detectors.committee.detector import Committee
from tsad.detectors.llm.chatts.detector import ChatTS
from tsad.detectors.llm.codec import Mark
from tsad.detectors.llm.qwen_vl.detector import QwenVL
from tsad.detectors.llm.qwen_vl.tiny import qwen3_vl, write_preprocessor
from tsad.detectors.llm.served.confidence import confidences
from tsad.detectors.llm.served.text import Text, Values
from tsad.detectors.llm.tiny import tokenizer
from tsad.detectors.proposals.proposer import default_detection, default_proposer
from tsad.files.locate import shipped
from tsad.loop.champion import load_named
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop

CONF = shipped("conf")
S = 10**9
Reply = Callable[[dict[str, Any], int], tuple[int, str]]


def prompt(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONF / "prompt" / f"{name}.yaml").read_text(encoding="utf-8"))


def engine(url: str = "http://127.0.0.1:9/v1", **changes: Any) -> dict[str, Any]:
    return IN_PROCESS | {"kind": "openai", "url": url, "model": "m", "retries": 0, "timeout": 5.0} | changes


def text(url: str, asked: str = "range", **changes: Any) -> Text:
    given = yaml.safe_load((CONF / "detector" / "text.yaml").read_text(encoding="utf-8"))
    given.pop("_target_")
    own = {key: changes.pop(key) for key in list(changes) if key in EngineOptions.model_fields}
    return Text(**(given | {"prompt": prompt(asked), "engine": engine(url, **own)} | changes))


def series(points: int = 128, name: str = "p") -> Series:
    values = np.sin(np.arange(points) / 5)
    values[40:44] = 9.0
    values[7] = np.nan
    return Series(name, np.arange(points, dtype=np.int64) * S, values[:, None], ("value",))


def always(reply: tuple[int, str]) -> Reply:
    return lambda body, number: reply


def test_what_is_asked_and_what_comes_back() -> None:
    with stub(always(answer("[[40,43]]", sure=0.5))) as told:
        (interval,) = text(told.url).candidates(series())
    assert (interval.start, interval.end) == (40 * S, 44 * S) and interval.score == pytest.approx(0.25)
    (body,) = told.bodies
    assert body["model"] == "m" and body["logprobs"] is True and body["temperature"] == 0
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["items"]["prefixItems"][0] == {"type": "integer", "minimum": 0, "maximum": 127}
    question = body["messages"][-1]["content"]
    assert "\n32: " in question and "9 9 9 9" in question and "128 points" in question
    assert " - " in question, "a missing value is a dash"
    assert told.tokens == [None]


def test_kinds_and_reasons_are_in_the_schema_and_reach_the_note() -> None:
    with stub(always(answer('[[40,43,"spike","four values at nine"]]'))) as told:
        (interval,) = text(told.url, "detailed").candidates(series())
    assert (interval.label, interval.note) == ("spike", "four values at nine")
    _, _, kind, reason = told.bodies[0]["response_format"]["json_schema"]["schema"]["items"]["prefixItems"]
    assert kind["enum"][0] == "spike" and ANOMALY in kind["enum"] and reason["type"] == "string"


def test_what_an_answer_has_wrong_is_mended_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with stub(always(answer("Sure: [[90, 80], [40, 43], [42, 50], [400, 500]]"))) as told:
        spans = [(i.start // S, i.end // S) for i in text(told.url, decoding="free").candidates(series())]
    assert spans == [(40, 51), (80, 91)]
    assert "response_format" not in told.bodies[0]
    for mended in ("exchanged", "put in order", "joined", "outside the window", "words around"):
        assert mended in caplog.text


def test_samples_are_voted_on_and_kept_answers_ask_nobody(tmp_path: Path) -> None:
    answers = ["[[40,43]]", "[[40,43],[100,110]]", "[[41,43]]"]
    with stub(lambda body, number: answer(answers[body["seed"] % 3])) as told:
        detector = text(told.url, samples=3).keeping_answers(tmp_path)
        (interval,) = detector.candidates(series())
        assert (interval.start, interval.end, interval.score) == (40 * S, 44 * S, pytest.approx(1, abs=0.2))
        assert len(told.bodies) == 3 and len({body["seed"] for body in told.bodies}) == 3
        again = text(told.url, samples=3, timeout=60.0, retries=5).keeping_answers(tmp_path).candidates(series())
        assert again == (interval,) and len(told.bodies) == 3, "however patiently it is asked"
        other = text(told.url, samples=3, model="n").keeping_answers(tmp_path)
        with pytest.raises(EngineError, match="does not have the model n"):
            other.candidates(series())


# ---- faults


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((500, '{"error": {"message": "out of cache"}}'), ["answered 500: out of cache", "See its log"]),
        ((503, "<html>Busy</html>"), ["answered 503: an HTML page"]),
        ((200, "<!doctype html><title>Login</title>"), ["answered HTML instead of JSON", "engine.url"]),
        ((200, '{"choices": [{"mess'), ["answered half a JSON"]),
        ((200, ""), ["answered nothing"]),
        ((200, "[1]"), ["no JSON object"]),
        ((200, '{"choices": []}'), ["JSON without an answer"]),
        ((200, '{"choices": [{"message": {"content": null}}]}'), ["JSON without an answer"]),
        (answer("[]", model="llama-7b"), ["answered with the model llama-7b, asked was m"]),
        (answer("[[1,2]]", logprobs=None), ["gives no probabilities", "engine.logprobs=false"]),
        ((400, '{"error": "context is 2048"}'), ["does not take the question (400: context is 2048)", "length"]),
        ((401, '{"error": {"message": "bad key"}}'), ["refused the token (401: bad key)", "engine.token_env"]),
        ((302, "moved"), ["does not take the question (302"]),
        ((404, '{"message": "no lora of that name"}'), ["does not have the model m", "no lora of that name"]),
    ],
)
def test_every_fault_has_a_name(reply: tuple[int, str], words: list[str]) -> None:
    with stub(always(reply)) as told, pytest.raises(EngineError) as caught:
        text(told.url).candidates(series())
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_server_that_is_silent_is_waited_for_no_longer_than_said() -> None:
    began = time.monotonic()
    with stub(always(answer("[]")), wait=1.5) as told, pytest.raises(EngineError, match=r"no answer within 0.3 s"):
        text(told.url, timeout=0.3).candidates(series())
    assert time.monotonic() - began < 4


def test_nobody_there_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"no server answers at http://127.0.0.1:9/v1.*engine.url"):
        text("http://127.0.0.1:9/v1").candidates(series())
    monkeypatch.delenv("TSAD_ENGINE_URL", raising=False)
    with pytest.raises(EngineError, match=r"nobody says where the server is.*TSAD_ENGINE_URL"):
        text("").candidates(series())
    for wrong, words in (("http://x:99999/v1", "Port out of range"), ("http://u:secret@x/v1", "holds a login")):
        monkeypatch.setenv("TSAD_ENGINE_URL", wrong)
        with pytest.raises(EngineError, match=rf"variable TSAD_ENGINE_URL.*{words}") as refused:
            text("").candidates(series())
        assert "secret" not in str(refused.value)


def test_a_fault_that_passes_is_asked_again_and_one_that_stays_is_counted() -> None:
    with stub(lambda body, number: (503, "") if number < 3 else answer("[[40,43]]")) as told:
        assert len(text(told.url, retries=2).candidates(series())) == 1 and len(told.bodies) == 3
    with stub(always((502, ""))) as told, pytest.raises(EngineError, match=r"answered 502 \(2 times\)"):
        text(told.url, retries=1).candidates(series())
    assert len(told.bodies) == 2
    with stub(always((400, ""))) as told, pytest.raises(EngineError):
        text(told.url, retries=3).candidates(series())
    assert len(told.bodies) == 1, "a refusal stays one"


def test_a_server_without_a_list_of_models_is_taken_at_its_word() -> None:
    with stub(always(answer("[]")), models=(404, "not here")) as told:
        assert text(told.url).candidates(series()) == ()
    with stub(always(answer("[]")), models=(200, "<html>")) as told, pytest.raises(EngineError, match="HTML"):
        text(told.url).candidates(series())


def test_without_probabilities_every_interval_is_as_sure() -> None:
    with stub(always(answer("[[1,2],[40,43]]", logprobs=None))) as told:
        assert [i.score for i in text(told.url, logprobs=False).candidates(series())] == [1.0, 1.0]
    assert "logprobs" not in told.bodies[0]


def test_an_answer_that_grew_too_long_is_read_as_far_as_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    with stub(always(answer("[[40,43],[100,", finish_reason="length"))) as told:
        assert [i.start // S for i in text(told.url).candidates(series())] == [40]
    assert "cut off" in caplog.text


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_TOKEN", "sesame")
    with stub(always(answer("[]"))) as told:
        text(told.url, token_env="VLLM_TOKEN").candidates(series())
    assert told.tokens == ["Bearer sesame"]
    monkeypatch.delenv("VLLM_TOKEN")
    with pytest.raises(EngineError, match="VLLM_TOKEN"):
        text(told.url, token_env="VLLM_TOKEN").candidates(series())


# ---- confidence


def tokens(*parts: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"token": part, "logprob": float(np.log(chance)), "bytes": list(part.encode())} for part, chance in parts]


def test_confidence_is_that_there_is_one_times_its_digits() -> None:
    given = tokens(("```", 0.1), ("[[", 0.5), ("1", 0.9), ("2", 0.4), (",", 1.0), ("34", 0.6), ("],[", 0.2),
                   ("50", 1.0), (",", 1.0), ("60", 1.0), ("]]", 1.0))  # fmt: skip
    said = confidences("[[12,34],[50,60]]", given, [Mark(12, 34), Mark(50, 60), Mark(1, 2)])
    assert said[0] == pytest.approx(0.5 * (0.9 * 0.4 * 0.6) ** (1 / 3)) and said[1] == pytest.approx(0.2)
    whole = np.exp(np.mean([t["logprob"] for t in given]))
    assert said[2] == pytest.approx(whole), "a mended mark is as sure as the whole answer"
    assert confidences("[[1,2]]", tokens(("else", 0.25)), [Mark(1, 2)]) == [pytest.approx(0.25)]


# ---- options


@pytest.fixture
def options() -> Callable[..., Settings]:
    return lambda *words: settings(compose(["task=train", *words]))


def test_chatts_is_refused_and_so_are_flags(options: Callable[..., Settings]) -> None:
    asked = ("engine=openai", "engine.url=http://127.0.0.1:9/v1", "engine.model=m")
    with pytest.raises(ConfigError, match=r"no ChatTS plug-in for vLLM.*detector=text"):
        workbench(options("detector=chatts_8b", "detector.weights=/x", "prompt=range", *asked)).make_detector()
    with pytest.raises(DetectorError, match="no ChatTS plug-in for vLLM"):
        given = yaml.safe_load((CONF / "detector" / "chatts_tiny.yaml").read_text())
        given.pop("_target_")
        ChatTS(**given | {"quantisation": "none", "engine": engine()})
    with pytest.raises(ConfigError, match=r"asks for flags.*prompt=range"):
        options("detector=text", *asked)
    with pytest.raises(DetectorError, match=r"no server.*engine=openai"):
        workbench(options("detector=text", "prompt=range")).make_detector()
    with pytest.raises(DetectorError, match=r"engine.model is empty"):
        workbench(options("detector=text", "prompt=range", "engine=openai")).make_detector()
    for wrong, words in (
        ("ftp://x", "It is an address"), ("http://u:p@x/v1", "login"), ("http://x/v1?key=1", "query"),
        ("http://x:99999/v1", "Port out of range.*It is an address such as"), ("http://x:0/v1", "It is an address"),
        ("http://x:port/v1", "Port could not be cast.*'port'.*It is an address"), ("http://[::1/v1", "Invalid IPv6"),
    ):  # fmt: skip
        with pytest.raises((ConfigError, DetectorError), match=words):
            text(wrong)
    made = workbench(options("detector=text", "prompt=detailed", *asked)).make_detector()
    assert isinstance(made, Text) and made.settings.engine.url == "http://127.0.0.1:9/v1" and not made.scored


def test_a_version_keeps_the_model_and_never_the_address() -> None:
    with stub(always(answer("[[40,43]]"))) as told:
        kept = json.loads(json.dumps(text(told.url, token_env="SECRET_THING").describe()))
        assert kept["engine"]["model"] == "m" and kept["engine"]["url"] == kept["engine"]["token_env"] == ""
        built: Any = build(kept, DetectorBase)  # type: ignore[type-abstract]
        assert built.config_hash == text("http://elsewhere/v1", timeout=600.0, retries=9).config_hash
        one, patient = text(told.url), text(told.url, timeout=600.0, retries=9)
        assert one.identity == patient.identity, "answers are the same however long they are waited for"
        assert one.identity != text(told.url, logprobs=False).identity, "which makes other confidences"
        reached = built.on_engine(EngineOptions(**engine(told.url)))
        assert len(reached.candidates(series())) == 1
        here = built.on_engine(EngineOptions(**IN_PROCESS))
        assert here is built, "the config in use has no server"


def test_an_older_version_runs_in_the_process_and_keeps_its_hash(folder: Path) -> None:
    given = picture_options(folder, prompt="range")
    old = QwenVL(**{k: v for k, v in given.items() if k != "engine"})
    assert old.settings.engine.kind == "transformers"
    assert old.config_hash == QwenVL(**given).config_hash == QwenVL(**given | {"engine": engine()}).config_hash


def test_a_frozen_config_sends_no_token_to_an_address_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    now = {"engine": dict(IN_PROCESS), "detector": {}}
    evil = engine("http://evil.example/v1", token_env="HOME_TOKEN")
    for frozen in ({"engine": evil}, {"detector": {"engine": evil}}, {"detector": {"members": [{"engine": evil}]}}):
        with pytest.raises(ConfigError, match=r"engine\.url=http://evil.example/v1"):
            check_destinations(frozen, now)
    check_destinations({"engine": engine("http://127.0.0.1:8000/v1")}, now)


# ---- pictures, and the committee


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    own = tokenizer()
    qwen3_vl(own, hidden=64, layers=2, vision=64, depth=2).save_pretrained(made)
    own.save_pretrained(made)
    write_preprocessor(made)
    return made


def picture_options(folder: Path, **changes: Any) -> dict[str, Any]:
    given = yaml.safe_load((CONF / "detector" / "qwen_vl_tiny.yaml").read_text(encoding="utf-8"))
    given.pop("_target_")
    asked = prompt(changes.pop("prompt", "range"))
    own = {"weights": str(folder), "quantisation": "none", "prompt": asked, "engine": IN_PROCESS}
    return given | own | changes


def test_a_picture_goes_to_the_server_and_the_weights_may_be_there_alone(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with stub(always(answer("[[40,43]]"))) as told:
        detector = QwenVL(**picture_options(tmp_path, engine=engine(told.url)))
        (interval,) = detector.candidates(series())
    assert (interval.start, interval.end) == (40 * S, 44 * S)
    parts = told.bodies[0]["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text"]
    head, _, coded = parts[1]["image_url"]["url"].partition(",")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded))))
    assert head == "data:image/png;base64" and picture.shape[2] == 3 and len(np.unique(picture)) > 1
    assert "<image>" not in json.dumps(parts)


def test_an_adapter_is_asked_for_under_a_name_of_its_own(folder: Path, tmp_path: Path) -> None:
    from tsad.adapters import lora
    from tsad.core.options import AdapterOptions

    base = QwenVL(**picture_options(folder))
    conf = yaml.safe_load((CONF / "adapter" / "lora.yaml").read_text(encoding="utf-8"))
    adapter = AdapterOptions(**conf).for_detector(base.adapter_defaults)
    lora.save(lora.attach(base.network(), adapter, 0), tmp_path / "adapter")
    with stub(always(answer("[]"))) as told:
        served = QwenVL(**picture_options(folder, engine=engine(told.url))).with_adapter(tmp_path / "adapter")
        with pytest.raises(EngineError, match=r"does not have the model m-[0-9a-f]{12}.*--lora-modules m-"):
            served.candidates(series())
    assert not told.bodies


def committee_options(told: Stub, prompt: str = "detailed", **changes: Any) -> dict[str, Any]:
    words = ["detector=committee", "detector.members=[robust_zscore,text]", "engine=openai", f"engine.url={told.url}",
             "engine.model=m", "engine.retries=0", f"prompt={prompt}", "task=train"]  # fmt: skip
    made = settings(compose(words))
    return {**{k: v for k, v in workbench(made).detector_config.items() if k != "_target_"}, **changes}


def test_a_member_of_the_committee_may_be_a_server_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    with stub(lambda body, number: answer('[[40,43,"spike","nine"]]') if number <= 2 else (500, "")) as told:
        committee = Committee(**committee_options(told, when_failing="leave_out"))
        (first,) = committee.examine([series()])
        assert len(first.opinions[1].runs) == 1 and first.opinions[1].reason(41 * S, 42 * S) == "nine"
        detection = default_detection(committee, series())
        assert any("text " in i.note and "(nine)" in i.note for i in detection.candidates or ())
        assert first.opinions[1].reason(80 * S, 90 * S) == first.opinions[0].reason(0, 128 * S) == ""
        (second,) = committee.examine([series(129, "q")])
        assert len(second.opinions[1].runs) == 0
        stopping = Committee(**committee_options(told, when_failing="stop"))
        with pytest.raises(EngineError, match="500"):
            list(stopping.examine([series(130, "r")]))
        kept = committee.describe()
        assert kept["members"][1]["engine"]["url"] == "" and committee.settings.members[1]["engine"]["url"] == told.url
        rebuilt: Any = build(kept, DetectorBase)  # type: ignore[type-abstract]
        (third,) = rebuilt.on_engine(EngineOptions(**engine(told.url))).examine([series(131, "s")])
        assert len(third.opinions[1].runs) == 0 and "answered 500" in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("asked", "kind", "why"), [("detailed", "spike", "four values at nine"), ("industrial_zh", "尖峰", "数值突增到九")]
)
def test_explain_says_why_in_the_models_own_words(asked: str, kind: str, why: str) -> None:
    from types import SimpleNamespace

    from tsad.loop.alarm import _explained
    from tsad.verbs.explain import _present_stretch

    said: list[str] = []
    console: Any = SimpleNamespace(say=said.append, table=lambda *_: None)
    with stub(always(answer(f'[[40,43,"{kind}","{why}"]]'))) as told:
        alone = text(told.url, asked)
        for detector in (Committee(**committee_options(told, prompt=asked)), alone):
            loaded: Any = SimpleNamespace(detector=detector, origin=Origin(detector.name, "x:1", None, ""))
            explained = _explained("p@x", series(), (40, 44), loaded, default_proposer(detector.rated_as), "en")
            _present_stretch(explained.stretches[0], console)
    assert f"  text says: {why}" in said and f"  {kind}: {why}" in said


def test_values_of_several_channels_are_named() -> None:
    from tsad.detectors.llm.reader import Block

    block = Block(np.array([[1.23456, np.nan]] * 17), ("flow", "level"))
    said = Values().marks(block)
    assert said.startswith("flow:\n0: 1.235 ") and "\n16: 1.235\nlevel:\n0: - " in said


# ---- the loop


def outlying(body: dict[str, Any], _: int) -> tuple[int, str]:
    """An answer as a model would give it that knows what lies far from the rest."""
    lines = [line.split(": ")[1] for line in body["messages"][-1]["content"].splitlines() if line[:1].isdigit()]
    values = np.array([np.nan if word == "-" else float(word) for line in lines for word in line.split()])
    away = np.abs(values - np.nanmedian(values)) > 3.5 * np.nanstd(values)
    return answer(json.dumps([[int(a), int(b) - 1] for a, b in runs_of(away)][:8], separators=(",", ":")))


@pytest.mark.usefixtures("stocked")
def test_a_loop_runs_on_a_server_and_its_version_is_asked_there_again(bench: Callable[..., Workbench]) -> None:
    with stub(outlying) as told:
        one = bench(
            "experiment=demo", "source.series=8", "source.points=1200", "windows.length=200", "sampling.windows=8",
            "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100", "detector=text",
            "prompt=range", "engine=openai", f"engine.url={told.url}", "engine.model=m",
        )  # fmt: skip
        iterate(one)
        asked = len(told.bodies)
        assert asked > 20, "its answers are kept: windows of 128 points, each asked about once"
        loop = open_loop(one)
        (iteration,) = loop.iterations()
        assert (iteration.state, iteration.status) == ("COMPLETED", "FINISHED")
        loaded = load_named(one, loop, "champion", "")
        assert loaded.detector.settings.engine.url == told.url and loaded.proposer is not None
        (detection,) = loaded.detections([series()])
        assert [(i.start, i.end) for i in detection.candidates or ()] == [(40 * S, 44 * S)]
        assert detection.scores is None and len(told.bodies) == asked + 1
        described = next(Path(one.home).rglob("detector.json")).read_text("utf-8")
        assert told.url not in described and '"m"' in described
