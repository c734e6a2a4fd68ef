"""What ``source=iotdb`` is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tsad.core.durations import parse_duration
from tsad.core.errors import ConfigError
from tsad.core.option_model import Options
from tsad.sources.base import bounds
from tsad.sources.choices import Backward, Duplicates, Infinite, LabelsEnd, worded
from tsad.sources.iotdb.connection import parse_nodes
from tsad.sources.iotdb.models import TableModel, TreeModel, Windows
from tsad.sources.times import TimeReader
from tsad.sources.validate import Rules


class IotdbOptions(Options):
    """``source=iotdb``; ``conf/source/iotdb.yaml`` explains each key."""

    nodes: list[str]
    user_env: str
    password_env: str
    model: Literal["tree", "table"]
    paths: list[str]
    prefix: str
    database: str
    table: str
    tags: list[str] | None
    fields: list[str] | None
    separator: str
    layout: Literal["point", "device"]
    aggregate: (
        Literal["avg", "sum", "count", "stddev", "min_value", "max_value", "first_value", "last_value"] | None
    )
    every: str | None
    since: str | None
    until: str | None
    write_back: bool
    labels: str | None
    time_zone: str
    labels_end: LabelsEnd
    fetch_rows: int = Field(ge=1)
    max_rows: int = Field(ge=1)
    timeout_seconds: float = Field(gt=0)
    retries: int = Field(ge=0)
    duplicates: Duplicates
    backward: Backward
    infinite: Infinite
    min_points: int = Field(ge=1)

    @model_validator(mode="after")
    def _possible(self) -> IotdbOptions:
        worded(lambda: parse_nodes(self.nodes))
        worded(self.asked)
        worded(self.windows)
        worded(lambda: bounds(self.since, self.until))
        worded(lambda: TimeReader(time_zone=self.time_zone))
        return self

    def asked(self) -> TreeModel | TableModel:
        """What is read, in the words of the server's model."""
        if self.model == "tree":
            return TreeModel(layout=self.layout, paths=self.paths, prefix=self.prefix)
        return TableModel(
            layout=self.layout, database=self.database, table=self.table, tags=self.tags, fields=self.fields,
            separator=self.separator,
        )  # fmt: skip

    def windows(self) -> Windows | None:
        """Aggregation in the server; ``None`` = raw rows."""
        if self.aggregate is None:
            return None
        span = parse_duration(self.every or "", "source.every")
        if span % 1_000_000:
            raise ConfigError(
                f"source.every={self.every!r} is no whole number of milliseconds", "Write e.g. 500ms or 60s."
            )
        return Windows(self.aggregate, span // 1_000_000)

    def rules(self) -> Rules:
        """How rows become series."""
        return Rules(
            duplicates=self.duplicates, backward=self.backward, infinite=self.infinite, min_points=self.min_points
        )
