"""Which files a root means, and what their points are called."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tsad.core.errors import SourceError, SourceUnavailableError, TsadError

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class NamedFiles:
    """Files by name, sorted, and those that cannot be named, with the reason."""

    files: dict[str, Path]
    refused: dict[str, TsadError] = field(default_factory=dict)


def named_files(root: Path, patterns: Sequence[str]) -> NamedFiles:
    """Files by name: their path below the root, with ``/``, without the suffix. One bad name never stops the others.

    Args:
        root: a file, a folder (searched with its subfolders) or a glob.
        patterns: in a folder, what a file's name or path has to look like; ``*`` crosses folders, case is ignored.

    Raises:
        SourceUnavailableError: nothing there: a wrong path, or a folder that is not mounted.
        SourceError: nothing that matches, or nothing that can be named; a root whose name is no text.
    """
    if not _is_text(str(root)):
        raise SourceError(f"the name of source.root, {printable_name(str(root))}, is not UTF-8", "Rename it.")
    base, paths = _listed(root, patterns)
    named: dict[str, Path] = {}
    refused: dict[str, TsadError] = {}
    for path in sorted(paths):
        name = _without_suffix(path.relative_to(base).as_posix())
        if not _is_text(name):
            shown = printable_name(path.relative_to(base).as_posix())
            refused[shown] = SourceError(f"the name of file {shown} is not UTF-8", "Rename it.")
        elif name in named:
            refused[name] = SourceError(
                f"{named[name]} and {path} would both be {name!r}", "Remove one, or set source.glob."
            )
        else:
            named[name] = path
    named = {name: path for name, path in named.items() if name not in refused}
    if not named:
        raise next(iter(refused.values()))
    return NamedFiles(named, refused)


def printable_name(name: str) -> str:
    """A name of bytes that are no UTF-8, those as ``\\xe4``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def state_of(path: Path) -> tuple[str, int, int]:
    """Path, size and time of change (ns): what tells one content of a file from the next without reading it.

    Raises:
        SourceError: it is gone.
    """
    try:
        stat = path.stat()
    except OSError as error:
        kind = SourceUnavailableError if isinstance(error, FileNotFoundError) else SourceError
        raise kind(f"{path} cannot be read: {error.strerror}", "Check path and permissions.") from error
    return path.absolute().as_posix(), stat.st_size, stat.st_mtime_ns


def _listed(root: Path, patterns: Sequence[str]) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    if root.is_file():
        return root.parent, [root]
    if root.is_dir():
        paths = [p for p in root.rglob("*") if _wanted(p.relative_to(root), patterns) and p.is_file()]
        if not paths:
            raise SourceError(f"{root.absolute()} holds no file like {', '.join(patterns)}", "Set source.glob.")
        return root, paths
    magic = next((k for k, part in enumerate(root.parts) if _MAGIC.search(part)), None)
    if magic is None:
        remedy = "Set source.root to a file, folder or glob, or mount what it lies on."
        raise SourceUnavailableError(f"there is no file or folder {root.absolute()}", remedy)
    fixed = Path(*root.parts[:magic])
    paths = [p for p in fixed.glob(Path(*root.parts[magic:]).as_posix()) if p.is_file()]
    if not paths:
        raise SourceError(f"no file matches {root.absolute()}", "Check source.root.")
    return fixed, paths


def _wanted(path: Path, patterns: Sequence[str]) -> bool:
    """Whether a path below the root fits; hidden files and lock files are nobody's series."""
    if any(part.startswith((".", "~$")) for part in path.parts):
        return False
    texts = path.as_posix().lower(), path.name.lower()
    return any(fnmatch.fnmatchcase(t, p.lower().removeprefix("**/")) for p in patterns for t in texts)


def _without_suffix(name: str) -> str:
    stem = name[:-3] if name.lower().endswith(".gz") else name
    return stem[: stem.rfind(".")] if "." in stem.rpartition("/")[2] else stem
