"""What ``source=sql`` is told."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from tsad.core.errors import ConfigError
from tsad.core.option_model import Options
from tsad.sources.base import bounds
from tsad.sources.choices import DaylightSaving, Duplicates, Infinite, LabelsEnd, worded
from tsad.sources.times import TimeReader

PARTS = ("point", "start", "end", "label", "annotator", "submitted_at")  # of a table of labels
NEEDED = ("point", "start", "end")
# Fields that do not change what a series is; the place is told apart by describe().
ELSEWHERE = {
    "url", "url_env", "labels_table", "labels_columns", "labels_end", "labels_agreement", "since", "until", "max_rows",
    "retries", "retry_seconds", "timeout_seconds",
}  # fmt: skip

with warnings.catch_warnings():
    # pydantic's own, deprecated ``schema`` is a method: that of the configuration is older than this model
    warnings.filterwarnings("ignore", message='Field name "schema"')

    class SqlOptions(Options):
        """``source=sql``; ``conf/source/sql.yaml`` explains each key."""

        model_config = ConfigDict(hide_input_in_errors=True)  # a URL may hold a password

        url: str | None
        url_env: str
        schema: str | None  # type: ignore[assignment]
        table: str
        layout: Literal["long", "wide"]
        point_column: str | None
        time_column: str | None
        value_columns: list[str] | None
        ignore_columns: list[str]
        time_format: str
        time_zone: str
        daylight_saving: DaylightSaving
        since: str | None
        until: str | None
        labels_table: str | None
        labels_columns: dict[str, str | None]
        labels_end: LabelsEnd
        labels_agreement: float = Field(ge=0, le=1)
        duplicates: Duplicates
        infinite: Infinite
        min_points: int = Field(ge=1)
        max_rows: int = Field(ge=1)
        retries: int = Field(ge=0)
        retry_seconds: float = Field(ge=0)
        timeout_seconds: float = Field(gt=0)

        @model_validator(mode="after")
        def _possible(self) -> SqlOptions:
            if not self.table:
                raise ValueError("source.table is empty. Name the table or view that holds the series.")
            if "%" in self.time_format:
                raise ValueError(f"source.time_format={self.time_format!r} is for files. Make a view with a timestamp.")
            if self.daylight_saving == "infer":
                raise ValueError("source.daylight_saving=infer is for files: rows of a table have no order.")
            worded(self.times)
            worded(lambda: bounds(self.since, self.until))
            if self.labels_table is not None:
                worded(lambda: check_columns(self.labels_columns))
            return self

        def times(self) -> TimeReader:
            """How the time column is read."""
            return TimeReader(self.time_format, self.time_zone, self.daylight_saving)


def check_columns(columns: Mapping[str, str | None]) -> None:
    """Refuse what ``source.labels_columns`` cannot be.

    Raises:
        ConfigError: an unknown part, or a needed one that is missing.
    """
    unknown = sorted(set(columns) - set(PARTS))
    missing = [part for part in NEEDED if not columns.get(part)]
    if unknown or missing:
        what = f"names {', '.join(unknown)}" if unknown else f"lacks {', '.join(missing)}"
        raise ConfigError(f"source.labels_columns {what}", f"Its parts are {', '.join(PARTS)}.")
