"""Files that people hand in: read through validation, kept in the store where another verb finds them."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, SourceError, TsadError
from tsad.core.reading import SeriesStream
from tsad.loop.common import open_loop, say, show
from tsad.steps.assets import about_series


def register(bench: Workbench, path: Path) -> str | None:
    """Keep the valid CSV files of ``path`` (a file, a folder, a glob) as an upload; the others are named with reasons.

    They are read as ``source=csv`` reads them, with the keys of this config's source where that is one.

    Returns:
        The upload's name.

    Raises:
        SourceError: nothing there, or no valid file.
    """
    from tsad.sources.csv_files import named_files
    from tsad.tracking.assets import UPLOAD, files_of, keep

    found = list(named_files(path, _patterns(bench, path)).values())
    base = path if path.is_dir() else Path(os.path.commonpath([p.parent for p in found]))
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch) / "files"  # what is checked is what is kept, whatever happens to the original
        rows, bad = _stage(bench, found, base, staged)
        show(rows, f"{path}")
        if len(bad) == len(found):
            raise SourceError(f"no file of {path} is valid: {'; '.join(bad[:3])}", "Mend them, or set source's keys.")
        series = [about_series(read.series) for read in SeriesStream(bench.csv_at(staged).read())]
        files = sorted(p for p in staged.rglob("*") if p.is_file())
        name = _content_hash(files, staged)
        about = {
            "name": path.name, "files": len(files), "series": len(series), "points": sum(r["points"] for r in series),
            "labels": _labels(series), "bytes": sum(p.stat().st_size for p in files),
        }  # fmt: skip
        loop = open_loop(bench)
        record = keep(loop, UPLOAD, name, about, staged, series)
    refused = f", {len(bad)} refused" if bad else ""
    say(f"registered upload {name}: {len(files)} files, {len(series)} series, {about['points']} points{refused}")
    say(f"use it with any verb: tsad ingest source=csv source.root={files_of(loop, record)}")
    return name


def _patterns(bench: Workbench, path: Path) -> Sequence[str]:
    from tsad.sources.csv import CsvSource

    source = bench.csv_at(path)
    if not isinstance(source, CsvSource):
        raise ConfigError(f"files cannot be read by {source.describe()}", "Register them with source=csv.")
    return source.glob


def _stage(
    bench: Workbench, files: Sequence[Path], base: Path, staged: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Copy the files, read each copy, and take invalid ones away again: a row per file, and the reasons."""
    rows, bad = [], []
    for file in files:
        copy = staged / file.relative_to(base)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        stream = SeriesStream(bench.csv_at(copy).read())
        try:
            series = [about_series(read.series) for read in stream]
            errors: list[TsadError] = list(stream.summary.failures.values())
        except TsadError as error:
            series, errors = [], (list(stream.summary.failures.values()) if stream.ended else []) or [error]
        why = str(errors[0]).replace(str(copy), file.name).removeprefix(f"csv:{file.name}: ") if errors else ""
        if errors:
            copy.unlink()
            bad.append(f"{file.name}: {why}")
        rows.append(
            {
                "file": str(file.relative_to(base)), "registered": not errors, "series": len(series) or None,
                "points": sum(r["points"] for r in series) or None,
                "labels": _labels(series),
                "why not": why,
            }
        )  # fmt: skip
    return rows, bad


def _labels(series: Sequence[dict[str, Any]]) -> int | None:
    """Labelled intervals of all; ``None`` where nobody has labelled any of them."""
    given = [row["labels"] for row in series if row["labels"] is not None]
    return sum(given) if given else None


def _content_hash(files: Sequence[Path], base: Path) -> str:
    """12 hex digits of the SHA-256 of names and contents."""
    from tsad.files.hashing import digest_of_file

    lines = [f"{p.relative_to(base).as_posix()} {digest_of_file(p)}" for p in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:12]
