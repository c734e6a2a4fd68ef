"""What is in a file that people exchange, and how much of it is whole where it was cut off."""

from __future__ import annotations

import csv
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsad.core.errors import FileNameError, LabelError, SeriesError, SourceError, TsadError
from tsad.core.intervals import point_ends
from tsad.core.types import TimeKind
from tsad.sources.csv_columns import POINT_NAMES, ColumnRules
from tsad.sources.csv_text import Dialect, Head, read_columns, read_head
from tsad.sources.labels import read_interval_csv
from tsad.sources.repair_names import Remains
from tsad.sources.times import TimeReader, Times

_DIALECT = Dialect("auto", ".", "utf-8", True, ("", "nan", "NaN", "NA", "N/A", "null", "NULL", "None"))
_COLUMNS = ColumnRules("multichannel", None, None, None, (), None)
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20  # bytes read at once; no row is longer
_READABLE = (SeriesError, LabelError, SourceError)


@dataclass(frozen=True)
class Content:
    """What the rows say.

    Attributes:
        span: ``[start, end)`` from the first point to the end of the last, ns UTC; of intervals: those that hold them
            all, or ``None`` where there are none.
        intervals: the rows are intervals, so that ``span`` is only part of what was looked at.
        point_id: what a column of it says.
        types: of the columns, by name.
    """

    time_kind: TimeKind
    span: tuple[int, int] | None
    intervals: bool
    point_id: str | None
    types: dict[str, pa.DataType]


@dataclass(frozen=True)
class Found:
    """A file's content, and how many bytes of its (unpacked) text are whole; ``keep=None`` = all of them."""

    content: Content
    keep: int | None = None


def without_rows(path: Path) -> str:
    """``empty`` or ``nothing but a header`` where that is so, else "".

    Raises:
        SourceError: it cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        start = Path(scratch) / "start"
        unpacked(path, start, _BLOCK)
        raw = start.read_bytes()
        lines = [line for line in raw.replace(b"\0", b"").splitlines() if line.strip(b" \t\xef\xbb\xbf")]
        if not lines:
            return "empty"
        if len(lines) > 1 or len(raw) >= _BLOCK:
            return ""
        try:
            read_head(start, _DIALECT)
        except _READABLE:
            return ""  # a row without a header, or no text at all
        return "nothing but a header"


def found_in(path: Path, remains: Remains) -> Found | None:
    """Read a file; where that fails, or its end looks cut off, without its last row. ``None`` = that was all it had.

    Raises:
        SeriesError, LabelError, SourceError: neither way makes sense; the file's own error.
        FileNameError: it is about several points.
    """
    whole: Content | TsadError
    try:
        whole = _content(path, remains)
        if _ends_well(path):
            return Found(whole)
    except _READABLE as error:
        whole = error
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text"
        unpacked(path, text)
        for keep in _ends(text):
            behind = _behind(text, keep)
            os.truncate(text, keep)
            try:
                rest, head = _content(text, remains), read_head(text, _DIALECT)
            except _READABLE:
                continue
            if isinstance(whole, TsadError):
                if _cut_off(behind, head):
                    return Found(rest, keep)
            elif behind.rstrip(b"\0 ").endswith(head.separator.encode()) or _worse(whole, rest):
                return Found(rest, keep)
        if isinstance(whole, TsadError) and not _ends_well(path) and without_rows(text):
            return None
    if isinstance(whole, TsadError):
        raise whole
    return Found(whole)  # some programs write no newline at the end


def unpacked(path: Path, place: Path, most: int | None = None) -> None:
    """Write a file's text to ``place``, unpacked; of a cut gzip file as much as there is.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with path.open("rb") as file, place.open("wb") as out:
            block = file.read(_BLOCK)
            unpack: Callable[[bytes], bytes] = zlib.decompressobj(31).decompress if block[:2] == _GZIP else bytes
            while block and (most is None or out.tell() < most):
                out.write(unpack(block))
                block = file.read(_BLOCK)
    except zlib.error:
        return  # what came before is all there is
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}", "Check its permissions.") from error


