"""The house plan, read from the imports: they run downward only, and heavy ones wait until they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tsad"
# From the ground up; rooms on one floor never import each other.
FLOORS = (
    {"core"},
    {"metrics", "synthetic", "plots", "command", "files"},
    {"adapters", "agreement", "embeddings"},
    {"sources", "detectors", "review", "training", "tracking"},
    {"config"},
    {"loop", "jobs"},
    {"steps"},  # what a later issue moves to experiments/ and catalogue/
    {"verbs", "service"},  # the one presents in the terminal, the other over HTTP; cli hands service to verbs
    {"cli"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = {
    "torch", "transformers", "peft", "mlflow", "evaluate", "label_studio_sdk", "matplotlib", "sklearn", "datasets",
    "bitsandbytes", "accelerate", "playwright", "iotdb", "thrift", "sqlalchemy", "psycopg", "tsdownsample",
    "fastapi", "starlette", "uvicorn",
}  # fmt: skip
# Modules that are themselves imported only where their library is at work.
LAZY = {
    "detectors/patch/": {"torch", "transformers"},
    "detectors/llm/": {"torch", "transformers"},
    "metrics/hub.py": {"evaluate", "datasets"},
    "tracking/pyfunc_model.py": {"mlflow"},
    "tracking/": {"mlflow"},
    "training/": {"torch", "transformers", "peft"},
    "plots/": {"matplotlib"},
    "sources/sql/": {"sqlalchemy"},
    "service/": {"fastapi", "starlette", "uvicorn"},
}
MODULES = sorted(p for p in PACKAGE.rglob("*.py"))


def imports(path: Path, package: str = "", checkers: bool = False) -> Iterator[tuple[str, bool]]:
    """(dotted name, at module level) of every import that runs; with ``checkers`` those for type checkers too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = package or ".".join(("tsad", *path.relative_to(PACKAGE).parent.parts))

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            near = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*near, *([node.module] if node.module else [])])
            yield base, top
            if base == "tsad":
                yield from ((f"tsad.{alias.name}", top) for alias in node.names)
        else:
            checked_only = not checkers and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in node.orelse if checked_only else ast.iter_child_nodes(node):
                yield from visit(child, top and not inside)

    yield from visit(tree, True)


def room(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_run_downward(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in FLOOR, f"{own} has no floor in the house plan (FLOORS in this file, DESIGN.md 4)"
    for dotted, _ in imports(path, checkers=True):
        other = room(dotted) if dotted.split(".")[0] == "tsad" else ""
        if other and other != own and other != "__version__":
            assert FLOOR[other] < FLOOR[own], f"{path.relative_to(ROOT)} imports {dotted}, which is not below it"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_wait(path: Path) -> None:
    where = path.relative_to(PACKAGE).as_posix()
    allowed = {name for place, names in LAZY.items() if where.startswith(place) for name in names}
    for dotted, top in imports(path):
        library = dotted.split(".")[0]
        if library == "mlflow":
            assert where.startswith("tracking/"), f"{where} imports mlflow; only tracking does"
        if top and library in HEAVY:
            assert library in allowed, f"{where} imports {library} at module level"


@pytest.mark.parametrize(
    "module", ["tsad.cli", "tsad.config", "tsad.loop.iteration", "tsad.verbs.status", "tsad.sources.base"]
)
def test_light_modules_stay_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_label_studio_is_no_package() -> None:
    assert not list((ROOT / "label_studio").rglob("__init__.py")), "the server's own package has this name"


def test_reader_of_imports(tmp_path: Path) -> None:
    source = (
        "from typing import TYPE_CHECKING\nimport a.b\nfrom tsad import plots\n"
        "if TYPE_CHECKING:\n    import hidden\nelse:\n    import shown\n"
        "def f():\n    from tsad.core import types\n    import torch\n"
        "class C:\n    from .sibling import x\n"
    )
    path = tmp_path / "x.py"
    path.write_text(source)
    assert dict(imports(path, "tsad.steps")) == {
        "typing": True, "a.b": True, "tsad": True, "tsad.plots": True, "shown": True, "tsad.core": False,
        "torch": False, "tsad.steps.sibling": True,
    }  # fmt: skip
