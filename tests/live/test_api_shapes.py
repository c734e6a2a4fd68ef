"""Thousands of requests made from /openapi.json: none ends in a 500, none in an answer that is not described there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,ignored_auth"
ENDLESS = "stream|/predict/ndjson$"  # streams, and a body of lines that schemathesis cannot write


@pytest.mark.timeout(400)
def test_no_request_that_the_description_allows_is_answered_otherwise(tmp_path: Path) -> None:
    environment = {**os.environ, "TSAD_HOME": str(tmp_path / "store"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tsad", "serve", "port=0", "-o", "json", "service.cpu_jobs=0", "review=simulated"]
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(
            words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        up = json.loads(process.stdout.readline())
        token = Path(up["token"]).read_text().strip()
        run = subprocess.run(
            [
                str(Path(sys.executable).with_name("st")), "run", f"{up['url']}/openapi.json", "--no-color",
                "-H", f"Authorization: Bearer {token}", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing",
                "--max-examples", "2", "--max-time", "90", "--request-timeout", "60", "--exclude-path-regex", ENDLESS,
                "--continue-on-failure",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=300,
            env=environment | {"no_proxy": "127.0.0.1", "PYTHONPATH": ""},
        )  # fmt: skip
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert counted and counted[1] == counted[2] and int(counted[1]) > 300, run.stdout[-3000:]
