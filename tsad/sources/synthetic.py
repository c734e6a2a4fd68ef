"""A simulated plant as a source: seeded, with labels; what the demo and many tests run on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, model_validator

from tsad.core.errors import ConfigError
from tsad.core.option_model import Configured, Options
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source
from tsad.sources.choices import worded
from tsad.sources.validate import RawSeries, validate


class SyntheticOptions(Options):
    """``source=synthetic``.

    Attributes:
        seed: seed of everything.
        series: how many series.
        points: points per series.
        step_seconds: sampling interval.
        start: first timestamp, ISO 8601, UTC where it names no zone.
        anomaly_rate: labelled anomalies per 1,000 points, about.
    """

    seed: int = Field(ge=0)
    series: int = Field(ge=1)
    points: int = Field(ge=1)
    step_seconds: float = Field(gt=0)
    start: str
    anomaly_rate: float = Field(ge=0)

    @model_validator(mode="after")
    def _begins(self) -> SyntheticOptions:
        worded(self.first_timestamp)
        return self

    def first_timestamp(self) -> int:
        """``start`` in ns UTC."""
        try:
            moment = datetime.fromisoformat(self.start)
        except ValueError as error:
            found = f"source.start={self.start!r} is no time"
            raise ConfigError(found, "Write it like 2026-01-01T00:00:00Z.") from error
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * NS_PER_SECOND


class SyntheticSource(Configured, Source):
    """Series of ``tsad.synthetic.plant``; made on the first use, the same ones for the same options."""

    name = "synthetic"
    cacheable = False  # made faster than a cache entry is read and verified, and new code may make others
    options_model: ClassVar[type[Options]] = SyntheticOptions

    def __init__(self, options: SyntheticOptions | None = None, **given: Any) -> None:
        settings: SyntheticOptions = self.configured(options, given)
        self._described = f"synthetic:seed={settings.seed},series={settings.series},points={settings.points}"
        self.arguments: dict[str, Any] = settings.model_dump() | {"start": settings.first_timestamp()}

    @cached_property
    def _made(self) -> dict[str, Series]:
        from tsad.synthetic.plant import plant

        try:
            return {item.point_id: item for item in plant(**self.arguments)}
        except ValueError as error:
            raise ConfigError(f"source=synthetic: {error}", "Change source.series, points or step_seconds.") from error

    def points(self) -> list[str]:
        return sorted(self._made)

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """See :meth:`Source.fetch`."""
        for point_id in point_ids:
            made = self._made[point_id]
            yield validate(
                RawSeries(
                    point_id, made.timestamps, made.values, made.channels, made.time_kind, made.labels,
                    self.describe(), made.notes,
                )
            )  # fmt: skip

    def digest(self, point_id: str | None = None) -> str:
        """From the values themselves: they are there, and the generator's code may change."""
        names = self.points() if point_id is None else [point_id]
        return digest_of_parts(*(self._made[name].digest for name in names))

    def describe(self) -> str:
        return self._described
