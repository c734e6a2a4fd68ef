"""A simulated plant as a source: seeded, with labels; what the demo and many tests run on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import Field, model_validator

from tsad.core.errors import ConfigError
from tsad.core.option_model import Options
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.sources.choices import worded
from tsad.sources.made import MadeSource


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


class SyntheticSource(MadeSource):
    """Series of ``tsad.synthetic.plant``."""

    name = "synthetic"
    options_model: ClassVar[type[Options]] = SyntheticOptions

    def __init__(self, options: SyntheticOptions | None = None, **given: Any) -> None:
        settings: SyntheticOptions = self.configured(options, given)
        self._described = f"synthetic:seed={settings.seed},series={settings.series},points={settings.points}"
        self.arguments: dict[str, Any] = settings.model_dump() | {"start": settings.first_timestamp()}

    def make(self) -> list[Series]:
        """See :meth:`MadeSource.make`."""
        from tsad.synthetic.plant import plant

        return plant(**self.arguments)

    def describe(self) -> str:
        return self._described
