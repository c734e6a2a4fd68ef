"""What is asked to be predicted: JSON or CSV into series, through the door that every series passes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tsad.core.errors import SeriesError, TsadError
from tsad.core.names import safe_name
from tsad.core.reading import SeriesStream
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, TimeKind
from tsad.loop.predicting import AnswerParts
from tsad.service.errors import RequestRefused

if TYPE_CHECKING:
    from tsad.config.workbench import Workbench

M = TypeVar("M", bound=BaseModel)
SOURCE = "HTTP"  # what errors and answers say of where a series is from
MOST_ITEMS = 1000  # series in one request
MOST_VALUES = 2_000_000  # in one request, all its series and channels together
TOLD = 5  # faults of a request that are named
FAR = 2**53  # beyond it a number of JSON is not exact
VERSION = r"^(champion|previous|[1-9][0-9]{0,8})$"

Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Annotated[list[Number | None], Field(fail_fast=True)]
Moments = (
    Annotated[list[Annotated[int, Field(ge=-FAR, le=FAR)]], Field(fail_fast=True)]
    | Annotated[list[Number], Field(fail_fast=True)]
    | Annotated[list[Annotated[str, Field(max_length=64)]], Field(fail_fast=True)]
)


class SeriesAsked(BaseModel):
    """A series that is handed in.

    Attributes:
        timestamps: ISO 8601 (UTC where they name no zone), or seconds since 1970-01-01 UTC, or an index; none = 0, 1,
            2, ... values: [T] or [T][C]; ``null`` where missing. channels: C names.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    point_id: str = Field(default="series", min_length=1, max_length=300)
    timestamps: Annotated[Moments, Field(union_mode="left_to_right")] | None = None
    time_kind: Literal["time", "index"] | None = None
    values: Annotated[Numbers | Annotated[list[Numbers], Field(fail_fast=True)], Field(union_mode="left_to_right")]
    channels: list[Annotated[str, Field(min_length=1, max_length=300)]] | None = Field(default=None, max_length=1000)


class _Question(BaseModel):
    """By which version, and what the answer is to hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    loop: str = Field(default="", max_length=300)
    version: Annotated[str, Field(pattern=VERSION)] | Annotated[int, Field(ge=1, lt=10**9)] = "champion"
    scores: bool = False
    explain: bool = False
    language: Literal["en", "zh"] = "en"


class PredictAsked(_Question, SeriesAsked):
    """One series, and by which version of which loop it is to be judged."""


class AppendAsked(PredictAsked):
    """The newest values of a point; each with its time, so that a request may be sent again."""

    timestamps: Annotated[Moments, Field(union_mode="left_to_right")]


class BatchAsked(_Question):
    """Several series, all by one version."""

    items: list[SeriesAsked] = Field(min_length=1, max_length=MOST_ITEMS)


@dataclass(frozen=True, eq=False)
class Broken:
    """An item that is no valid series, and why."""

    point_id: str
    error: TsadError


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked: series by a version.

    Attributes:
        loop: "" = the service's own.
        series: or why there is none, where the answer has ``many`` items.
    """

    loop: str
    version: str
    wanted: AnswerParts
    series: Sequence[Series | Broken]
    many: bool = False
    origin: str = "predict"  # by which door it came, for the history


def question_of(asked: PredictAsked) -> Question:
    """What a request about one series asks.

    Raises:
        SeriesError: it cannot be made valid. RequestRefused: 413: it holds too many values.
    """
    require_few([asked])
    return Question(asked.loop, str(asked.version), _wanted(asked), [series_asked(asked)])


def questions_of(asked: BatchAsked) -> Question:
    """What a request about several asks; one that cannot be made valid stops no other.

    Raises:
        RequestRefused: 413: they hold too many values.
    """
    require_few(asked.items)
    series: list[Series | Broken] = []
    for item in asked.items:
        try:
            series.append(series_asked(item))
        except TsadError as error:
            series.append(Broken(item.point_id, error))
    return Question(asked.loop, str(asked.version), _wanted(asked), series, many=True, origin="batch")


def _wanted(asked: PredictAsked | BatchAsked) -> AnswerParts:
    return AnswerParts(scores=asked.scores, explain=asked.explain, language=asked.language)


def require_few(asked: Sequence[SeriesAsked]) -> None:
    """Refuse a request of too many values. Raises RequestRefused: 413."""
    _require_few(sum(len(row) if isinstance(row, list) else 1 for one in asked for row in one.values))


def _require_few(values: int) -> None:
    if values > MOST_VALUES:
        found = f"the request holds {values:,} values, more than {MOST_VALUES:,}"
        raise RequestRefused(413, found, "Send fewer at a time.")


