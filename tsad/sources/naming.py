"""Names of files that people exchange: ``{point_id}_{start}_{end}_{algorithm}.csv``, written and read back.

Times are UTC in ISO 8601's basic form (``20150908T113900Z``, with nine more digits behind a point where they
are not whole seconds); an integer index stays a plain number. Whatever a file system refuses in a name, and
whatever would make it ambiguous, is written ``%XX`` (UTF-8 bytes). So a point may hold underscores, dots,
slashes or Chinese, and comes back as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import numpy as np

from tsad.core.errors import FileNameError
from tsad.core.types import NS_PER_SECOND, TimeKind

FORM = "{point_id}_{start}_{end}_{algorithm}.csv"
_LONGEST = 255  # bytes in a file name, on every common file system
_UNSAFE = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]')
_AMBIGUOUS = re.compile(r"[_.]")  # in an algorithm: the first point ends it, an underscore begins it
_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(?:\.(\d{9}))?Z")
_INDEX = re.compile(r"0|-?[1-9]\d{0,9}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class FileName:
    """What a name says. ``start`` and ``end``: ns UTC, half-open; ``suffix`` with its point."""

    point_id: str
    start: int
    end: int
    algorithm: str
    suffix: str = ".csv"
    time_kind: TimeKind = "time"


def file_name(
    point_id: str, start: int, end: int, algorithm: str, suffix: str = ".csv", time_kind: TimeKind = "time"
) -> str:
    """The name of a file about ``[start, end)`` of a point, said by an algorithm.

    Raises:
        FileNameError: an empty part, an end before the start, an index that is not whole, a name too long.
    """
    if not point_id or not algorithm or not re.fullmatch(r"(\.[A-Za-z0-9]+)+", suffix):
        raise FileNameError(f"no file name for point {point_id!r}, algorithm {algorithm!r}, suffix {suffix!r}",
                            "Each has to say something.")
    if end <= start:
        raise FileNameError(f"no file name for {point_id!r}: its end {end} is not after its start {start}")
    span = f"{_time_text(start, time_kind)}_{_time_text(end, time_kind)}"
    name = f"{escape(point_id)}_{span}_{_AMBIGUOUS.sub(_hex, escape(algorithm))}{suffix}"
    if len(name.encode()) > _LONGEST:
        raise FileNameError(f"the file name {name[:60]}... takes {len(name.encode())} bytes, more than {_LONGEST}",
                            "Shorten the point_id.")
    return name


def parse_file_name(name: str) -> FileName:
    """The inverse of :func:`file_name`; takes a bare name, not a path.

    Raises:
        FileNameError: saying what does not fit.
    """
    parts = name.rsplit("_", 3)
    if len(parts) != 4:
        raise _misnamed(name, "fewer than four parts")
    point, start, end, rest = parts
    algorithm, dot, suffix = rest.partition(".")
    if not point or not algorithm or not suffix:
        raise _misnamed(name, f"no {'point_id' if not point else 'algorithm' if not algorithm else 'suffix'}")
    kinds = {_kind(name, start), _kind(name, end)}
    if len(kinds) > 1:
        raise _misnamed(name, f"{start} and {end} are not of one kind")
    first, stop = _time(name, start), _time(name, end)
    if stop <= first:
        raise _misnamed(name, f"the end {end} is not after the start {start}")
    return FileName(_unescape(name, point), first, stop, _unescape(name, algorithm), dot + suffix, kinds.pop())


def escape(text: str) -> str:
    """Text as a part of a file name; reversible, and readable where nothing has to be escaped."""
    safe = _UNSAFE.sub(_hex, text)
    if safe[:1] in (".", " ", "~"):
        safe = _hex_of(safe[0]) + safe[1:]  # hidden files and lock files
    return safe[:-1] + _hex_of(safe[-1]) if safe[-1:] in (".", " ") else safe


def _time_text(stamp: int, time_kind: TimeKind) -> str:
    seconds, rest = divmod(int(stamp), NS_PER_SECOND)
    if time_kind == "index":
        if rest:
            raise FileNameError(f"index {stamp / NS_PER_SECOND} is not whole")
        return str(seconds)
    text = str(np.datetime64(seconds, "s")).replace("-", "").replace(":", "")
    return f"{text}.{rest:09d}Z" if rest else f"{text}Z"


def _kind(name: str, text: str) -> TimeKind:
    if _TIME.fullmatch(text):
        return "time"
    if _INDEX.fullmatch(text):
        return "index"
    raise _misnamed(name, f"{text!r} is neither a time such as 20150908T113900Z nor an index")


def _time(name: str, text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        return int(text) * NS_PER_SECOND
    year, month, day, hour, minute, second, fraction = match.groups()
    try:
        seconds = int(np.datetime64(f"{year}-{month}-{day}T{hour}:{minute}:{second}", "s").astype(np.int64))
    except ValueError as error:
        raise _misnamed(name, f"{text!r} is no date") from error
    stamp = seconds * NS_PER_SECOND + int(fraction or 0)
    if abs(stamp) > np.iinfo(np.int64).max:
        raise _misnamed(name, f"{text!r} lies outside 1677 to 2262")
    return stamp


def _unescape(name: str, text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise _misnamed(name, f"{text!r} has a % that is not followed by two hex digits")
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise _misnamed(name, f"{text!r} does not unescape to text") from error


def _hex(match: re.Match[str]) -> str:
    return _hex_of(match.group())


def _hex_of(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _misnamed(name: str, why: str) -> FileNameError:
    return FileNameError(f"file name {name!r} does not follow {FORM}: {why}", "Rename it.")
