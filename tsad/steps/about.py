"""What there is to say of a series, an upload, a dataset version and an export, and who uses it."""

from __future__ import annotations

from dataclasses import dataclass

from tsad.core.results import Result


@dataclass(frozen=True, eq=False)
class User(Result):
    """Who uses something; ``firm`` = it cannot do without, whatever the user of the command line says."""

    text: str
    firm: bool = False


@dataclass(frozen=True, eq=False)
class SeriesAbout(Result):
    """A series.

    Attributes:
        source: where its values come from, in words; the folder of an upload by the upload's name.
        first, last: instants; ISO 8601 in UTC, or the integer index.
        labels: labelled intervals; ``None`` = nobody labelled it.
        reviewed: share of its points that people have reviewed, 0..1.
        kept: ``cache`` or ``upload``; ``bytes`` and ``fetched`` (ISO 8601) are of what the cache has.
    """

    point: str
    source: str
    first: str
    last: str
    points: int
    channels: int
    labels: int | None
    reviewed: float
    kept: str
    bytes: int | None
    fetched: str | None


@dataclass(frozen=True, eq=False)
class UploadAbout(Result):
    """Files that people handed in; ``root`` is the folder that ``source.root`` reads them from."""

    upload: str
    of: str
    loop: str
    files: int
    series: int
    points: int
    labels: int | None
    bytes: int
    created: str
    root: str


@dataclass(frozen=True, eq=False)
class DatasetAbout(Result):
    """A dataset version; ``None`` for figures of one whose files are damaged."""

    loop: str
    version: str
    purpose: str
    windows: int
    intervals: int | None
    points: int | None
    bytes: int
    iteration: int | None
    created: str
    source: str
    used_by: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ExportAbout(Result):
    """A written file; ``file_is`` ``there``, ``changed`` or ``gone``."""

    export: str
    file: str
    format: str
    loop: str
    dataset: str
    rows: int
    bytes: int
    created: str
    file_is: str
