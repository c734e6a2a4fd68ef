"""``make bench`` runs every benchmark without an argument."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RULE = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith("BENCHMARKS := "))
APART = set(re.findall(r"benchmarks/(\w+)\.py", RULE))
TOGETHER = sorted(
    path for path in (ROOT / "benchmarks").glob("*.py")
    if path.stem not in APART and not path.name.startswith(("_", "reference_"))
)  # fmt: skip


@pytest.mark.parametrize("path", TOGETHER, ids=lambda path: path.stem)
def test_it_needs_no_argument(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    added = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "add_argument"]
    for call in added:
        keys = {key.arg: key.value for key in call.keywords}
        required = keys.get("required")
        assert not (isinstance(required, ast.Constant) and required.value), f"{path.name}: {ast.unparse(call)}"
        name = call.args[0]
        positional = isinstance(name, ast.Constant) and not str(name.value).startswith("-")
        assert not positional or "nargs" in keys, f"{path.name}: {ast.unparse(call)}"


def test_benchmarks_that_are_called_as_modules_find_each_other() -> None:
    called = set[str]()
    pages = ("README.md", "docs/**/*.md", "tsad/**/*.md", "benchmarks/*.py")
    for page in [path for pattern in pages for path in ROOT.glob(pattern)]:
        called |= set(re.findall(r"python -m benchmarks\.(\w+)", page.read_text(encoding="utf-8")))
    siblings = {path.stem for path in ROOT.glob("benchmarks/*.py")}
    assert len(called) > 10 and called <= siblings
    for name in called:
        text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        bare = siblings & set(re.findall(r"^(?:from|import) (\w+)", text, re.M))
        assert not bare or "sys.path.insert(0, str(Path(__file__).parent))" in text, f"{name}: {bare}"
