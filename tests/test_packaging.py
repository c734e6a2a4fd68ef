"""What is shipped, pinned and documented."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tsad.config import options_of
from tsad.files import locate
from tsad.files.locate import WHEEL, install_extra, shipped

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
README = ROOT / "README.md"
GROUPS = sorted(p.name for p in (ROOT / "conf").iterdir() if p.is_dir() and p.name not in ("local", "task"))


@pytest.mark.parametrize("verb", options_of("task"))
def test_every_verb_is_in_the_readme(verb: str) -> None:
    assert re.search(rf"\b(tsad )?{verb}\b", README.read_text("utf-8")), f"README.md does not mention tsad {verb}"


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in GROUPS for o in options_of(g)])
def test_every_option_is_in_the_readme(group: str, option: str) -> None:
    text = README.read_text("utf-8")
    assert re.search(rf"\b{group}\b", text) and re.search(rf"\b{option}\b", text), f"README.md lacks {group}={option}"


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert targets is not None
    for target in set(targets[1].split()) - {"help", "venv"}:
        assert f'"make {target} ' in makefile, f"make help does not say what {target} does"


def test_nothing_sends_people_to_a_strangers_package() -> None:
    assert PROJECT["project"]["name"] == "tsad-loop" and list(PROJECT["project"]["scripts"]) == ["tsad"]
    told = [ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    for folder in ("tsad", "conf", "label_studio", "benchmarks", "docs"):
        told += [p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".md", ".yaml", ".yml", ".json", ".txt"}]
    strangers = re.compile(r"(?<![\w./-])tsad(\[\w|==)|pip install (-\S+ )*['\"]?tsad(?![\w/])")
    for path in told:
        found = strangers.search(path.read_text("utf-8"))
        assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_an_extra_is_installed_from_where_tsad_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert install_extra("peers") == f"pip install -e '{ROOT}[peers]'"
    (tmp_path / "tsad" / "_conf").mkdir(parents=True)
    monkeypatch.setattr(locate, "PACKAGE", tmp_path / "tsad")
    assert "tsad_loop-" in install_extra("peers") and ".whl[peers]'" in install_extra("peers")


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))
    wanted = list(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        wanted += extra
    for requirement in [*wanted, *PROJECT["build-system"]["requires"]]:
        name = re.split(r"[<>=\[ ]", requirement.lower())[0]
        assert name in pins, f"constraints.txt does not pin {name}"
    assert all("+" not in version and version for version in pins.values()), "no local versions: 2.13.0, not 2.13.0+cpu"


def test_conf_is_the_checkouts() -> None:
    assert shipped("conf") == ROOT / "conf" and shipped("label_studio") == ROOT / "label_studio"


def test_ci_needs_no_terminal_and_skips_nothing() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "set -euo pipefail" in script and "TSAD_REQUIRE_LIVE=1 make live" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


def test_wheel_carries_conf_templates_and_weights(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling comes with the dev extra (make test)")
    if not README.exists():
        pytest.fail("README.md is missing; the package's description comes from it")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(tmp_path / WHEEL) as wheel:
        names = set(wheel.namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        inside = f"tsad/_conf/{path.relative_to(ROOT / 'conf').as_posix()}"
        assert (inside in names) == ("local" not in path.parts), inside
    for path in (ROOT / "label_studio").iterdir():
        assert path.is_dir() or f"tsad/_label_studio/{path.name}" in names
    assert "tsad/detectors/patch/weights/model.safetensors" in names
    assert not [n for n in names if n.startswith(("conf/", "label_studio/", "tests/"))]
