"""Why a stretch of a series stands out, in plain words: the evidence that is rarest inside it. Pure.

Rarities are kept as half the ``-log10`` of the share of points as extreme (``evidence.channels``), so a figure v is
"1 point in 10 ** (2 v)".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tsad.core.overview import USUAL
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.detectors.evidence.examined import Examined

Language = Literal["en", "zh"]
RARE = 1.0  # a reason is given from here on: 1 point in 100
MOST = 4  # reasons


@dataclass(frozen=True)
class Family:
    """Rows of evidence that say the same, the rarest of which speaks; what they say, with ``{n}`` and ``{p}``."""

    rows: tuple[str, ...]
    en: str
    zh: str


FAMILIES = (
    Family(("amplitude",), "values lie as far from the median as only 1 point in {n}",
           "数值偏离中位数的程度约 {n} 点中才有 1 点"),
    Family(("difference",), "it jumps from one point to the next as only 1 point in {n} does",
           "相邻点之间的跳变约 {n} 点中才有 1 次"),
    Family(("short_energy_rarity",), "it does not go on from the points beside it (12 points): 1 in {n}",
           "与前后约 12 个点的走势不符：约 {n} 点中才有 1 点"),
    Family(("energy_rarity",), "it leaves the course of the points around it (about {p} points): 1 in {n}",
           "偏离前后约 {p} 个点的走势：约 {n} 点中才有 1 点"),
    Family(("short_neighbour_rarity", "brief_neighbour_rarity"),
           "no other stretch of 8 points looks like it: 1 in {n} stands as alone",
           "找不到相似的 8 点片段：约 {n} 个中才有 1 个如此孤立"),
    Family(("shape_rarity", "neighbour_rarity", "middle_neighbour_rarity", "cycle_rarity", "two_cycles_rarity"),
           "no other cycle of the series (about {p} points) looks like it: 1 in {n} stands as alone",
           "找不到相似的周期（约 {p} 点）：约 {n} 个中才有 1 个如此孤立"),
    Family(("short_features_rarity",),
           "level, spread, slope and shape over 8 to 32 points are seldom: 1 stretch in {n}",
           "8 至 32 点内的水平、波动、斜率和形状约 {n} 段中才有 1 段"),
    Family(("long_features_rarity", "longest_features_rarity"),
           "level, spread, slope and shape over 64 points and more are seldom: 1 stretch in {n}",
           "64 点以上的水平、波动、斜率和形状约 {n} 段中才有 1 段"),
    Family(("level",), "the mean level around it is as extreme at only 1 point in {n}",
           "附近的平均水平约 {n} 点中才有 1 点如此极端"),
    Family(("spread",), "it varies as much, or as little, at only 1 point in {n}",
           "波动的大小约 {n} 点中才有 1 点如此"),
)  # fmt: skip
# Rows in units of their own, with the figure from which they are worth a sentence.
DISTANCES = {
    "season_score": (2.0, "it is {v} deviations away from the same phase of the cycles beside it (about {p} points)",
                     "与相邻周期（约 {p} 点）同一相位相差 {v} 个标准差"),
    "others_energy": (1.5, "the other channels of the machine do not explain it ({v} deviations)",
                      "设备的其他通道无法解释它（{v} 个标准差）"),
    "short_memory": (1.5, "it is unlike everything that people have called normal here",
                     "与人工确认为正常的部分都不相似"),
}  # fmt: skip


def reasons_of(series: Series, examined: Examined, run: tuple[int, int], language: Language = "en") -> tuple[str, ...]:
    """Sentences on a stretch, the strongest first; at least how its values stand to the usual ones.

    Args:
        run: half-open positions. language: en | zh.
    """
    return (*values_of(series, run, language), *rarest(series, examined, run, language)[:MOST])


def rarest(series: Series, examined: Examined, run: tuple[int, int], language: Language = "en") -> tuple[str, ...]:
    """Sentences on the evidence inside a stretch, the rarest first; arguments as for :func:`reasons_of`."""
    start, stop = run
    period = max((c.period.points for c in examined.channels), default=0.0)
    found: list[tuple[float, str]] = []
    for family in FAMILIES:
        rarity = max(_highest(examined, row, start, stop) for row in family.rows)
        if rarity >= RARE:
            text = family.en if language == "en" else family.zh
            found.append((rarity, text.format(n=_about(10 ** (2 * rarity), len(series)), p=round(period))))
    for row, (least, en, zh) in DISTANCES.items():
        height = _highest(examined, row, start, stop)
        if height >= least:
            text = (en if language == "en" else zh).format(v=f"{height:.1f}", p=round(period))
            found.append((height / 2, text))
    found.sort(key=lambda item: -item[0])
    return tuple(text for _, text in found)


def values_of(series: Series, run: tuple[int, int], language: Language = "en") -> tuple[str, ...]:
    """How the values of a stretch stand to those that are usual, of the channel that stands out most."""
    inside, whole = series.values[slice(*run)], series.values
    missing = float(np.isnan(inside).mean()) if inside.size else 0.0
    told = []
    channel = _farthest(inside, whole)
    if channel is not None:
        low, high = np.nanpercentile(whole[:, channel], USUAL)
        least, most = np.nanmin(inside[:, channel]), np.nanmax(inside[:, channel])
        figures = {
            "c": "" if whole.shape[1] == 1 else f" of {series.channels[channel]}", "a": _plain(least),
            "b": _plain(most), "u": _plain(low), "v": _plain(high),
        }  # fmt: skip
        if language == "zh":
            figures["c"] = "" if whole.shape[1] == 1 else f"（{series.channels[channel]}）"
        text = ("values{c} from {a} to {b}; nine in ten of the series lie between {u} and {v}" if language == "en"
                else "数值{c}在 {a} 至 {b} 之间；全序列九成的值在 {u} 至 {v} 之间")  # fmt: skip
        told.append(text.format(**figures))
    if missing:
        told.append(f"{missing:.0%} of its values are missing" if language == "en" else f"其中 {missing:.0%} 的值缺失")
    return tuple(told)


def _farthest(inside: FloatArray, whole: FloatArray) -> int | None:
    """The channel whose values leave their usual range by most, in units of that range; ``None`` without a value."""
    best: tuple[float, int] | None = None
    for channel in range(whole.shape[1]):
        if not np.isfinite(inside[:, channel]).any():
            continue
        low, high = np.nanpercentile(whole[:, channel], USUAL)
        width = max(float(high - low), 1e-12)
        away = max(float(np.nanmax(inside[:, channel]) - high), float(low - np.nanmin(inside[:, channel]))) / width
        best = max(best, (away, channel)) if best else (away, channel)
    return best[1] if best else None


def _highest(examined: Examined, row: str, start: int, stop: int) -> float:
    """The largest size of a row of evidence inside a stretch; of one that was left out that of its stand-in."""
    return float(np.abs(examined.row(row)[start:stop]).max(initial=0.0))


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _about(count: float, points: int) -> str:
    """A count to one figure, e.g. 2,000; of a series with fewer points, that many."""
    held = min(count, float(points))
    size = 10 ** max(int(np.floor(np.log10(max(held, 1.0)))), 0)
    return f"{round(held / size) * size:,}"
