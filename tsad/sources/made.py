"""Sources whose series are made, not read: the same ones for the same options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property

from tsad.core.errors import ConfigError
from tsad.core.option_model import Configured
from tsad.core.series import Series
from tsad.files.hashing import digest_of_parts
from tsad.sources.base import Source
from tsad.sources.validate import RawSeries, validate


class MadeSource(Configured, Source):
    """Series of a synthetic maker, made on the first use."""

    cacheable = False  # made faster than a cache entry is read and verified, and new code may make others

    @abstractmethod
    def make(self) -> list[Series]:
        """The series, from the options alone.

        Raises:
            ValueError: options that make none.
        """

    @cached_property
    def _made(self) -> dict[str, Series]:
        try:
            return {item.point_id: item for item in self.make()}
        except ValueError as error:
            raise ConfigError(f"source={self.name}: {error}", "Change the source's options.") from error

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
