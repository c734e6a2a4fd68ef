"""What the house's rules count in the code, read from its syntax trees; ``make lint`` prints it, tests hold it.

    python tests/house.py
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tsad"
MOST_PARAMETERS, MOST_LINES, MOST_FUNCTION_LINES = 6, 400, 40
PRESENTING = ("verbs/", "cli.py", "__main__.py")  # the only files that talk to people
UNSAFE = re.compile(
    r"(.*\.)?(c?pickle|cPickle|dill|joblib|marshal|shelve|cloudpickle)(\..*)?|torch\.(load|save)"
    r"|yaml\.(load|full_load|unsafe_load)|eval|exec|(.*\.)?pyfunc\.load_model|(.*\.)?read_pickle"
)
WRITERS = {"update", "setdefault", "pop", "popitem", "clear", "__setitem__", "putenv", "unsetenv"}
ENVIRONMENTS = ("os.environ", "environ")
MUTABLE = {"dict", "list", "set", "defaultdict", "OrderedDict", "WeakKeyDictionary", "WeakValueDictionary", "Lock"}
ENVIRONMENT_WRITER = "core/environment.py"


@cache
def modules(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Dotted name -> syntax tree of every module."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


def where(module: str) -> str:
    """Its path below ``tsad/``."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.relative_to(PACKAGE).as_posix()


