"""A source with the cache in front of it: memory, then disk, then the source; the cache alone when that is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsad.core.errors import CacheError, OfflineError, SourceUnavailableError, StorageError, TsadError
from tsad.core.reading import Extents, Part, ReadFailure, ReadItem, ReadSummary, SeriesRead
from tsad.core.reviews import Labelling
from tsad.core.series import Series
from tsad.core.types import Detection, Interval
from tsad.files.atomic import atomic
from tsad.sources.base import Source
from tsad.sources.cache.folder import LABELS, SOURCE, read_json, shrink, write_json
from tsad.sources.cache.ranged import RangedReader
from tsad.sources.cache.session import CacheSession, CacheUse
from tsad.sources.cache.whole import WholeReader
from tsad.sources.cache.working_set import WorkingSet


class _Fronted(Source):
    """A source behind the cache: what the cached source and each read of it have in common."""

    def __init__(self, source: Source, enabled: bool) -> None:
        self.source, self.enabled = source, enabled and source.cacheable
        self.name, self.cacheable, self.rules = source.name, source.cacheable, source.rules
        self.write_back, self.span = source.write_back, source.span
        self.ranged = source.ranged and not self.enabled  # from the cache they come whole

    def digest(self, point_id: str | None = None) -> str:
        return self.source.digest(point_id)

    def describe(self) -> str:
        return self.source.describe()

    def identity(self) -> str:
        return self.source.identity()

    def write(self, series: Series, detection: Detection) -> int:
        return self.source.write(series, detection)

    def close(self) -> None:
        self.source.close()


class CachedSource(_Fronted):
    """Reads like the source itself, and tells of each read where its ranges came from.

    A range that is cached is not fetched again; a gap is fetched alone. A damaged entry is fetched again, and the
    series says so in its notes. A folder that cannot be written is said once per read in the log, and series come from
    the source.

    Args:
        source: where series come from.
        folder: where the cache lies; made when the first entry is written.
        memory: the working set, shared by the sources of a call; ``None`` = none.
        given: the fields of :class:`~tsad.sources.cache.session.CacheUse`.

    Raises:
        ConfigError: an unknown ``offline``.
    """

    def __init__(self, source: Source, folder: Path, memory: WorkingSet | None = None, **given: Any) -> None:
        self.use, self.folder = CacheUse(**given), Path(folder)
        super().__init__(source, self.use.enabled)
        self.place = self.folder / source.identity()[:16]
        self.memory = WorkingSet() if memory is None else memory
        self._unreachable = ""

    def points(self) -> list[str]:
        """See :meth:`Source.points`; the last list that the source gave while it cannot be asked.

        Raises:
            OfflineError: ``offline=only``, and the cache has never seen this source.
        """
        return self._opened().points()

    def extents(self, point_ids: Sequence[str]) -> Extents:
        """See :meth:`Source.extents`; what the cache covers while a ranged source cannot be asked."""
        return self._opened().extents(point_ids)

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        """See :meth:`Source.annotations`; those it gave last while it cannot be asked."""
        return self._opened().annotations(point_ids)

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
        """See :meth:`Source.fetch`; valid series, also where the source itself gives pieces."""
        return self._opened().fetch(point_ids, start, end)

    def read(
        self, point_ids: Sequence[str] | None = None, start: int | None = None, end: int | None = None
    ) -> Iterator[ReadItem]:
        """See :meth:`Source.read`; the summary tells of the cache's part."""
        return self._opened().read(point_ids, start, end)

    def unasked(self, why: str) -> CachedSource:
        """See :meth:`Source.unasked`: the cache answers alone."""
        alone = CachedSource(self.source, self.folder, self.memory, **asdict(self.use))
        alone._unreachable = why
        return alone

    def require_writable(self) -> None:
        """See :meth:`Source.require_writable`: the folder.

        Raises:
            CacheError: the folder cannot be made or written.
        """
        if not self.enabled:
            return
        try:
            with atomic(self.folder / ".writable") as partial:
                partial.write_bytes(b"")
            (self.folder / ".writable").unlink(missing_ok=True)
        except StorageError as error:
            raise CacheError(f"the cache cannot be written: {error.found}", error.remedy) from error

    def _opened(self) -> _Through:
        session = CacheSession(self.source, self.place, self.use, self.memory, self._unreachable)
        return _Through(session, self.folder)


