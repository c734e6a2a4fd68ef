"""Files that people hand in: read through validation, kept in the store where another verb finds them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.composing import option
from tsad.config.parts import part
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, SourceError, TsadError
from tsad.core.options import QualityOptions
from tsad.core.reading import SeriesRead, SeriesStream
from tsad.core.results import Result
from tsad.files.atomic import storage
from tsad.loop.opening import open_loop
from tsad.sources.quality import assess
from tsad.steps.assets import about_series
from tsad.steps.ingest import SeriesQuality

if TYPE_CHECKING:
    from tsad.sources.base import Source


PLACES = ("_target_", "root", "labels")  # keys of a source that say where files lie, not how they are read


@dataclass(frozen=True, eq=False)
class FileChecked(Result):
    """One file that was handed in; ``None`` for what it has not, ``why_not`` "" where it was taken."""

    file: str
    registered: bool
    series: int | None
    points: int | None
    labels: int | None
    why_not: str


@dataclass(frozen=True, eq=False)
class Registration(Result):
    """Files that were handed in.

    Attributes:
        upload: name of what was kept of them; ``None`` where no file is valid.
        files, series, points: kept.
        root: the folder that ``source.root`` reads them from.
        quality: what each series is like, and what was found; one that is refused there is kept and named.
        overrides: words that let any verb read them.
    """

    path: str
    checked: tuple[FileChecked, ...]
    upload: str | None = None
    files: int = 0
    series: int = 0
    points: int = 0
    root: str | None = None
    quality: tuple[SeriesQuality, ...] = ()
    overrides: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[FileChecked, ...]:
        """Files that are not valid."""
        return tuple(file for file in self.checked if not file.registered)

    def refusal(self) -> SourceError | None:
        """The error of files of which none is valid."""
        if self.upload is not None:
            return None
        why = "; ".join(f"{Path(file.file).name}: {file.why_not}" for file in self.refused[:3])
        return SourceError(f"no file of {self.path} is valid: {why}", "Mend them, or set source's keys.")


def register(bench: Workbench, path: Path, called: str = "") -> Registration:
    """Keep the valid CSV files of ``path`` (a file, a folder, a glob) as an upload; the others are named with reasons.

    They are read as ``source=csv`` reads them, with the keys of this config's source where that is one.

    Args:
        called: what people call it; "" = by the path.

    Raises:
        SourceError: nothing there.
    """
    from tsad.sources.csv_files import named_files
    from tsad.tracking.assets import UPLOAD, files_of, keep

    named = named_files(path, _patterns(bench, path))
    given = list(named.files.values())
    base = path if path.is_dir() else Path(os.path.commonpath([p.parent for p in given]))
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch) / "files"  # what is checked is what is kept, whatever happens to the original
        refused = (FileChecked(name, False, None, None, None, str(error)) for name, error in named.refused.items())
        read = [_stage(bench, file, base, staged) for file in given]
        checked = (*(one.checked for one in read), *refused)
        if not any(file.registered for file in checked):
            return Registration(called or str(path), checked)
        # Among others a file's points are called otherwise: then all are read as they lie.
        alone = len(checked) == 1 and given[0].parent == base
        if alone:
            series, quality = read[0].series, read[0].quality
        else:
            series, quality = _assessed(SeriesStream(bench.csv_at(staged).read()), bench.quality)
        files = sorted(p for p in staged.rglob("*") if p.is_file())
        keys = _keys_of(bench)
        name = _content_hash(files, staged, keys)
        about = {
            "name": called or path.name, "keys": keys, "files": len(files), "series": len(series),
            "points": sum(r["points"] for r in series), "labels": _labels(series),
            "bytes": sum(p.stat().st_size for p in files),
        }  # fmt: skip
        loop = open_loop(bench)
        with storage(loop.home):
            record = keep(loop, UPLOAD, name, about, staged, series)
    root = str(files_of(loop, record))
    words = [f"source.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    return Registration(
        called or str(path), checked, name, len(files), len(series), about["points"], root, quality,
        ("source=csv", f"source.root={root}", *words),
    )  # fmt: skip


def reading_as(bench: Workbench, keys: Mapping[str, Any]) -> Workbench:
    """The same workbench, reading CSV files with these keys of ``source=csv`` over its own.

    Raises:
        ConfigError: a key that is none of it, a value that does not fit, or where files lie, which is not asked for.
    """
    csv = option("source", "csv")
    if wrong := sorted(set(PLACES) & set(keys)):
        raise ConfigError(f"source.{wrong[0]} is given for files that are handed in", "They are read where they lie.")
    own = bench.source_config if bench.source_config.get("_target_") == csv["_target_"] else csv
    config = {**own, **keys, "labels": None}

    def at(place: Path) -> Source:
        made: Source = part("source", {**config, "root": str(place)}).build()
        return made

    at(Path())  # what does not fit is said now
    return replace(bench, csv_at=at, configs={**bench.configs, "source": config})


@dataclass(frozen=True, eq=False)
class _Staged:
    """A file that was copied and read: a row about each of its series, and what it is like."""

    checked: FileChecked
    series: list[dict[str, Any]]
    quality: tuple[SeriesQuality, ...]


def _assessed(
    stream: Iterable[SeriesRead], options: QualityOptions
) -> tuple[list[dict[str, Any]], tuple[SeriesQuality, ...]]:
    """A row about each series, and what it is like."""
    rows, found = [], []
    for read in stream:
        rows.append(about_series(read.series))
        found.append(SeriesQuality.from_json(assess(read.series, options).as_json()))
    return rows, tuple(found)


def _patterns(bench: Workbench, path: Path) -> Sequence[str]:
    from tsad.sources.csv import CsvSource

    source = bench.csv_at(path)
    if not isinstance(source, CsvSource):
        raise ConfigError(f"files cannot be read by {source.describe()}", "Register them with source=csv.")
    return source.glob


def _stage(bench: Workbench, file: Path, base: Path, staged: Path) -> _Staged:
    """Copy the file, read the copy, and take it away again where it is not valid."""
    copy = staged / file.relative_to(base)
    with storage(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    stream = SeriesStream(bench.csv_at(copy).read())
    try:
        series, quality = _assessed(stream, bench.quality)
        errors: list[TsadError] = list(stream.summary.failures.values())
    except TsadError as error:
        series, quality, errors = [], (), (list(stream.summary.failures.values()) if stream.ended else []) or [error]
    why = str(errors[0]).replace(str(copy), file.name).removeprefix(f"csv:{file.name}: ") if errors else ""
    if errors:
        copy.unlink()
    checked = FileChecked(
        file=str(file.relative_to(base)), registered=not errors, series=len(series) or None,
        points=sum(r["points"] for r in series) or None, labels=_labels(series), why_not=why,
    )  # fmt: skip
    return _Staged(checked, series, quality)


def _labels(series: Sequence[dict[str, Any]]) -> int | None:
    """Labelled intervals of all; ``None`` where nobody has labelled any of them."""
    given = [row["labels"] for row in series if row["labels"] is not None]
    return sum(given) if given else None


def _keys_of(bench: Workbench) -> dict[str, Any]:
    """Keys of ``source=csv`` that this config has otherwise than its YAML: the files cannot be read without them."""
    csv, own = option("source", "csv"), bench.source_config
    if own.get("_target_") != csv["_target_"]:
        return {}
    return {key: value for key, value in own.items() if key not in PLACES and value != csv.get(key)}


def _content_hash(files: Sequence[Path], base: Path, keys: Mapping[str, Any]) -> str:
    """12 hex digits of the SHA-256 of names and contents, and of how they are read where that is not the usual way."""
    from tsad.files.hashing import digest_of_file

    lines = [f"{p.relative_to(base).as_posix()} {digest_of_file(p)}" for p in files]
    lines += [json.dumps(dict(keys), sort_keys=True)] if keys else []
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:12]
