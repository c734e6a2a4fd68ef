"""Pieces of a series, fetched at different times, become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsad.core.intervals import Span
from tsad.core.reading import Level, Part
from tsad.core.series import Series
from tsad.sources.cache.entries import Content, Fetched
from tsad.sources.cache.ranges import common, gaps
from tsad.sources.validate import Note


@dataclass(frozen=True, eq=False)
class Piece:
    """A content, the range it answers for, and the level it came from."""

    content: Content
    span: Span
    level: Level

    @property
    def fetched(self) -> float:
        """When its newest part was fetched."""
        return max((at for _, _, at in self.content.fetched), default=0.0)


def rows_of(pieces: Sequence[Piece], want: Span) -> tuple[Series | None, list[Part]]:
    """The rows of the pieces inside ``want``, unvalidated, and where they came from; what is told twice, as told last.

    Returns:
        ``None`` where no piece has a row in it.
    """
    chosen: list[tuple[Span, Piece]] = []
    for piece in sorted(pieces, key=lambda p: p.fetched, reverse=True):
        inside = common(piece.span, want)
        if inside is not None:
            chosen += [(span, piece) for span in gaps(inside, [span for span, _ in chosen])]
    chosen.sort(key=lambda item: item[0])
    parts = [part for span, piece in chosen for part in _parts(span, piece)]
    cuts = [(_cut(piece.content.series, span), piece) for span, piece in chosen]
    filled = [(cut, piece) for cut, piece in cuts if len(cut)]
    if not filled:
        return None, parts
    if len(filled) == 1:
        return filled[0][0], parts
    channels = tuple(dict.fromkeys(name for cut, _ in filled for name in cut.channels))
    stamps = np.concatenate([cut.timestamps for cut, _ in filled])
    values = np.concatenate([_in_order(cut, channels) for cut, _ in filled])
    newest = max(filled, key=lambda item: item[1].fetched)[0]
    notes = _notes([piece.content.series for _, piece in filled])
    return Series(newest.point_id, stamps, values, channels, newest.time_kind, None, newest.source, notes), parts


def _parts(span: Span, piece: Piece) -> list[Part]:
    kind = piece.content.series.time_kind
    said: Sequence[Fetched] = piece.content.fetched or [(*span, 0.0)]
    found = [(common(span, (a, b)), at) for a, b, at in said]
    return [Part(*inside, piece.level, at, kind) for inside, at in found if inside is not None]


def _cut(series: Series, span: Span) -> Series:
    first, stop = np.searchsorted(series.timestamps, span)
    return series if first == 0 and stop == len(series) else series.slice(int(first), int(stop))


def _in_order(series: Series, channels: tuple[str, ...]) -> np.ndarray:
    """Values [T, C] by channel; a channel that this piece does not have is missing in it."""
    if series.channels == channels:
        return series.values
    out = np.full((len(series), len(channels)), np.nan)
    for k, name in enumerate(series.channels):
        out[:, channels.index(name)] = series.values[:, k]
    return out


def _notes(series: Sequence[Series]) -> dict[str, Note]:
    """Counts of what was mended add up; of texts the last one stays."""
    total: dict[str, Note] = {}
    for one in series:
        for key, value in one.notes.items():
            before = total.get(key)
            both = isinstance(before, int | float) and isinstance(value, int | float)
            total[key] = before + value if both else value  # type: ignore[operator]
    return total
