"""The learning curve's windows drawn by a sampling strategy, batch after batch, as a loop draws its queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.series import Window
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.embeddings.stretches import around, outlines_of
from tsad.embeddings.table import likeness_of, twins_of
from tsad.loop.embedding import embedding_of
from tsad.review.sampling import select
from tsad.review.strategies.base import Pool, Strategy, doubts_of
from tsad.steps.curve_protocol import Line, Said, Split, answers

if TYPE_CHECKING:
    from tsad.embeddings.kept import KeptEmbedding

LEVEL = 0.95  # of the interval of a difference
REACHED = 0.9  # of the final interval F1 of the strategy that the others are compared with


def strategies_of(bench: Workbench, names: Sequence[str], learners: Sequence[str]) -> dict[str, Strategy]:
    """The sampling strategies among the names.

    Raises:
        ConfigError: a name that is neither a learner nor a file of ``conf/sampling``; one that asks for what the curve
            or the detector does not have.
    """
    made = {name: bench.strategy_named(name) for name in names if name not in learners}
    for name, strategy in made.items():
        if "dissent" in strategy.asks_for:
            raise ConfigError(f"strategies names {name}, which asks who disagrees", "The curve knows no votes.")
        if strategy.asks_for and strategy.embedding == "base":
            embedding_of(bench, "base")
    return made


@dataclass(frozen=True, eq=False)
class StrategyDraws:
    """Windows of one split drawn by one strategy.

    Attributes:
        split: whose windows may be drawn.
        strategy: whatever number of windows it names.
    """

    bench: Workbench
    split: Split
    strategy: Strategy

    def more(self, order: Sequence[int], count: int, after: tuple[Split, Said], noise: float) -> list[int]:
        """The order with as many more windows as ``count`` wants, drawn after what the reviews so far have taught.

        Args:
            order: windows reviewed so far, by number.
            after: how the series look after them, and what the proposer makes of the candidates.
        """
        left = np.setdiff1d(np.arange(len(self.split.every)), np.array(order, np.int64))
        wanted = min(count - len(order), len(left))
        if wanted <= 0:
            return list(order)
        pool = self._pool(left, np.array(order, np.int64), after, noise)
        picks = select(pool, self.strategy.drawing(wanted), 1000 * self.split.seed + len(order))
        rng = np.random.default_rng((self.split.seed, len(order)))
        return [*order, *rng.permutation(left[[k for k, _, _ in picks]]).tolist()]

    def _pool(self, left: IntArray, order: IntArray, after: tuple[Split, Said], noise: float) -> Pool:
        (seen, said), line = after, after[0].line
        asked, settings = self.strategy.asks_for, self.strategy.settings
        assert said.proposer is not None
        tops, surest = self._surest(left, line, said.probability)
        doubts = doubts_of(tops, said.proposer.threshold)
        likeness = embedded = groups = answered = None
        if "likeness" in asked:
            likeness = self._likeness(surest, order, seen, noise)
        if "embedded" in asked:
            embedded = self._embedding.of([self._windows[k] for k in (*left.tolist(), *order.tolist())])[0]
        if settings.once > 0:
            asked_before, open_ones = ([self._outlines[k] for k in which] for which in (order, left))
            groups, answered = twins_of(asked_before, open_ones, settings.once)
        windows = [self._windows[k] for k in left]
        return Pool(windows, tops, doubts, None, likeness, embedded, groups, answered)

    def _surest(self, left: IntArray, line: Line, probability: FloatArray) -> tuple[FloatArray, IntArray]:
        """Highest probability of a candidate with its peak in each window, 0 without one, and which it is, else -1."""
        peaks = line.peaks
        tops, surest = np.zeros(len(left)), np.full(len(left), -1, np.int64)
        for row, (start, stop) in enumerate(self.split.every[left]):
            own = np.flatnonzero((peaks >= start) & (peaks < stop))
            if len(own):
                surest[row] = own[probability[own].argmax()]
                tops[row] = probability[surest[row]]
        return tops.clip(0, 1), surest

    def _likeness(self, surest: IntArray, order: IntArray, seen: Split, noise: float) -> FloatArray:
        """As the loop knows it: 1 = the surest candidate looks like one in a reviewed window."""
        likeness, line = np.zeros(len(surest)), seen.line
        reviewed, _ = answers(seen.reviewing(order), len(order), noise)
        judged = np.flatnonzero(reviewed[line.peaks])
        known = np.flatnonzero(surest >= 0)
        if len(judged) and len(known):
            views = [_view(line, k) for k in (*judged.tolist(), *surest[known].tolist())]
            table, _ = self._embedding.of(views)
            away = table.nearest(np.arange(len(judged), dtype=np.int64))[len(judged) :]
            likeness[known] = likeness_of(away)
        return likeness

    @cached_property
    def _windows(self) -> list[Window]:
        line = self.split.line
        owners = np.searchsorted(line.starts, self.split.every[:, 0], side="right") - 1
        return [
            Window(line.subjects[k].series, int(a - line.starts[k]), int(b - line.starts[k]))
            for k, (a, b) in zip(owners, self.split.every, strict=True)
        ]  # fmt: skip

    @cached_property
    def _outlines(self) -> list[FloatArray]:
        return outlines_of(self._windows)

    @cached_property
    def _embedding(self) -> KeptEmbedding:
        return embedding_of(self.bench, self.strategy.embedding)


def _view(line: Line, candidate: int) -> Window:
    owner = int(line.owner[candidate])
    start, stop = (int(v) for v in line.runs[candidate] - line.starts[owner])
    return around(line.subjects[owner].series, start, stop)


def compared(rows: Sequence[Mapping[str, Any]], strategies: Sequence[str]) -> list[dict[str, Any]]:
    """Per strategy: windows until 90% of the final interval F1 of the first one named ``random`` (else of the first),
    and the gain over it at each count, paired by seed over the mean of the sets, with its 95% interval (Student's t).
    """
    reference = "random" if "random" in strategies else strategies[0]
    curves = {name: _curves(rows, name) for name in strategies}
    counts = sorted({row["reviewed"] for row in rows if row["strategy"] == reference})
    target = REACHED * float(curves[reference][:, -1].mean())
    table = []
    for name in strategies:
        mean = curves[name].mean(axis=0)
        row: dict[str, Any] = {"strategy": name, "windows to 90%": reached(counts, mean, target)}
        for place, count in enumerate(counts[1:], start=1):
            row[f"gain at {count}"] = "-" if name == reference else _gain(
                curves[name][:, place] - curves[reference][:, place]
            )
        table.append(row)
    return table


def _curves(rows: Sequence[Mapping[str, Any]], strategy: str) -> FloatArray:
    """Interval F1 by seed and count, means over the sets. [seeds, counts]."""
    mine = [row for row in rows if row["strategy"] == strategy and isinstance(row["seed"], int)]
    seeds, counts = (sorted({row[key] for row in mine}) for key in ("seed", "reviewed"))
    return np.array([
        [np.mean([r["interval_f1"] for r in mine if (r["seed"], r["reviewed"]) == (s, c)]) for c in counts]
        for s in seeds
    ])  # fmt: skip


def reached(counts: Sequence[int], values: FloatArray, target: float) -> float:
    """Where a curve first reaches a value, on straight lines between its counts; NaN where it does not."""
    above: BoolArray = values >= target
    if not above.any():
        return float("nan")
    at = int(above.argmax())
    if at == 0:
        return float(counts[0])
    share = (target - values[at - 1]) / (values[at] - values[at - 1])
    return float(counts[at - 1] + share * (counts[at] - counts[at - 1]))


def _gain(differences: FloatArray) -> str:
    from scipy.stats import t

    mean = float(differences.mean())
    if len(differences) < 2:
        return f"{mean:+.3f}"
    arm = float(t.ppf(0.5 + LEVEL / 2, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences)))
    return f"{mean:+.3f} [{mean - arm:+.3f}, {mean + arm:+.3f}]"
