"""Whom to ask about what: windows around the candidates in doubt, as many as a budget allows."""

from __future__ import annotations

import numpy as np

from tsad.core.series import Series
from tsad.core.types import FloatArray, IntArray
from tsad.detectors.proposals.calibrator import logit

HOUR = 3_600_000_000_000  # ns


def budget(series: Series, windows_per_hour: float) -> int:
    """How many windows of a series may be asked about: by the hours that it spans, whole ones, rounded down.

    Hours are of the series' own time, not of the clock: the same series gives the same answer on every machine.
    """
    hours = (int(series.timestamps[-1]) - int(series.timestamps[0]) + series.step) / HOUR
    return int(windows_per_hour * hours + 1e-9)


def in_doubt(
    runs: IntArray, probability: FloatArray, threshold: float, *, total: int, length: int, most: int
) -> list[slice]:
    """Disjoint stretches of a series around its most doubtful candidates, in order.

    Doubt is the distance of the log odds from those of the threshold. A candidate that a chosen stretch holds costs
    nothing more; stretches that overlap are asked about as one.

    Args:
        runs: [K, 2] candidates, with their probability [K].
        threshold: from which one is proposed.
        total: points of the series. length: of a stretch, in points. most: stretches.
    """
    far = np.abs(logit(probability) - float(logit(np.array([threshold]))[0]))
    chosen: list[tuple[int, int]] = []
    for k in np.argsort(far, kind="stable"):
        start, stop = (int(v) for v in runs[k])
        if any(a <= start and stop <= b for a, b in chosen):
            continue
        if len(chosen) >= most:
            break
        begin = max(0, min((start + stop - length) // 2, total - length))
        chosen.append((begin, min(total, begin + length)))
    joined: list[slice] = []
    for begin, end in sorted(chosen):
        if joined and begin < joined[-1].stop:
            joined[-1] = slice(joined[-1].start, max(joined[-1].stop, end))
        else:
            joined.append(slice(begin, end))
    return joined
