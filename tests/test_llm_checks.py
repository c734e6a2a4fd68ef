"""A broken torchvision is named before transformers trips over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from tsad.core.errors import DetectorError
from tsad.detectors.llm.checks import check_torchvision
try:
    check_torchvision()
    print("fine")
except DetectorError as error:
    print(error)
"""


def run(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", CODE, str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def plant(folder: Path, body: str) -> None:
    """A torchvision 9.9 whose import runs ``body``."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(body)
    (folder / "torchvision-9.9.dist-info").mkdir()
    (folder / "torchvision-9.9.dist-info" / "METADATA").write_text("Name: torchvision\nVersion: 9.9\n")


@pytest.mark.parametrize(
    "raised", ["RuntimeError('operator torchvision::nms does not exist')", "ImportError('undefined symbol: x')"]
)
def test_a_broken_torchvision_is_named(tmp_path: Path, raised: str) -> None:
    plant(tmp_path, f"raise {raised}")
    told = run(tmp_path)
    assert told.startswith("torchvision 9.9 cannot be imported beside torch 2.")
    assert raised.split("'")[1] in told and "pip uninstall torchvision" in told


def test_a_sound_one_and_none_pass(tmp_path: Path) -> None:
    assert run(tmp_path) == "fine"
    plant(tmp_path, "nms = 1")
    assert run(tmp_path) == "fine"