def imported(module: str) -> set[str]:
    """Modules of tsad that a module imports, anywhere in it, for type checkers alone included."""
    known, found = modules(), set()
    for node in ast.walk(known[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return {name for name in found if name in known and name != module}


def circles() -> list[list[str]]:
    """Groups of modules that reach each other by imports of any kind, also for type checkers and inside functions."""
    return knots({name: sorted(imported(name)) for name in modules()})


def knots(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Strongly connected groups of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for name in graph:
        if name not in index:
            visit(name)
    return sorted(groups)


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(module:line name, node) of every function."""
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{where(module)}:{node.lineno} {node.name}", node


def many_parameters() -> list[str]:
    """Functions of more than six parameters, ``self`` and ``cls`` not counted."""
    out = []
    for name, node in functions():
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > MOST_PARAMETERS:
            out.append(f"{name} ({count})")
    return out


def long_functions() -> list[str]:
    """Functions of more than forty lines, docstring and decorators not counted."""
    out = []
    for name, node in functions():
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1 else node.body
        lines = (node.end_lineno or node.lineno) - body[0].lineno + 1
        if lines > MOST_FUNCTION_LINES:
            out.append(f"{name} ({lines})")
    return out


def long_modules() -> list[str]:
    """Modules of more than four hundred lines."""
    counts = {where(m): len((PACKAGE / where(m)).read_text(encoding="utf-8").splitlines()) for m in modules()}
    return [f"{name} ({count})" for name, count in counts.items() if count > MOST_LINES]


def presenting() -> list[str]:
    """Places outside the verbs and the command line that hold a console: ours, rich's, the builtin ``print``."""
    return _places(consoles, lambda path: not path.startswith(PRESENTING))


def consoles(tree: ast.AST) -> list[int]:
    """Lines that do."""
    lines = [node.lineno for node in ast.walk(tree) if _imports(node, {"rich", "tsad.verbs"})]  # type: ignore[attr-defined]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return sorted(lines + [call.lineno for call in calls if _dotted(call.func) == "print"])


def unsafe() -> list[str]:
    """Places that run what a file or a text says: pickle and its kin, eval, torch.load, MLflow's load_model."""
    return _places(running)


def running(tree: ast.AST) -> list[int]:
    """Lines that do."""
    return sorted(line for line, name in _names(tree) if UNSAFE.fullmatch(name))


def environment_writers() -> list[str]:
    """Places that write an environment variable, apart from the one that may."""
    return _places(writing, lambda path: path != ENVIRONMENT_WRITER)


def writing(tree: ast.AST) -> list[int]:
    """Lines that do."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITERS:
            if _dotted(node.func.value) in ENVIRONMENTS or node.func.attr in ("putenv", "unsetenv"):
                lines.append(node.lineno)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            lines += [node.lineno] if _dotted(node.value) in ENVIRONMENTS else []
    return lines


def process_state() -> list[str]:
    """Module-level and class-level names that are written to later: registries of locks, claims, caches.

    A table that is only read is none: what counts is a mutable value at module or class level that some function
    changes (``x[...] =``, ``x.add``, ``global x``, ...), or that is empty at the start.
    """
    out = []
    for module, tree in modules().items():
        for scope in (tree, *(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))):
            for node in scope.body:
                target = _assigned(node)
                value = getattr(node, "value", None)
                if target and value is not None and _empty_mutable(value):
                    out.append(f"{where(module)}:{node.lineno} {target}")
        out += [f"{where(module)}:{n.lineno} global" for n in ast.walk(tree) if isinstance(n, ast.Global)]
    return out


def meanings() -> dict[str, list[str]]:
    """Public classes, functions and type aliases that more than one module defines under one name."""
    places = defaultdict(list)
    for module, tree in modules().items():
        for node in tree.body:
            name = node.name if isinstance(node, ast.ClassDef | ast.FunctionDef) else _assigned(node)
            if name and not name.startswith("_") and name[:1].isupper() and not name.isupper():
                places[name].append(where(module))
            elif isinstance(node, ast.FunctionDef) and not name.startswith("_"):
                places[f"{name}()"].append(where(module))
    return {name: files for name, files in sorted(places.items()) if len(files) > 1}


def source_guesses() -> list[str]:
    """``isinstance(..., CachedSource)`` and ``getattr(source, "failures", ...)``: guesses what a source is."""
    out = []
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1):
                continue
            second = ast.dump(node.args[1])
            if (node.func.id == "isinstance" and "CachedSource" in second) or (
                node.func.id == "getattr" and any(w in second for w in ("'failures'", "'provenance'", "'unreachable'"))
            ):
                out.append(f"{where(module)}:{node.lineno}")
    return out


def counts() -> dict[str, list[str]]:
    """Every rule with the places that break it."""
    return {
        "circles of files": [" <-> ".join(where(m) for m in group) for group in circles()],
        f"functions of more than {MOST_PARAMETERS} parameters": many_parameters(),
        f"functions of more than {MOST_FUNCTION_LINES} lines": long_functions(),
        f"modules of more than {MOST_LINES} lines": long_modules(),
        "places that present outside verbs": presenting(),
        "places that run what a file says": unsafe(),
        "writers of os.environ besides core/environment.py": environment_writers(),
        "state on the process": process_state(),
        "guesses at what a source is": source_guesses(),
    }


def _places(lines: Callable[[ast.AST], list[int]], counts: Callable[[str], bool] = bool) -> list[str]:
    trees = {where(module): tree for module, tree in modules().items()}
    return [f"{path}:{line}" for path, tree in trees.items() if counts(path) for line in lines(tree)]


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported or called, as written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, _dotted(node.func)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _imports(node: ast.AST, names: Iterable[str]) -> bool:
    wanted = tuple(names)
    if isinstance(node, ast.Import):
        return any(a.name == w or a.name.startswith(f"{w}.") for a in node.names for w in wanted)
    module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    return any(module == w or module.startswith(f"{w}.") for w in wanted)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def _assigned(node: ast.AST) -> str:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ""


def _empty_mutable(value: ast.AST) -> bool:
    if isinstance(value, ast.Dict | ast.List | ast.Set):
        return not (value.keys if isinstance(value, ast.Dict) else value.elts)
    return isinstance(value, ast.Call) and _dotted(value.func).split(".")[-1] in MUTABLE and not value.args


def main() -> None:
    """Print each rule with its count, and the places where there are any."""
    for rule, places in counts().items():
        print(f"{len(places):4d}  {rule}")
        for place in places:
            print(f"        {place}")
    doubles = meanings()
    print(f"{len(doubles):4d}  names with more than one meaning")
    for name, files in doubles.items():
        print(f"        {name}: {', '.join(files)}")


if __name__ == "__main__":
    main()
