"""Reading a ranged source through the cache: what is covered comes from it, gaps alone from the source."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tsad.core.errors import CacheError, SeriesError, SourceUnavailableError, StorageError, TsadError
from tsad.core.intervals import Span
from tsad.core.reading import Extents, Part, ReadFailure, SeriesRead
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.sources.base import no_rows, whole
from tsad.sources.cache.entries import Content, Entry, about, point_key, save_piece
from tsad.sources.cache.folder import remove, scan
from tsad.sources.cache.join import Piece, rows_of
from tsad.sources.cache.ranges import EVER, common, fetches, gaps, merged
from tsad.sources.cache.session import CacheSession

MOST_PIECES = 8  # of one point: more are joined into one file
log = logging.getLogger(__name__)


class RangedReader:
    """One read: what is wanted of each point, what is there, and what is fetched.

    Pieces that cannot be written stay in hand until their series is delivered, so that a read-only cache costs memory
    only where several fetches are needed for one series.
    """

    def __init__(self, session: CacheSession) -> None:
        self.session = session
        self.entries = scan(session.place)
        self.failures: dict[str, TsadError] = {}
        self.wants: dict[str, Span] = {}
        self.waiting: dict[str, int] = {}  # fetches that a point still waits for
        self.asked: set[str] = set()
        self.fresh: set[Path] = set()  # written in this read
        self.in_hand: dict[str, list[Piece]] = {}
        self.missing: dict[str, list[Span]] = {}
        self.partial: dict[str, list[Part]] = {}  # what there was of points that failed

    def covered(self, point_ids: Sequence[str]) -> dict[str, Span]:
        """From the first to the last instant that the cache answers for, of points it knows; holes do not count."""
        spans = {p: merged(e.span for e in self._entries(p) if e.span) for p in point_ids}
        return {p: (found[0][0], found[-1][1]) for p, found in spans.items() if found}

    def read(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[SeriesRead | ReadFailure]:
        """Valid series in the order asked; failures by name."""
        asked = (EVER[0] if start is None else start, EVER[1] if end is None else end)
        plan = self._plan(point_ids, asked)
        position = 0
        for span, names in plan:
            for _ in self._fetch(span, names):
                while position < len(point_ids) and not self.waiting.get(point_ids[position]):
                    yield from self._deliver(point_ids[position], asked)
                    position += 1
            if not self.session.online:
                break
        self.waiting.clear()
        for point_id in point_ids[position:]:
            yield from self._deliver(point_id, asked)

    # -- planning -------------------------------------------------------------------------------------

    def _plan(self, point_ids: Sequence[str], asked: Span) -> list[tuple[Span, list[str]]]:
        """What has to be fetched; asks the source for extents only where the cache does not cover all that is asked."""
        if not self.session.online:
            return []
        have = {p: self._settled(p) for p in point_ids}
        open_ones = [p for p in point_ids if gaps(asked, have[p])]
        self.wants = {p: asked for p in point_ids if p not in set(open_ones)}
        try:
            extents = self.session.source.extents(open_ones) if open_ones else Extents({})
        except SourceUnavailableError as error:
            self.session.cannot_reach(error)
            return []
        self.failures |= extents.failures
        for point_id in open_ones:
            want = common(extents.spans.get(point_id, (0, 0)), asked)
            if want is not None:
                self.wants[point_id] = want
                self.missing[point_id] = gaps(want, have[point_id])
        needed = {p: self.wants[p] for p, found in self.missing.items() if found}
        plan = fetches(needed, self.missing)
        for _, names in plan:
            for point_id in names:
                self.waiting[point_id] = self.waiting.get(point_id, 0) + 1
        self.asked = set(needed)
        return plan

    def _settled(self, point_id: str) -> list[Span]:
        """Ranges that the cache answers for and that no late value can change any more."""
        entries = [e for e in self._entries(point_id) if e.span]
        if not self.session.use.late_seconds:
            return merged(e.span for e in entries if e.span)
        late, found = self.session.use.late_seconds, []
        for entry in entries:
            try:
                said = about(entry.path)["fetched"]
            except CacheError:
                continue
            found += [(a, min(b, int((at - late) * NS_PER_SECOND))) for a, b, at in said]
        return merged((a, b) for a, b in found if a < b)

    # -- fetching -------------------------------------------------------------------------------------

    def _fetch(self, span: Span, names: Sequence[str]) -> Iterator[None]:
        """One fetch; yields whenever points have become ready."""
        order = {p: k for k, p in enumerate(names)}
        position = 0
        try:
            for piece in self.session.source.fetch(names, *span):
                if isinstance(piece, ReadFailure):
                    self.failures[piece.point_id] = piece.error
                    continue
                at = order[piece.point_id]
                for silent in names[position:at]:
                    self._keep_nothing(silent, span)
                self._keep(piece, span)
                position = at + 1
                yield
        except SourceUnavailableError as error:
            self.session.cannot_reach(error)
            return
        for silent in names[position:]:
            self._keep_nothing(silent, span)
        yield

    def _keep(self, piece: Series, span: Span) -> None:
        """Those parts of a fetched piece that were missing, each with the range it answers for."""
        now = time.time()
        self.waiting[piece.point_id] -= 1
        for gap in self.missing[piece.point_id]:
            inside = common(gap, span)
            if inside is not None:
                first, stop = np.searchsorted(piece.timestamps, inside)
                self._store(Content(piece.slice(int(first), int(stop)), ((*inside, now),)), inside)

    def _keep_nothing(self, point_id: str, span: Span) -> None:
        """That there is nothing in a range is worth remembering, unless the point has failed."""
        self.waiting[point_id] -= 1
        if point_id in self.failures:
            return
        empty = Series(point_id, np.empty(0, np.int64), np.empty((0, 1)), source=self.session.source.describe())
        now = time.time()
        for gap in self.missing[point_id]:
            inside = common(gap, span)
            if inside is not None:
                self._store(Content(empty, ((*inside, now),)), inside)

    def _store(self, content: Content, span: Span) -> None:
        point_id = content.series.point_id
        if not self.session.unwritable:
            try:
                entry = save_piece(content, self.session.place, span)
            except StorageError as error:
                self.session.stopped_writing(error)
            else:
                self.entries.setdefault(entry.point, []).append(entry)
                self.fresh.add(entry.path)
                self.session.memory.put(entry.path, content)
                return
        self.in_hand.setdefault(point_id, []).append(Piece(content, span, "source"))

    # -- delivering -----------------------------------------------------------------------------------

    def _deliver(self, point_id: str, asked: Span) -> Iterator[SeriesRead | ReadFailure]:
        if point_id not in self.failures:
            read = self._joined(point_id, asked)
            if read is not None:
                self._tidy(point_id)
                yield read
                return
        yield ReadFailure(point_id, self.failures[point_id], tuple(self.partial.get(point_id, ())))

    def _joined(self, point_id: str, asked: Span) -> SeriesRead | None:
        """The pieces of a point as one series; ``None`` where there is none, which is among the failures then."""
        session = self.session
        want = self.wants.get(point_id, asked) if session.online else asked
        pieces = self._pieces(point_id, want)
        lost = gaps(want, [p.span for p in pieces]) if session.online and point_id in self.wants else []
        if lost:  # an entry was damaged, or another process has removed it
            pieces += self._again(point_id, lost)
        rows, parts = rows_of([*pieces, *self.in_hand.pop(point_id, [])], want)
        self.partial[point_id] = parts
        if rows is None:
            self.failures.setdefault(point_id, self._nothing(point_id))
            return None
        try:
            series = whole(rows, session.source.rules)
        except SeriesError as error:
            self.failures[point_id] = error
            return None
        if point_id in self.asked or lost:
            session.fetched += 1
        else:
            session.hits += 1
        if lost:
            series = replace(series, notes={**series.notes, "cache": "entry was damaged: read again"})
        return SeriesRead(series, tuple(parts))

    def _nothing(self, point_id: str) -> TsadError:
        """Why there is no series: the source has no row, or it cannot be asked."""
        session = self.session
        return no_rows(point_id, session.source.describe()) if session.online else session.nothing_of(point_id)

    def _pieces(self, point_id: str, want: Span) -> list[Piece]:
        """What the cache has of a range; damaged entries are gone afterwards."""
        found = [p for p in self.in_hand.get(point_id, []) if common(p.span, want)]
        for entry in list(self._entries(point_id)):
            if entry.span is None or common(entry.span, want) is None:
                continue
            try:
                content, level = self.session.load(entry)
            except CacheError:
                self.entries[entry.point].remove(entry)
                continue
            found.append(Piece(content, entry.span, "source" if entry.path in self.fresh else level))
        return found

    def _again(self, point_id: str, lost: Sequence[Span]) -> list[Piece]:
        """Ranges that were covered when the read began, and are not any more."""
        self.missing[point_id] = list(lost)
        for span in lost:
            self.waiting[point_id] = 1
            for _ in self._fetch(span, [point_id]):
                pass
        found = [p for span in lost for p in self._pieces(point_id, span)]
        return [p for p in found if p.level == "source"]

    def _tidy(self, point_id: str) -> None:
        """Join the files of a point that has many into one per unbroken range."""
        entries = [e for e in self._entries(point_id) if e.span]
        if len(entries) <= MOST_PIECES or self.session.unwritable:
            return
        try:
            for span in merged(e.span for e in entries if e.span):
                own = [e for e in entries if e.span and common(e.span, span)]
                pieces = [Piece(self.session.load(e)[0], e.span, "cache") for e in own if e.span]
                rows, parts = rows_of(pieces, span)
                series = rows if rows is not None else pieces[0].content.series
                fetched = tuple((p.start, p.end, p.fetched_at) for p in parts)
                kept = save_piece(Content(series, fetched), self.session.place, span)
                for entry in own:
                    if entry.path != kept.path:
                        remove(entry.path)
                        self.session.memory.drop(entry.path)
        except (CacheError, StorageError) as error:
            log.debug("the pieces of %s stay apart: %s", point_id, error)

    def _entries(self, point_id: str) -> list[Entry]:
        return self.entries.get(point_key(point_id), [])
