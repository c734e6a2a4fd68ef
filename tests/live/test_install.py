"""The wheel, built by pip and installed outside the checkout, answers like the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else; its dependencies come from this environment."""
    place = tmp_path_factory.mktemp("site")
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
    wheel = next(wheels.glob("tsad_loop-*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(place), str(wheel)], check=True)
    return place


def tsad(site: Path, here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TSAD_HOME")}
    return subprocess.run(
        [sys.executable, "-m", "tsad", *words], cwd=here, capture_output=True, text=True, timeout=120,
        env={**environment, "PYTHONPATH": str(site)},
    )  # fmt: skip


def test_installed_outside_the_checkout(site: Path, tmp_path: Path) -> None:
    told = tsad(site, tmp_path, "--help")
    assert told.returncode == 0 and "iterate" in told.stdout and str(tmp_path / "mlruns") in told.stdout
    config = tsad(site, tmp_path, "iterate", "experiment=demo", "--cfg", "job")
    assert config.returncode == 0, config.stderr
    assert yaml.safe_load(config.stdout)["loop"]["name"] == "demo"
    assert not list((site / "tsad" / "_conf" / "local").glob("*.yaml")) and (site / "tsad" / "_label_studio").is_dir()


def test_installed_reads_conf_where_the_user_stands(site: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nadapter: {r: 3}\n")
    config = tsad(site, tmp_path, "experiment=mine", "--cfg", "job")
    assert config.returncode == 0, config.stderr
    assert yaml.safe_load(config.stdout)["adapter"]["r"] == 3


def test_installed_scores_a_plant(site: Path, tmp_path: Path) -> None:
    done = tsad(
        site, tmp_path, "detect", "source=synthetic", "source.series=2", "source.points=600", "version=none",
        "detector=robust_zscore", "review=simulated", "output=found",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "found" / "scores").glob("*.csv"))) == 2
