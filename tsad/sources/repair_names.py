"""What the name of a misnamed file still says: point, start, end, algorithm, whatever form people gave them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from tsad.core.errors import FileNameError, SeriesError
from tsad.core.types import NS_PER_SECOND, TimeKind
from tsad.sources.naming import parse_file_name
from tsad.sources.times import TimeReader

_SUFFIX = re.compile(r"\s*\.csv(\.gz)?\s*$", re.IGNORECASE)
_COPY = re.compile(r"(\s+[-–—]\s*(copy|kopie|copie|副本))?(\s*\(\d{1,3}\))?\s*$", re.IGNORECASE)
_COPY_OF = re.compile(r"^\s*((copy of|kopie von)\s+)?", re.IGNORECASE)
# What programs and people write for a time: ISO 8601 with any separators or none, or s, ms, us, ns since 1970.
_CLOCK = r"\d{2}[-:.]?\d{2}(?:[-:.]?\d{2}(?:[.,]\d{1,9})?)?\s?(?:Z|UTC|[+-]\d{2}:?\d{2})?"
_TOKEN = rf"(?:\d{{4}}[-.]?\d{{2}}[-.]?\d{{2}}(?:[T_ ]?{_CLOCK})?|\d{{10}}|\d{{13}}|\d{{16}}|\d{{19}})"
_BETWEEN = r"(?:\s*_\s*|\s*-\s*|\s+)"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.DOTALL)
    for form in (
        rf"(?:(?P<point>.*){_BETWEEN})?(?P<start>{_TOKEN}){_BETWEEN}(?P<end>{_TOKEN})(?:{_BETWEEN}(?P<algorithm>.+))?",
        rf"(?:(?P<point>.*){_BETWEEN})?(?P<start>{_TOKEN})(?:{_BETWEEN}(?P<algorithm>.+))?",
        r"(?P<point>.+)_(?P<start>-?\d+)_(?P<end>-?\d+)_(?P<algorithm>.+)",
    )
)
_PARTS = re.compile(
    r"(\d{4})[-.]?(\d{2})[-.]?(\d{2})(?:[T_ ]?(\d{2})[-:.]?(\d{2})(?:[-:.]?(\d{2})(?:[.,](\d{1,9}))?)?)?"
    r"\s?(Z|UTC|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_EPOCH = {10: NS_PER_SECOND, 13: 1_000_000, 16: 1_000, 19: 1}  # digits of a number since 1970 -> ns per unit


@dataclass(frozen=True)
class Remains:
    """What is left of a name.

    Attributes:
        stem: the name without suffix, spaces around it and marks of copies.
        suffix: ``.csv`` or ``.csv.gz``.
        point_id, algorithm: ``None`` where they cannot be told.
        times: start and end as written; ``None`` where there are not two.
        kind: of the times, where the name is well formed.
        time_zone: of times that name none.
    """

    stem: str
    suffix: str
    point_id: str | None = None
    algorithm: str | None = None
    times: tuple[str, str] | None = None
    kind: TimeKind | None = None
    time_zone: str = "UTC"

    def span(self, kind: TimeKind) -> tuple[int, int] | None:
        """``[start, end)`` in ns UTC, taken as times or as an index; ``None`` where that gives none."""
        if self.times is None:
            return None
        start, end = (_index(t) if kind == "index" else _stamp(t, self.time_zone) for t in self.times)
        return (start, end) if start is not None and end is not None and start < end else None


def remains_of(name: str, time_zone: str = "UTC") -> Remains | None:
    """Take a name apart; ``None`` = it never was the name of a CSV file.

    ``(1)``, `` - copy``, ``.csv.csv``, ``.CSV`` and spaces go; times may be ``20150908113900``, ``1441712340`` or
    ``2015-09-08 11:39``; spaces or hyphens may stand for underscores.
    """
    stem, suffixes = _stripped(name)
    if not suffixes:
        return None
    suffix = ".csv.gz" if ".gz" in suffixes else ".csv"
    parts = [part.strip(" ") for part in stem.rsplit("_", 3)]
    try:
        whole = parse_file_name("_".join(parts) + suffix)
        written = parts[1], parts[2]
        return Remains(stem, suffix, whole.point_id, whole.algorithm, written, whole.time_kind, time_zone)
    except FileNameError:
        pass
    found = next((m for form in _FORMS if (m := form.fullmatch(stem))), None)
    if found is None:
        return Remains(stem, suffix, time_zone=time_zone)
    said = found.groupdict()
    times = (said["start"], said["end"]) if said.get("end") else None
    return Remains(stem, suffix, decoded(said["point"]), decoded(said["algorithm"]), times, None, time_zone)


def decoded(text: str | None) -> str | None:
    """A part of a name without its ``%XX``; as it is where they were damaged, ``None`` where nothing is left."""
    text = (text or "").strip(" _")
    if not text:
        return None
    try:
        return parse_file_name(f"{text}_0_1_x.csv").point_id
    except FileNameError:
        return text


def _stripped(name: str) -> tuple[str, str]:
    """The stem, and all suffixes that were taken off it."""
    stem, suffixes = _COPY_OF.sub("", name), ""
    while True:
        bare = _COPY.sub("", stem)
        if match := _SUFFIX.search(bare):
            suffixes += match.group().lower()
            bare = bare[: match.start()]
        if bare == stem:
            return stem, suffixes
        stem = bare


def _index(text: str) -> int | None:
    return int(text) * NS_PER_SECOND if re.fullmatch(r"-?\d{1,10}", text) else None


def _stamp(text: str, time_zone: str) -> int | None:
    """ns UTC of a time in any of the forms; ``None`` where it is none, or where a clock change makes it unclear."""
    if text.isdecimal() and len(text) in _EPOCH:
        stamp = int(text) * _EPOCH[len(text)]
        return stamp if stamp < 2**63 else None
    match = _PARTS.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}.{fraction or '0'}"
    iso = f"{year}-{month}-{day}T{clock}{(zone or '').upper().replace('UTC', 'Z')}"
    try:
        return int(TimeReader("iso", time_zone).read(pa.chunked_array([[iso]]), text, lambda k: k).stamps[0])
    except SeriesError:
        return None