class _Through(_Fronted):
    """The source as one read through the cache sees it."""

    def __init__(self, session: CacheSession, folder: Path) -> None:
        super().__init__(session.source, session.enabled)
        self.session, self.folder, self.place = session, folder, session.place

    def points(self) -> list[str]:
        if not self.enabled:
            return self.source.points()
        known = read_json(self.place / SOURCE).get("points")
        if self.session.online:
            try:
                points = self.source.points()
            except SourceUnavailableError as error:
                if not known:  # a wrong path rather than an outage: its own words say more
                    raise
                self.session.cannot_reach(error)
            else:
                self._keep_points(points)
                return points
        if not known:
            why = self.session.unreachable or "cache.offline=only"
            raise OfflineError(
                f"the cache knows nothing of {self.describe()} ({why})", "Run tsad ingest while it can be reached."
            )
        return [str(point) for point in known]

    def extents(self, point_ids: Sequence[str]) -> Extents:
        if not self.source.ranged:
            return super().extents(point_ids)
        if self.session.online:
            try:
                return self.source.extents(point_ids)
            except SourceUnavailableError as error:
                self.session.cannot_reach(error)
        return Extents(RangedReader(self.session).covered(point_ids), unreachable=self.session.unreachable)

    def annotations(self, point_ids: Sequence[str]) -> dict[str, Labelling] | None:
        if not self.enabled:
            return self.source.annotations(point_ids)
        if self.session.online:
            try:
                labellings = self.source.annotations(point_ids)
            except SourceUnavailableError as error:
                self.session.cannot_reach(error)
            else:
                if labellings is not None:
                    self._keep_labels(point_ids, labellings)
                return labellings
        kept = {point: _labelling(one) for point, one in read_json(self.place / LABELS).items()}
        return {p: kept[p] for p in point_ids if p in kept} or None

    def fetch(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series | ReadFailure]:
        for item in self._outcomes(point_ids, start, end):
            yield item.series if isinstance(item, SeriesRead) else item

    def _outcomes(
        self, names: Sequence[str], start: int | None, end: int | None
    ) -> Iterator[SeriesRead | ReadFailure]:
        if not self.enabled:
            yield from self.source._outcomes(names, start, end)
        elif self.source.ranged:
            yield from RangedReader(self.session).read(names, start, end)
        else:
            yield from WholeReader(self.session).read(names)
        if self.enabled and self.session.use.max_bytes and self.session.fetched:
            shrink(self.folder, self.session.use.max_bytes)

    def _summary(
        self, failures: Mapping[str, TsadError], provenance: Mapping[str, tuple[Part, ...]]
    ) -> ReadSummary:
        met = self.session
        return ReadSummary(
            source=self.describe(), count=len(provenance), failures=failures, provenance=provenance, cached=True,
            unreachable=met.unreachable, hits=met.hits, fetched=met.fetched, damaged=met.damaged,
            unwritable=met.unwritable,
        )  # fmt: skip

    def _keep_points(self, points: Sequence[str]) -> None:
        kept = read_json(self.place / SOURCE)
        if (kept.get("points"), kept.get("source")) != (list(points), self.describe()) and not self.session.unwritable:
            write_json(self.place / SOURCE, {"source": self.describe(), "points": list(points)})

    def _keep_labels(self, asked: Sequence[str], labellings: Mapping[str, Labelling]) -> None:
        kept = read_json(self.place / LABELS)
        now = {p: v for p, v in kept.items() if p not in set(asked)}
        now |= {point: asdict(one) for point, one in labellings.items()}
        if now != kept and not self.session.unwritable:
            write_json(self.place / LABELS, now)


def _labelling(kept: dict[str, list[dict[str, object]]]) -> Labelling:
    intervals, disputed = (tuple(Interval(**item) for item in kept[k]) for k in ("intervals", "disputed"))  # type: ignore[arg-type]
    return Labelling(intervals, disputed)
