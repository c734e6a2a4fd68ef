"""Rows for other trainers: what our own training rows say, in the files that these trainers read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_data import make, plant
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, DatasetError
from tsad.core.reviews import Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import ANOMALY, NS_PER_SECOND, Interval
from tsad.detectors.llm.chatts.tiny import chatts
from tsad.detectors.llm.qwen_vl.tiny import qwen3_vl, write_preprocessor
from tsad.detectors.llm.tiny import CHATML, tokenizer
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.steps.training_rows import write_rows
from tsad.tracking.assets import EXPORT, assets
from tsad.training.datasets import build

Bench = Callable[..., Workbench]
POINTS = 640


@pytest.fixture(scope="module")
def chatts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, own = tmp_path_factory.mktemp("chatts"), tokenizer()
    own.save_pretrained(folder)
    chatts(own, hidden=64, layers=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, own = tmp_path_factory.mktemp("qwen"), tokenizer()
    own.save_pretrained(folder)
    qwen3_vl(own, hidden=64, layers=2, vision=64, depth=2).save_pretrained(folder)
    write_preprocessor(folder)
    return folder


def reviewed(kinds: tuple[str, str] = ("spike", "drift"), channels: int = 2) -> DatasetVersion:
    """Four windows of two channels, the second tiny and with a gap: two kinds of anomaly, none, one, nothing varies."""
    values = np.random.default_rng(0).normal(size=(POINTS, channels))
    values[:, -1] *= 1e-5
    values[40:44, -1] = np.nan
    values[480:] = 1.0
    series = Series(
        "P.温度", np.arange(POINTS, dtype=np.int64) * NS_PER_SECOND, values, tuple(f"c{k}" for k in range(channels))
    )

    def interval(start: int, stop: int, kind: str, note: str = "") -> Interval:
        return Interval(start * NS_PER_SECOND, stop * NS_PER_SECOND, kind, note=note)

    truth = [
        (interval(12, 20, kinds[0], 'rises to "9"'), interval(100, 131, kinds[1])), (), (interval(400, 401, "other"),),
        (),
    ]  # fmt: skip
    windows = [
        ReviewedWindow(Choice(Window(series, 160 * k, 160 * k + 160), 1.0, "random"), (), ReviewState.CORRECTED, own)
        for k, own in enumerate(truth)
    ]
    return build(windows, Purpose.TRAIN, 0, {})


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def asked(bench: Workbench, question: str) -> str:
    """The question as the tiny checkpoints' template puts it."""
    import jinja2

    turns = [{"role": "system", "content": bench.prompt.system}] if bench.prompt.system else []
    turns.append({"role": "user", "content": question})
    return jinja2.Template(CHATML, keep_trailing_newline=True).render(messages=turns, add_generation_prompt=True)


def plain(tokens: list[int], tok: Any) -> str:
    return tok.decode([t if t >= 0 else -1 - t for t in tokens])


