"""From a text file to columns: encoding, separator, header, and errors that name file and row.

Arrow parses (about a second for 5 million rows); this module looks at the first bytes so that a binary file,
UTF-16 or a missing header gets a clear answer instead of a parser's.
"""

from __future__ import annotations

import codecs
import gzip
import mmap
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from tsad.core.errors import SeriesError, SourceError
from tsad.sources.csv_lines import check_quotes, lines_of, top_of
from tsad.sources.written import without_missing

_HEAD = 65_536  # bytes looked at
_BINARY = {b"PK\x03\x04": "a zip archive or an Excel workbook", b"PAR1": "a Parquet file", b"%PDF": "a PDF",
           b"SQLite format 3": "an SQLite database", b"\x89HDF": "an HDF5 file", b"BZh": "a bzip2 file",
           b"\x28\xb5\x2f\xfd": "a Zstandard file", b"\xfd7zXZ": "an xz file"}
_UTF16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Dialect:
    """How the text is written.

    Attributes:
        separator: one character, or ``auto``.
        decimal: ``.`` or ``,``.
        encoding: a Python codec; a byte order mark is taken off by itself.
        header: whether the first row holds the names of the columns.
        missing: texts that mean "no value", also with blanks around them.
        skip_rows: lines above the header, or above the first row, that are not read.
    """

    separator: str
    decimal: str
    encoding: str
    header: bool
    missing: tuple[str, ...]
    skip_rows: int = 0


@dataclass(frozen=True)
class Head:
    """What the first bytes of a file tell: names of the columns, separator, compression, lines above the header."""

    names: tuple[str, ...]
    separator: str
    compressed: bool
    skipped: int = 0


def read_head(path: Path, dialect: Dialect) -> Head:
    """Look at the beginning of a file.

    Raises:
        SourceError: unreadable, binary or wrongly encoded.
        SeriesError: empty, or without a header where one is expected.
    """
    raw, compressed = _first_bytes(path)
    if not raw.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise SeriesError(f"{path} is empty", "Leave it out, or write the rows again.")
    lines = _decoded(path, raw, dialect.encoding).splitlines()
    top = top_of(path, lines, dialect.separator, dialect.skip_rows, dialect.header)
    cells = [*top.header, *([""] if top.widened else [])]
    if not dialect.header:
        return Head(("time", *(f"value_{k}" if len(cells) > 2 else "value" for k in range(len(cells) - 1))),
                    top.separator, compressed, top.skipped)  # fmt: skip
    if cells and all(cell == "" or cell[0].isdigit() or _number(cell) for cell in cells):
        raise SeriesError(
            f"{path} has no header: its first row is {top.line[:80]!r}", "Set source.header=false, or add a header."
        )
    twice = [name for name, count in Counter(cells).items() if count > 1 and name]
    if twice:
        raise SeriesError(f"{path} has two columns named {twice[0]!r}", "Rename one of them.")
    return Head(_told_apart(cells), top.separator, compressed, top.skipped)


def _told_apart(cells: Sequence[str]) -> tuple[str, ...]:
    """Names of columns; of those without one, all but the first are numbered."""
    nameless = [k for k, cell in enumerate(cells) if not cell]
    return tuple(f"unnamed: {k}" if k in nameless[1:] else cell for k, cell in enumerate(cells))


