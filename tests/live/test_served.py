"""A real llama.cpp server with SmolLM2-135M answers for a detector: schema, probabilities, tokens, other models."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import unavailable

from tsad.core.errors import EngineError, WeightsError
from tsad.core.options.engine import IN_PROCESS
from tsad.core.series import Series
from tsad.detectors.llm.served.text import Text
from tsad.files.locate import shipped

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
TOKEN = "sesame"
SERVE = """
import sys, threading, xllamacpp
given = xllamacpp.CommonParams()
given.model.path, given.n_ctx, given.n_parallel = sys.argv[1], 2048, 1
given.model_alias, given.api_keys = {"smollm2"}, [sys.argv[2]]
server = xllamacpp.Server(given)
print("listening at", server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if importlib.util.find_spec("xllamacpp") is None:
        unavailable("xllamacpp is not installed: pip install -e '.[live]'")
    sys.path.insert(0, str(ROOT))
    from benchmarks.llm import fetched

    try:
        model = fetched(ROOT / "build" / "llm")
    except WeightsError as error:
        unavailable(str(error))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(model), TOKEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    told = next((line for line in server.stdout if line.startswith("listening at")), "")
    try:
        assert told, "the server ended before it listened"
        yield told.split()[-1] + "/v1"
    finally:
        server.kill()
        server.wait()


def text(url: str, **changes: object) -> Text:
    given = yaml.safe_load((shipped("conf") / "detector" / "text.yaml").read_text("utf-8"))
    given.pop("_target_")
    asked = yaml.safe_load((shipped("conf") / "prompt" / "range.yaml").read_text("utf-8")) | {"most": 2, "system": ""}
    engine = IN_PROCESS | {"kind": "openai", "url": url, "model": "smollm2", "timeout": 120.0}
    engine["token_env"] = "SMOL_TOKEN"
    own = {key: changes.pop(key) for key in list(changes) if key in engine}
    return Text(**(given | {"prompt": asked, "length": 32, "stride": 32, "engine": engine | own} | changes))


def series(points: int = 32) -> Series:
    values = np.round(np.sin(np.arange(points) / 4), 1)
    values[12:16] = 9.0
    return Series("p", np.arange(points, dtype=np.int64) * 10**9, values[:, None], ("value",))


def test_answers_keep_to_the_schema_and_are_as_sure_as_their_tokens(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMOL_TOKEN", TOKEN)
    detector = text(url).keeping_answers(tmp_path)
    intervals = detector.candidates(series())
    assert intervals and all(0 < one.score < 1 for one in intervals)
    (kept,) = (json.loads(file.read_text("utf-8")) for file in tmp_path.rglob("*.json"))
    assert all(0 <= mark["start"] <= mark["end"] < 32 for mark in kept["marks"])
    assert not any("read" in word or "left out" in word for word in kept["mended"]), "the schema held"
    assert text("http://127.0.0.1:9/v1").keeping_answers(tmp_path).identity != detector.identity
    assert text(url).keeping_answers(tmp_path).candidates(series()) == intervals


def test_another_model_and_a_wrong_token_are_refused_by_name(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMOL_TOKEN", TOKEN)
    with pytest.raises(EngineError, match=r"does not have the model llama: it has smollm2"):
        text(url, model="llama").candidates(series())
    with pytest.raises(EngineError, match="does not take the question"):  # 9,000 values are more than it can read
        text(url, length=9000, most_points=9000, stride=9000).candidates(series(9000))
    monkeypatch.setenv("SMOL_TOKEN", "open")
    with pytest.raises(EngineError, match=r"refused the token \(401"):
        text(url).candidates(series())


def test_tsad_detect_asks_the_server(url: str, tmp_path: Path) -> None:
    one = series(48)
    rows = [f"2026-01-01 00:{k:02d}:00,{v}" for k, v in enumerate(one.values[:, 0])]
    (tmp_path / "p.csv").write_text("timestamp,value\n" + "\n".join(rows) + "\n", "utf-8")
    words = [
        "detect", "version=none", "source.root=.", "loop.name=served", "detector=text", "detector.length=48",
        "detector.stride=48", "prompt=range", "prompt.most=1", "prompt.system=''", "engine=openai",
        f"engine.url={url}", "engine.model=smollm2", "engine.token_env=SMOL_TOKEN", "engine.timeout=120", "-o", "json",
    ]  # fmt: skip
    own = {"TSAD_HOME": str(tmp_path / "mlruns"), "PYTHONPATH": os.pathsep.join(sys.path), "SMOL_TOKEN": TOKEN}
    done = subprocess.run(
        [sys.executable, "-m", "tsad", *words], cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"series": 1' in done.stdout or '"series":1' in done.stdout, done.stdout
    assert TOKEN not in done.stdout + done.stderr