@pytest.mark.parametrize("prompt", ["flags", "range", "kinds", "detailed"])
def test_chatts_rows_are_our_training_rows(bench: Bench, chatts_folder: Path, tmp_path: Path, prompt: str) -> None:
    given = ("detector=chatts_8b", f"detector.weights={chatts_folder}", "detector.prefix=none", f"prompt={prompt}",
             "detector.length=100", "detector.stride=60", "detector.most_points=64")  # fmt: skip
    made, version = bench(*given), reviewed()
    told = write_rows(made, version, tmp_path / "a.jsonl", "chatts")
    detector = made.make_detector()
    ours, rows = detector.rows(version.windows), written(tmp_path / "a.jsonl")
    assert len(rows) == told.rows == len(ours) == 6 and told.files == 2
    tok = detector.reader.tokenizer
    for row, own in zip(rows, ours, strict=True):
        units = [-(-len(series) // 8) for series in row["timeseries"]]
        first, second, rest = asked(made, row["input"]).split("<ts><ts/>")
        assert plain(own.prompted.ids, tok) == first + "<ts>" * units[0] + second + "<ts>" * units[1] + rest
        assert plain(own.answer, tok) == row["output"] + "<|im_end|>"
        assert "c1 (times 10^" in row["input"] and row["system"] == made.prompt.system
        for series, payload in zip(row["timeseries"], own.prompted.payload, strict=True):
            x = np.array(series) - np.mean(series)
            assert np.abs(x).max() >= 3 and np.allclose(x / (np.abs(x).max() / 3), payload, atol=1e-5)
    if prompt == "range":
        assert rows[0]["output"].startswith("[[") and rows[2]["output"] == "[]"
    if prompt == "detailed":
        assert rows[0]["output"].startswith('[[') and '"spike","rises to \'9\'"' in rows[0]["output"]


@pytest.mark.parametrize(("prompt", "unit"), [("flags", "points"), ("kinds", "points"), ("columns", "columns")])
def test_rows_with_pictures_are_our_training_rows(
    bench: Bench, qwen_folder: Path, tmp_path: Path, prompt: str, unit: str
) -> None:
    given = ("detector=qwen_vl_8b", f"detector.weights={qwen_folder}", f"prompt={prompt}", f"detector.unit={unit}",
             "detector.length=100", "detector.stride=60", "detector.height=128")  # fmt: skip
    made, version = bench(*given), reviewed()
    told = write_rows(made, version, tmp_path / "a.jsonl", "llamafactory")
    detector = made.make_detector()
    ours, rows = detector.rows(version.windows), written(tmp_path / "a.jsonl")
    assert len(rows) == told.rows == len(ours) == 6 and told.files == 1 + 6 + 1
    reader = detector.reader
    for row, own in zip(rows, ours, strict=True):
        system, question, answer = (turn["content"] for turn in row["messages"])
        assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
        assert system == made.prompt.system
        picture = np.array(Image.open(tmp_path / row["images"][0]))
        pads = picture.shape[0] // 32 * (picture.shape[1] // 32)
        image = "<|vision_start|>" + "<|image_pad|>" * pads + "<|vision_end|>"
        assert plain(own.prompted.ids, reader.tokenizer) == asked(made, question).replace("<image>", image)
        assert plain(own.answer, reader.tokenizer) == answer + "<|im_end|>"
        from tsad.detectors.llm.render import render

        sight = own.prompted.payload
        assert np.array_equal(picture, render(sight.values.T[None], sight.canvas)[0]) and picture.dtype == np.uint8


def test_the_forms_of_three_trainers_say_the_same(bench: Bench, tmp_path: Path, caplog: Any) -> None:
    made, version = bench("prompt=kinds"), reviewed()
    for format in ("llamafactory", "swift", "qwen_vl"):
        write_rows(made, version, tmp_path / f"{format}.jsonl", format)
    factory, swift, qwen = (written(tmp_path / f"{f}.jsonl") for f in ("llamafactory", "swift", "qwen_vl"))
    assert len(factory) == 3 and "windows in which nothing varies give no row: 1 (" in caplog.text
    assert "qwen_vl has no place for a system message" in caplog.text
    for a, b, c in zip(factory, swift, qwen, strict=True):
        assert a["messages"] == b["messages"] and set(b) == {"messages", "images"}
        assert [turn["value"] for turn in c["conversations"]] == [t["content"] for t in a["messages"][1:]]
        assert [turn["from"] for turn in c["conversations"]] == ["human", "gpt"]
        assert a["messages"][1]["content"].count("<image>") == 1
        pictures = {(tmp_path / image).read_bytes() for image in (a["images"][0], b["images"][0], c["image"])}
        assert len(pictures) == 1
    assert json.loads((tmp_path / "dataset_info.json").read_text()) == {
        "llamafactory": {
            "file_name": "llamafactory.jsonl", "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
                     "system_tag": "system"},
        }
    }  # fmt: skip


def test_nothing_but_the_config_decides_the_bytes(bench: Bench, tmp_path: Path) -> None:
    version = reviewed()
    for folder in ("a", "b", "b"):  # the second export into a folder replaces the first
        write_rows(bench("prompt=range"), version, tmp_path / folder / "rows.jsonl", "swift")
        write_rows(bench("prompt=range"), version, tmp_path / folder / "numbers.jsonl", "chatts")
    files = {f: sorted(p for p in (tmp_path / f).rglob("*") if p.is_file()) for f in "ab"}
    assert [p.relative_to(tmp_path / "a") for p in files["a"]] == [p.relative_to(tmp_path / "b") for p in files["b"]]
    assert len(files["a"]) == 3 + 3
    assert all(x.read_bytes() == y.read_bytes() for x, y in zip(files["a"], files["b"], strict=True))


def test_without_a_checkpoint_the_published_shapes_count(bench: Bench, tmp_path: Path) -> None:
    write_rows(bench("prompt=range"), reviewed(), tmp_path / "a.jsonl", "swift")
    row = written(tmp_path / "a.jsonl")[0]
    assert Image.open(tmp_path / row["images"][0]).size == (256, 256)  # 65,536 pixels at least
    write_rows(bench(), reviewed(), tmp_path / "b.jsonl", "chatts")
    row = written(tmp_path / "b.jsonl")[0]
    assert row["output"] == "0110000000001111" + "1000" and "cut into 20 equal parts" in row["input"]
    assert "0 to" not in row["input"]


def test_chinese_kinds_and_the_entry_of_chatts(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"mine": {"file_name": "x.json"}}')
    version = reviewed(("尖峰", "漂移"))
    write_rows(bench("prompt=industrial_zh"), version, tmp_path / "行.jsonl", "chatts")
    first, second, third = written(tmp_path / "行.jsonl")
    assert first["output"] == "[[12,19,\"尖峰\",\"rises to '9'\"],[100,130,\"漂移\",\"-\"]]"
    assert second["output"] == "[]" and third["output"] == f'[[80,80,"{ANOMALY}","-"]]'
    assert "尖峰, 骤降" in first["input"] and "编号为 0 到 159" in first["input"]
    assert "尖峰" in (tmp_path / "行.jsonl").read_text(encoding="utf-8")  # as characters
    info = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    columns = {"prompt": "input", "response": "output", "timeseries": "timeseries", "system": "system"}
    assert info == {"mine": {"file_name": "x.json"}, "行": {"file_name": "行.jsonl", "columns": columns}}
    write_rows(bench("prompt=range", "prompt.system=''"), version, tmp_path / "行.jsonl", "chatts")
    assert set(written(tmp_path / "行.jsonl")[0]) == {"input", "output", "timeseries"}
    assert "system" not in json.loads((tmp_path / "dataset_info.json").read_text())["行"]["columns"]


def test_what_cannot_be_written_is_named(bench: Bench, tmp_path: Path) -> None:
    version = reviewed()
    with pytest.raises(ConfigError, match="is the name of the file beside the rows"):
        write_rows(bench(), version, tmp_path / "dataset_info.json", "chatts")
    (tmp_path / "a_images").mkdir()
    (tmp_path / "a_images" / "cat.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"holds cat.png, which is no picture of an export"):
        write_rows(bench(), version, tmp_path / "a.jsonl", "swift")
    assert not (tmp_path / "a.jsonl").exists() and (tmp_path / "a_images" / "cat.png").exists()
    for bad, words in (("[", "is no JSON"), ("[]", "holds no JSON object")):
        (tmp_path / "dataset_info.json").write_text(bad)
        with pytest.raises(DatasetError, match=words):
            write_rows(bench(), version, tmp_path / "b.jsonl", "chatts")
    series = version.windows[0].window.series
    odd = Series(series.point_id, series.timestamps, series.values, ("<ts><ts/>", "b"))
    choice = Choice(Window(odd, 0, 160), 1.0, "random")
    version = build([ReviewedWindow(choice, (), ReviewState.CORRECTED)], Purpose.TRAIN, 0, {})
    with pytest.raises(DatasetError, match="No channel is called"):
        write_rows(bench(), version, tmp_path / "c.jsonl", "chatts")


# --- the verb ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The options of a store with one finished iteration over six CSV series."""
    place = tmp_path_factory.mktemp("rows")
    plant(place / "plant", [f"T{k}" for k in range(6)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(place / "store"))
        given = (
            "review=simulated", "source=csv", f"source.root={place / 'plant'}", "loop.name=plant", "tracking.plots=0",
            "windows.length=200", "sampling.windows=6", "loop.iterations=1", "gold.resamples=100",
            "threshold.default=0.9",
        )  # fmt: skip
        iterate(make("detector=robust_zscore", *given))
        yield given


def test_the_verb_writes_and_the_store_knows(
    one: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = make("detector=robust_zscore", "prompt=range", *one)
    numbers = call("export", bench, format="chatts", output=str(tmp_path / "numbers.jsonl"))
    drawn = call("export", bench, format="llamafactory", output=str(tmp_path / "drawn.jsonl"))
    out = capsys.readouterr().out
    assert numbers.rows == drawn.rows == 6 and (numbers.files, drawn.files) == (2, 8)
    assert f"wrote 6 rows of dataset version {numbers.dataset} to" in out and "8 files; beside it: " in out
    assert any(row["output"] != "[]" for row in written(tmp_path / "numbers.jsonl"))
    kept = {Path(record.about["path"]).name: record.about for record in assets(open_loop(bench), EXPORT)}
    assert kept["drawn.jsonl"]["format"] == "llamafactory" and kept["drawn.jsonl"]["rows"] == 6
    listing = call("data", bench, what="exports")
    assert {Path(about.file).name: about.file_is for about in listing.exports} == {
        "numbers.jsonl": "there", "drawn.jsonl": "there"
    }  # fmt: skip
    call("data", bench, action="delete", what="exports", name=str(tmp_path / "drawn.jsonl"), dry_run=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset_info.json", "numbers.jsonl"]
    assert set(json.loads((tmp_path / "dataset_info.json").read_text())) == {"numbers"}
    call("data", bench, action="delete", what="exports", name="numbers.jsonl", dry_run=False)
    assert not list(tmp_path.iterdir())