def is_packed(path: Path) -> bool:
    """Whether a file is gzip, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _content(path: Path, remains: Remains) -> Content:
    head = read_head(path, _DIALECT)
    lowered = {name.lower() for name in head.names}
    if {"point_id", "start", "end"} <= lowered:
        return _intervals(path, remains)
    time = _COLUMNS.choose(path, head.names).time
    point = next((n for n in head.names if n.lower() in POINT_NAMES and n.lower() != "id" and n != time), None)
    wanted = [n for n in head.names if n or n == time]
    table = read_columns(path, head, _DIALECT, wanted, [point] if point else [])
    if not table.num_rows:
        raise SeriesError(f"{path} has a header but no rows")
    column = table.column(time)
    times = _as_index(column, remains, str(path))
    if times is None:
        times = TimeReader("auto", remains.time_zone).read(column, str(path), lambda k: k + 2)
    stamps = np.unique(times.stamps)
    span = int(stamps[0]), int(point_ends(stamps)[-1])
    points = table.column(point).unique().to_pylist() if point else []
    return Content(times.kind, span, False, _only(points, path), dict(zip(wanted, table.schema.types, strict=True)))


def _as_index(column: pa.ChunkedArray, remains: Remains, where: str) -> Times | None:
    """The column as an index, where the name says so and one of its ends agrees: large ones look like seconds."""
    said = remains.span("index") if remains.kind == "index" else None
    if said is None or not pa.types.is_integer(column.type):
        return None
    try:
        times = TimeReader("index").read(column, where, lambda k: k + 2)
    except SeriesError:
        return None
    stamps = np.unique(times.stamps)
    return times if int(stamps[0]) == said[0] or int(point_ends(stamps)[-1]) == said[1] else None


def _intervals(path: Path, remains: Remains) -> Content:
    as_index = remains.kind == "index"
    try:
        read = read_interval_csv(path, TimeReader("index" if as_index else "auto", remains.time_zone))
    except LabelError:
        if not as_index:
            raise
        read = read_interval_csv(path, TimeReader(time_zone=remains.time_zone))
        as_index = False
    found = [interval for intervals in read.values() for interval in intervals]
    kind: TimeKind = remains.kind or "time"
    if found:
        kind = "index" if as_index or _reads_as_index(path) else "time"
    span = (min(i.start for i in found), max(i.end for i in found)) if found else None
    return Content(kind, span, True, _only(sorted(read), path), {})


def _reads_as_index(path: Path) -> bool:
    head = read_head(path, _DIALECT)
    name = next(n for n in head.names if n.lower() == "start")
    column = read_columns(path, head, _DIALECT, [name]).column(0).drop_null()
    return TimeReader().read(column, str(path), lambda k: k + 2).kind == "index"


def _only(points: Sequence[str | None], path: Path) -> str | None:
    names = [p for p in points if p is not None]
    if len(names) > 1:
        raise FileNameError(  # no SeriesError: dropping the last row would be no cure
            f"{path} holds {len(names)} points: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}",
            "One file is about one point: split it.",
        )
    return names[0] if names else None


def _tail(path: Path) -> tuple[bytes, int]:
    """The last bytes of a file, and the position they begin at."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _BLOCK))
        return file.read(), max(0, size - _BLOCK)


def _ends_well(path: Path) -> bool:
    return _tail(path)[0].endswith(b"\n") or is_packed(path)  # gzip checks its own end


def _ends(text: Path) -> list[int]:
    """Where the text may be cut: behind what is no padding, then before its last row; the later one first."""
    tail, at = _tail(text)
    body = tail.rstrip(b"\0")
    last = body.rstrip(b"\r\n").rfind(b"\n") + 1
    return [at + k for k in (len(body) if body.endswith(b"\n") else 0, last) if k]


def _behind(text: Path, keep: int) -> bytes:
    """What comes behind ``keep``: the last row, or padding."""
    tail, at = _tail(text)
    return tail[keep - at :]


def _cut_off(row: bytes, head: Head) -> bool:
    """Whether a row that cannot be read broke off; one that is complete and wrong is for people to mend."""
    if not row.endswith(b"\n") or b"\0" in row:
        return True
    cells = next(csv.reader([row.decode("utf-8", "replace").strip("\r\n")], delimiter=head.separator), [])
    return len(cells) < len(head.names)


def _worse(whole: Content, rest: Content) -> bool:
    """Whether the last row alone turns a column of numbers into text."""
    return any(
        pa.types.is_string(kind) and not pa.types.is_string(rest.types[name]) for name, kind in whole.types.items()
    )