def read_columns(
    path: Path,
    head: Head,
    dialect: Dialect,
    columns: Sequence[str],
    as_text: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> pa.Table:
    """Parse the named columns, each with the type its whole content allows (text where nothing else fits).

    Args:
        as_text: columns that stay text, numbers or not.
        whole: columns of names: text that means "no value" elsewhere is a name here.

    Raises:
        SeriesError: rows of unequal length, or rows that an open quote swallows.
        SourceError: truncated or wrongly encoded.
    """
    convert = pacsv.ConvertOptions(
        include_columns=list(columns), column_types={name: pa.string() for name in (*as_text, *whole)},
        null_values=list(dialect.missing), strings_can_be_null=not whole, quoted_strings_can_be_null=True,
        decimal_point=dialect.decimal,
    )
    parse = pacsv.ParseOptions(delimiter=head.separator)
    try:
        content = _content(path, head)
        table = _parse(path if content is None else content, head, dialect, parse, convert, threads=True)
        if _quoted(path, content):
            _check_rows(path, content, head, dialect, table.num_rows)
        return _with_nulls(table, dialect, whole) if whole else table
    except pa.ArrowInvalid as error:
        if "parse error: Expected" not in str(error):
            raise _unreadable(path, error, dialect) from error
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise _unreadable(path, error, dialect) from error
    if _quoted(path, content):
        _check_rows(path, content, head, dialect, -1)
    try:  # again on one thread, which is the only way to be told the row
        return _parse(path if content is None else content, head, dialect, parse, convert, threads=False)
    except pa.ArrowInvalid as error:
        what = str(error).partition("parse error: ")[2].replace("\n", " ")
        raise SeriesError(
            f"{path}: {what[:160]}", "Mend the row (is the file half-written?), or set source.separator."
        ) from error


def row_number(path: Path, head: Head, dialect: Dialect, position: int) -> int:
    """Line of the file, from 1, of a row that Arrow counted from 0; empty lines do not count for Arrow."""
    opener = gzip.open if head.compressed else open
    seen = -1 if dialect.header else 0
    with opener(path, "rt", encoding=dialect.encoding, errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if number > head.skipped and line.rstrip("\r\n"):
                if seen == position:
                    return number
                seen += 1
    return position + 1 + head.skipped + int(dialect.header)


def _content(path: Path, head: Head) -> pa.Buffer | None:
    """What a compressed file holds; ``None`` = the file itself is read."""
    if not head.compressed:
        return None
    with pa.input_stream(str(path), compression="gzip") as stream:
        return stream.read_buffer()


def _quoted(path: Path, content: pa.Buffer | None) -> bool:
    """Whether there is a quote anywhere; most files of numbers have none, and this look costs little."""
    if content is not None:
        return memoryview(content).tobytes().find(b'"') >= 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(b'"') >= 0


def _check_rows(path: Path, content: pa.Buffer | None, head: Head, dialect: Dialect, rows: int) -> None:
    raw = path.read_bytes() if content is None else memoryview(content).tobytes()
    if codecs.lookup(dialect.encoding).name.startswith(("utf-16", "utf-32")):
        raw = raw.decode(dialect.encoding).encode()
    if lines_of(raw) - int(dialect.header) - head.skipped != rows:
        check_quotes(path, raw, head.separator, len(head.names), head.skipped)


def _with_nulls(table: pa.Table, dialect: Dialect, whole: Sequence[str]) -> pa.Table:
    """Texts that mean "no value" as null, but in columns of names, where only nothing is none."""
    for k, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            missing = ("",) if field.name in whole else dialect.missing
            column = table.column(k)
            cleaned = without_missing(column, missing)
            if field.name in whole and cleaned.null_count == column.null_count:
                continue
            table = table.set_column(k, field.name, cleaned if field.name not in whole else _emptied(column))
    return table


def _emptied(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Names as they are, null where there are only blanks."""
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")  # type: ignore[attr-defined]
    return pc.if_else(blank, pa.scalar(None, pa.string()), column)  # type: ignore[attr-defined]


def _parse(
    source: Path | pa.Buffer,
    head: Head,
    dialect: Dialect,
    parse: pacsv.ParseOptions,
    convert: pacsv.ConvertOptions,
    *,
    threads: bool,
) -> pa.Table:
    # names are given, not read: Arrow would neither strip them nor know those of a file without a header
    read = pacsv.ReadOptions(
        use_threads=threads, encoding=dialect.encoding, column_names=list(head.names), skip_rows=head.skipped,
        skip_rows_after_names=int(dialect.header), block_size=1 << 22,
    )
    with pa.input_stream(str(source)) if isinstance(source, Path) else pa.BufferReader(source) as stream:
        return pacsv.read_csv(stream, read_options=read, parse_options=parse, convert_options=convert)


def _first_bytes(path: Path) -> tuple[bytes, bool]:
    try:
        with path.open("rb") as file:
            raw = file.read(_HEAD)
        if not raw.startswith(b"\x1f\x8b"):
            return raw, False
        with gzip.open(path) as unpacked:
            return unpacked.read(_HEAD), True
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{path} is a truncated or damaged gzip file ({error})", "Copy it again.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}", "Check path and permissions.") from error


def _decoded(path: Path, raw: bytes, encoding: str) -> str:
    kind = next((what for magic, what in _BINARY.items() if raw.startswith(magic)), None)
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    if kind is None and not wide and b"\x00" in raw:
        guess = _UTF16.get(raw[:2]) or _unmarked(raw)
        if guess:
            raise SourceError(f"{path} is written in UTF-16, not {encoding}", f"Set source.encoding={guess}.")
        kind = "a binary file"
    if kind:
        raise SourceError(f"{path} is {kind}, not text", "Leave it out by source.glob, or export it as CSV.")
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(raw)
    except UnicodeError as error:
        raise _wrong_encoding(path, encoding) from error
    return text.lstrip("\ufeff")


def _unmarked(raw: bytes) -> str | None:
    """UTF-16 without a mark: in western text every other byte is zero."""
    half = max(1, len(raw) // 2)
    if raw[1::2].count(0) > 0.6 * half and raw[::2].count(0) < 0.05 * half:
        return "utf-16-le"
    if raw[::2].count(0) > 0.6 * half and raw[1::2].count(0) < 0.05 * half:
        return "utf-16-be"
    return None


def _wrong_encoding(path: Path, encoding: str) -> SourceError:
    return SourceError(f"{path} is not written in {encoding}", "Set source.encoding, e.g. gbk, latin-1 or utf-16.")


def _unreadable(path: Path, error: Exception, dialect: Dialect) -> SourceError | SeriesError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnicodeError) or "UTF8" in text or "codec can't decode" in text:
        return _wrong_encoding(path, dialect.encoding)
    if "Empty CSV" in text:
        return SeriesError(f"{path} has a header but no rows", "Leave it out, or write the rows again.")
    return SourceError(f"{path} cannot be parsed: {text[:200]}", "Copy it again, or check source.separator.")


def _number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
