"""From the evidence of a channel to the network's windows: scales, cutting, padding.

Scoring, training and pre-training all cut here, so that a window looks the same to the network in each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.detectors.evidence.channels import INDEX, UNIT, Evidence
from tsad.detectors.evidence.compiled import compiled

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 16  # shrunk points made at once
TOGETHER = 32  # windows that are cut from one sheet
LOG_PERIOD = INDEX["log_period"]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Sheet:
    """One channel at one scale, as a network reads it.

    Attributes:
        values: [N] in deviations; ``observed`` [N].
        rows: [R, N] evidence.
        names: which R of ``rows`` the network sees, in its order: [E]; they are taken when a window is cut.
    """

    values: Floats
    observed: BoolArray
    rows: Rows
    names: IntArray


@dataclass(frozen=True, eq=False)
class Piece:
    """One network window, padded to the network's length L.

    Attributes:
        start: position of its first point in the sheet.
        size: points before the padding.
        values, observed: [L]; ``observed`` is false where filled in or padded.
        rows: [E, L] evidence; 0 where padded.
    """

    start: int
    size: int
    values: Floats
    observed: BoolArray
    rows: Rows


def scales_for(total: int, length: int) -> list[int]:
    """Points taken as one: 1, 4, and so many that the whole series fits into one window (at most 64)."""
    if total <= length:
        return [1]
    return sorted({1, 4, whole_scale(total, length)})


def whole_scale(total: int, length: int) -> int:
    """So many points as one that the whole series fits into one window, 4 to 64."""
    return min(64, max(4, -(-total // length)))


def scale_weight(scale: int) -> float:
    """How often a scale is drawn for training on reviewed windows: the coarser, the less."""
    return float(scale**-0.5)


def rows_seen(names: Sequence[str]) -> IntArray:
    """Where the named rows of evidence stand, [E]."""
    return np.array([INDEX[name] for name in names], np.int64)


def sheet_of(evidence: Evidence, scale: int, seen: IntArray, whole: bool | None = None) -> Sheet:
    """Every ``scale`` points of a channel as one.

    Values: half their mean, half the one farthest from it, so that a short spike survives. Evidence: what is farthest
    from 0. Missing where all of them are missing. seen [E]: the rows that the network sees.

    whole: whether nothing is missing in all of the channel, where the evidence is of a part of it.
    """
    if scale == 1:
        return Sheet(evidence.values, evidence.observed, evidence.rows, seen)
    values = shrink(evidence.values, evidence.observed, scale, whole)
    observed = shrink_flags(evidence.observed, scale)
    rows = shrink_rows(evidence.rows, scale, seen)
    rows[seen == LOG_PERIOD] -= np.int16(round(np.log2(scale) / 4 / UNIT))  # the period in points of this scale
    return Sheet(values, observed, rows, np.arange(len(seen)))


def shrink(values: Floats, observed: BoolArray, scale: int, whole: bool | None = None) -> Floats:
    """Half the mean of every ``scale`` observed values, half the one farthest from it. [T] -> [ceil(T / k)]."""
    if scale == 1:
        return values
    out = np.empty(-(-len(values) // scale), np.float32)
    whole = bool(observed.all()) if whole is None else whole
    for start in range(0, len(out), BLOCK):
        stop = min(start + BLOCK, len(out))
        part = slice(start * scale, stop * scale)
        table = _table(values[part], scale, "edge")
        if whole:
            mean = table.mean(axis=1)
            high, low = table.max(axis=1), table.min(axis=1)
        else:
            seen = _table(observed[part], scale, "constant")
            count = np.maximum(seen.sum(axis=1), 1)
            mean = np.where(seen, table, 0).sum(axis=1) / count
            high = np.where(seen, table, -np.inf).max(axis=1)
            low = np.where(seen, table, np.inf).min(axis=1)
            none = ~seen.any(axis=1)
            mean[none] = high[none] = low[none] = table[none].mean(axis=1)
        out[start:stop] = 0.5 * mean + 0.5 * np.where(high - mean >= mean - low, high, low)
    return out


def shrink_flags(flags: BoolArray, scale: int) -> BoolArray:
    """True where any of ``scale`` points is. [T] -> [ceil(T / k)]."""
    return flags if scale == 1 else np.asarray(_table(flags, scale, "constant").any(axis=1))


def shrink_rows(rows: Rows, scale: int, seen: IntArray) -> Rows:
    """Of every ``scale`` points the figure farthest from 0, row by row. [R, T], [E] -> [E, ceil(T / k)]."""
    out = np.empty((len(seen), -(-rows.shape[1] // scale)), np.int16)
    for number, row in enumerate(seen):
        compiled(_farthest)(_table(rows[row], scale, "edge"), out[number])
    return out


def _farthest(table: Any, out: Any) -> None:  # compiled
    """Of each row the figure farthest from 0, the higher of two as far."""
    for row in range(table.shape[0]):
        high = low = table[row, 0]
        for k in range(1, table.shape[1]):
            high, low = max(high, table[row, k]), min(low, table[row, k])
        out[row] = high if high >= -low else low


def _table(values: np.ndarray, scale: int, mode: str) -> np.ndarray:
    if spare := -len(values) % scale:
        values = np.pad(values, (0, spare), mode=mode)  # type: ignore[call-overload]
    return values.reshape(-1, scale)


def cut_piece(sheet: Sheet, start: int, length: int) -> Piece:
    """The window of ``length`` points from ``start`` on; a series shorter than it is padded."""
    stop = min(start + length, len(sheet.values))
    values, observed, rows = sheet.values[start:stop], sheet.observed[start:stop], sheet.rows[sheet.names, start:stop]
    if pad := length - (stop - start):
        values, observed = np.pad(values, (0, pad), mode="edge"), np.pad(observed, (0, pad))
        rows = np.pad(rows, ((0, 0), (0, pad)))
    return Piece(start, stop - start, values, observed, rows)


def pieces(evidence: Evidence, scale: int, seen: IntArray, starts: Sequence[int], length: int) -> Iterator[Piece]:
    """Windows of one channel at one scale, one at a time; never is more of it shrunk than some windows need.

    seen [E]: the rows that the network sees. starts: of the windows in ascending order, in points of the scale.
    """
    whole = bool(evidence.observed.all())
    for at in range(0, len(starts), TOGETHER):
        some = starts[at : at + TOGETHER]
        part = evidence.part(some[0] * scale, (some[-1] + length) * scale)
        sheet = sheet_of(part, scale, seen, whole)
        for start in some:
            yield replace(cut_piece(sheet, start - some[0], length), start=start)


def add_repeated(total: FloatArray, figures: FloatArray, scale: int) -> None:
    """Add a figure of every ``scale`` points to each of them, in place. [T], [ceil(T / scale)]."""
    whole = len(total) // scale
    by_figure = total[: whole * scale].reshape(whole, scale)
    by_figure += figures[:whole, None]
    total[whole * scale :] += figures[whole:]


def stack(batch: Iterable[Piece], device: str) -> dict[str, torch.Tensor]:
    """Values [B, L] float32, flags [B, L] bool and evidence [B, E, L] int16 of the pieces, on the device."""
    import torch

    made = list(batch)
    named = {
        "values": np.stack([p.values for p in made]),
        "observed": np.stack([p.observed for p in made]),
        "evidence": np.stack([p.rows for p in made]),
    }
    return {name: torch.from_numpy(array).to(device) for name, array in named.items()}