def parsed(model: type[M], body: bytes | str) -> M:
    """A request by its model.

    Raises:
        RequestRefused: 400: it is no JSON; 422: it does not fit, which says where, never what was sent; 413: it holds
            too many values.
    """
    commas = body.count(",") if isinstance(body, str) else body.count(b",")
    if commas > 2 * MOST_VALUES + 100 * MOST_ITEMS:  # values and their times, before memory is taken for each
        found = f"the request holds far more than {MOST_VALUES:,} values"
        raise RequestRefused(413, found, "Send fewer at a time.")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        if faults[0]["type"] == "json_invalid":
            found = f"the body is no JSON ({faults[0]['msg']})"
            raise RequestRefused(400, found, "Send an object as UTF-8 JSON; null is a missing value.") from None
        told = list(dict.fromkeys(f"{'.'.join(map(str, f['loc'])) or 'the body'}: {f['msg']}" for f in faults))
        more = f" (and {len(told) - TOLD} more)" if len(told) > TOLD else ""
        remedy = "See /openapi.json; a missing value is null."
        raise RequestRefused(422, f"the request does not fit: {'; '.join(told[:TOLD])}{more}", remedy) from None


def series_asked(asked: SeriesAsked, piece: bool = False) -> Series:
    """The series that is handed in, through the door.

    Args:
        piece: it is joined with what is known of its point; one value is enough.

    Raises:
        SeriesError: see :func:`tsad.sources.validate.validate`, and rows of different lengths.
    """
    from tsad.sources.validate import RawSeries, validate

    values, where = _values(asked), f"series {asked.point_id!r} ({SOURCE})"
    stamps, kind = _times(asked, len(values), where)
    width = values.shape[1]
    channels = asked.channels or (["value"] if width == 1 else [f"c{k}" for k in range(1, width + 1)])
    if len(stamps) != len(values) or len(channels) != width:
        found = f"{where}: {len(stamps)} timestamps and {len(channels)} names of channels for values {values.shape}"
        raise SeriesError(found, "Send a row of values for each timestamp, and a name for each of its columns.")
    if len(set(channels)) != len(channels):
        raise SeriesError(f"{where}: two channels have the same name", "Give each its own.")
    return validate(RawSeries(asked.point_id, stamps, values, channels, kind, source=SOURCE), piece=piece)


def _values(asked: SeriesAsked) -> np.ndarray:
    rows: Any = asked.values
    if not rows:
        return np.zeros((0, len(asked.channels or [""])))
    if not isinstance(rows[0], list):
        return np.array(rows, np.float64)[:, None]
    if len({len(row) for row in rows}) > 1 or not rows[0]:
        raise SeriesError(f"series {asked.point_id!r}: its rows are of different lengths, or empty", "One per channel.")
    return np.array(rows, np.float64)


def _times(asked: SeriesAsked, count: int, where: str) -> tuple[np.ndarray, TimeKind]:
    """[T] ns UTC, and of which kind they are."""
    import pyarrow as pa

    from tsad.sources.times import TimeReader

    if asked.timestamps is None:
        if asked.time_kind == "time":
            raise SeriesError(f"{where} has no timestamps", "Give timestamps, or time_kind=index.")
        return np.arange(count, dtype=np.int64) * NS_PER_SECOND, "index"
    if not asked.timestamps:
        return np.zeros(0, np.int64), "time"
    text = isinstance(asked.timestamps[0], str)
    form = "index" if asked.time_kind == "index" else "iso" if text else "s"
    column = pa.chunked_array([pa.array(asked.timestamps)])
    times = TimeReader(time_format=form).read(column, where, lambda position: position + 1)
    return times.stamps, times.kind


def series_of_csv(body: bytes, name: str, bench: Workbench) -> list[Series]:
    """The series of a CSV file, read as the service's own config reads such files.

    Args:
        name: of the series, where the file does not say.

    Raises:
        RequestRefused: 422: it cannot be read; 413: it holds too many values.
    """
    with tempfile.TemporaryDirectory(prefix="tsad-predict-") as folder:
        path = Path(folder, f"{safe_name(name)}.csv")
        path.write_bytes(body)
        try:
            series = _read(path, bench)
        except TsadError as error:
            found, remedy = (text.replace(f"{folder}/", "") for text in (error.found, error.remedy))
            raise RequestRefused(422, found, remedy or "Send a CSV file with a header.") from error
    _require_few(sum(one.values.size for one in series))
    if len(series) > MOST_ITEMS:
        raise RequestRefused(422, f"the file holds {len(series)} series, more than {MOST_ITEMS}", "Send fewer.")
    return [replace(one, source=SOURCE) for one in series]


def _read(path: Path, bench: Workbench) -> list[Series]:
    source = bench.csv_at(path)
    try:
        stream = SeriesStream(source.read())
        series = [read.series for read in stream]
    finally:
        source.close()
    for failure in stream.summary.failures.values():
        raise failure
    return series
