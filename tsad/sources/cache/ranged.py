"""Reading a ranged source through the cache: what is covered comes from it, gaps alone from the source."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.errors import CacheError, SeriesError, SourceUnavailableError, StorageError, TsadError
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.sources.base import no_rows, whole
from tsad.sources.cache.entries import Content, Entry, about, point_key, save_piece
from tsad.sources.cache.folder import remove, scan
from tsad.sources.cache.join import Piece, rows_of
from tsad.sources.cache.ranges import EVER, Span, batches, common, gaps, merged

if TYPE_CHECKING:
    from tsad.sources.cache.cached import CachedSource

MOST_PIECES = 8  # of one point: more are joined into one file
log = logging.getLogger(__name__)


class RangedReader:
    """One read: what is wanted of each point, what is there, and what is fetched.

    Pieces that cannot be written stay in hand until their series is delivered, so that a read-only cache costs memory
    only where several fetches are needed for one series.
    """

    def __init__(self, cache: CachedSource) -> None:
        self.cache = cache
        self.entries = scan(cache.place)
        self.wants: dict[str, Span] = {}
        self.waiting: dict[str, int] = {}  # fetches that a point still waits for
        self.asked: set[str] = set()
        self.fresh: set[Path] = set()  # written in this read
        self.in_hand: dict[str, list[Piece]] = {}
        self.missing: dict[str, list[Span]] = {}

    def covered(self, point_ids: Sequence[str]) -> dict[str, Span]:
        """From the first to the last instant that the cache answers for, of points it knows; holes do not count."""
        spans = {p: merged(e.span for e in self._entries(p) if e.span) for p in point_ids}
        return {p: (found[0][0], found[-1][1]) for p, found in spans.items() if found}

    def read(self, point_ids: Sequence[str], start: int | None, end: int | None) -> Iterator[Series]:
        """Valid series in the order asked; failures by name."""
        asked = (EVER[0] if start is None else start, EVER[1] if end is None else end)
        plan = self._plan(point_ids, asked)
        position = 0
        for span, names in plan:
            for _ in self._fetch(span, names):
                while position < len(point_ids) and not self.waiting.get(point_ids[position]):
                    yield from self._deliver(point_ids[position], asked)
                    position += 1
            if not self.cache.online:
                break
        self.waiting.clear()
        for point_id in point_ids[position:]:
            yield from self._deliver(point_id, asked)

    # -- planning -------------------------------------------------------------------------------------

    def _plan(self, point_ids: Sequence[str], asked: Span) -> list[tuple[Span, list[str]]]:
        """What has to be fetched; asks the source for extents only where the cache does not cover all that is asked."""
        if not self.cache.online:
            return []
        have = {p: self._settled(p) for p in point_ids}
        open_ones = [p for p in point_ids if gaps(asked, have[p])]
        self.wants = {p: asked for p in point_ids if p not in set(open_ones)}
        try:
            extents = self.cache.source.extents(open_ones) if open_ones else {}
        except SourceUnavailableError as error:
            self.cache.cannot_reach(error)
            return []
        for point_id in open_ones:
            want = common(extents.get(point_id, (0, 0)), asked)
            if want is not None:
                self.wants[point_id] = want
                self.missing[point_id] = gaps(want, have[point_id])
        needed = {p: self.wants[p] for p, found in self.missing.items() if found}
        plan = batches(needed, self.missing)
        for _, names in plan:
            for point_id in names:
                self.waiting[point_id] = self.waiting.get(point_id, 0) + 1
        self.asked = set(needed)
        return plan

    def _settled(self, point_id: str) -> list[Span]:
        """Ranges that the cache answers for and that no late value can change any more."""
        entries = [e for e in self._entries(point_id) if e.span]
        if not self.cache.late_seconds:
            return merged(e.span for e in entries if e.span)
        late, found = self.cache.late_seconds, []
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
            for piece in self.cache.source.fetch(names, *span):
                at = order[piece.point_id]
                for silent in names[position:at]:
                    self._keep_nothing(silent, span)
                self._keep(piece, span)
                position = at + 1
                yield
        except SourceUnavailableError as error:
            self.cache.cannot_reach(error)
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
        if point_id in self.cache.failures:
            return
        empty = Series(point_id, np.empty(0, np.int64), np.empty((0, 1)), source=self.cache.describe())
        now = time.time()
        for gap in self.missing[point_id]:
            inside = common(gap, span)
            if inside is not None:
                self._store(Content(empty, ((*inside, now),)), inside)

    def _store(self, content: Content, span: Span) -> None:
        point_id = content.series.point_id
        if not self.cache.unwritable:
            try:
                entry = save_piece(content, self.cache.place, span)
            except StorageError as error:
                self.cache.stopped_writing(error)
            else:
                self.entries.setdefault(entry.point, []).append(entry)
                self.fresh.add(entry.path)
                self.cache.memory.put(entry.path, content)
                return
        self.in_hand.setdefault(point_id, []).append(Piece(content, span, "source"))

    # -- delivering -----------------------------------------------------------------------------------

    def _deliver(self, point_id: str, asked: Span) -> Iterator[Series]:
        cache = self.cache
        if point_id in cache.failures:
            return
        want = self.wants.get(point_id, asked) if cache.online else asked
        pieces = self._pieces(point_id, want)
        lost = gaps(want, [p.span for p in pieces]) if cache.online and point_id in self.wants else []
        if lost:  # an entry was damaged, or another process has removed it
            pieces += self._again(point_id, lost)
        rows, parts = rows_of([*pieces, *self.in_hand.pop(point_id, [])], want)
        if rows is None:
            cache.failures[point_id] = self._nothing(point_id)
            return
        try:
            series = whole(rows, cache.rules)
        except SeriesError as error:
            cache.failures[point_id] = error
            return
        if point_id in self.asked or lost:
            cache.fetched += 1
        else:
            cache.hits += 1
        cache.provenance[point_id] = tuple(parts)
        self._tidy(point_id)
        yield replace(series, notes={**series.notes, "cache": "entry was damaged: read again"}) if lost else series

    def _nothing(self, point_id: str) -> TsadError:
        """Why there is no series: the source has no row, or it cannot be asked."""
        return no_rows(point_id, self.cache.describe()) if self.cache.online else self.cache.nothing_of(point_id)

    def _pieces(self, point_id: str, want: Span) -> list[Piece]:
        """What the cache has of a range; damaged entries are gone afterwards."""
        found = [p for p in self.in_hand.get(point_id, []) if common(p.span, want)]
        for entry in list(self._entries(point_id)):
            if entry.span is None or common(entry.span, want) is None:
                continue
            try:
                content, level = self.cache.load(entry)
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
        if len(entries) <= MOST_PIECES or self.cache.unwritable:
            return
        try:
            for span in merged(e.span for e in entries if e.span):
                own = [e for e in entries if e.span and common(e.span, span)]
                pieces = [Piece(self.cache.load(e)[0], e.span, "cache") for e in own if e.span]
                rows, parts = rows_of(pieces, span)
                series = rows if rows is not None else pieces[0].content.series
                fetched = tuple((p.start, p.end, p.fetched_at) for p in parts)
                kept = save_piece(Content(series, fetched), self.cache.place, span)
                for entry in own:
                    if entry.path != kept.path:
                        remove(entry.path)
                        self.cache.memory.drop(entry.path)
        except (CacheError, StorageError) as error:
            log.debug("the pieces of %s stay apart: %s", point_id, error)

    def _entries(self, point_id: str) -> list[Entry]:
        return self.entries.get(point_key(point_id), [])
