"""A simulated plant as a source: seeded, with labels; what the demo and many tests run on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tsad.core.errors import ConfigError
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source
from tsad.sources.validate import validate


class SyntheticSource(Source):
    """Series of ``tsad.synthetic.plant``; made on the first use, the same ones for the same arguments.

    Args:
        seed: seed of everything.
        series: how many series.
        points: points per series.
        step_seconds: sampling interval.
        start: first timestamp, ISO 8601, UTC where it names no zone.
        anomaly_rate: labelled anomalies per 1,000 points, about.
    """

    name = "synthetic"
    cacheable = False  # made faster than a cache entry is read and verified, and new code may make others

    def __init__(
        self, *, seed: int, series: int, points: int, step_seconds: float, start: str, anomaly_rate: float
    ) -> None:
        super().__init__()
        self._described = f"synthetic:seed={seed},series={series},points={points}"
        self.arguments: dict[str, Any] = {
            "seed": seed, "series": series, "points": points, "step_seconds": step_seconds,
            "start": _nanoseconds(start), "anomaly_rate": anomaly_rate,
        }

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
                point_id, made.timestamps, made.values, made.channels, time_kind=made.time_kind, labels=made.labels,
                source=self.describe(), notes=made.notes,
            )

    def digest(self, point_id: str | None = None) -> str:
        """From the values themselves: they are there, and the generator's code may change."""
        names = self.points() if point_id is None else [point_id]
        return digest_of_parts(*(self._made[name].digest for name in names))

    def describe(self) -> str:
        return self._described


def _nanoseconds(start: str) -> int:
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise ConfigError(f"source.start={start!r} is no time", "Write it like 2026-01-01T00:00:00Z.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * NS_PER_SECOND
