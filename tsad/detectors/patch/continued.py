"""The ``patch`` detector's scores of a series under a state: whole, or from where new points reach.

A point's score does not depend on where the pass began: evidence is made so, the network's windows lie where they
would lie in the whole series, and always the same number of them go through the network at once.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tsad.core.memory import NormalMemory
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.core.windows import stitch, window_starts
from tsad.detectors.evidence.channels import Evidence
from tsad.detectors.evidence.continued import Before, Continued, SeriesState, continued_evidence
from tsad.detectors.numeric import combine_channels
from tsad.detectors.patch.blends import blend_for, blend_in
from tsad.detectors.patch.crops import Seen
from tsad.detectors.patch.kinds import SLOT, KindTable, kind_names, likely_kinds
from tsad.detectors.patch.windows import Piece, pieces, scales_for, stack

if TYPE_CHECKING:
    from tsad.detectors.patch.model import PatchModel

GROUP = 4  # windows that go through the network at once: its last bits depend on their number


@dataclass(frozen=True, eq=False)
class KeptScale:
    """The network's answers of one channel at one scale.

    Attributes:
        logits: [W, L] float32, window by window.
        likely: [W, tokens, kinds] float32.
        stitched: [ceil(T / scale)] float16, log odds.
    """

    logits: npt.NDArray[np.float32]
    likely: npt.NDArray[np.float32]
    stitched: npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class KeptChannel:
    """One channel: evidence, scores [T] float64, and answers scale by scale."""

    before: Before
    scores: FloatArray
    scales: tuple[KeptScale, ...]


@dataclass(frozen=True, eq=False)
class KeptSeries:
    """What a pass leaves for the next one.

    Attributes:
        points: those that it saw; ``seen`` is the digest of them.
        scores: [T] of all channels together.
        kinds: [slots, kinds] float16.
    """

    state: SeriesState
    points: int
    seen: str
    scores: FloatArray
    channels: tuple[KeptChannel, ...]
    kinds: npt.NDArray[np.float16]


def seen_digests(series: Series, *counts: int) -> list[str]:
    """SHA-256 (hex) of the first so many points of a series, times and values; of ascending counts, in one go."""
    times, values, at, found = hashlib.sha256(), hashlib.sha256(), 0, []
    for count in counts:
        times.update(np.ascontiguousarray(series.timestamps[at:count]).data)
        values.update(np.ascontiguousarray(series.values[at:count]).data)
        about = repr((series.point_id, series.channels, count)).encode()
        found.append(hashlib.sha256(about + times.digest() + values.digest()).hexdigest())
        at = count
    return found


def machine_scores(series: Series, scores: Sequence[FloatArray]) -> FloatArray:
    """One score of all channels; 0 where nothing was observed. [T] each -> [T]."""
    together = combine_channels(scores, series.values.shape[1]) if scores else np.zeros(len(series))
    together[~np.isfinite(series.values).any(axis=1)] = 0.0
    return together


@dataclass(frozen=True, eq=False)
class _Part:
    """The windows of one channel at one scale.

    Attributes:
        size: points there.
        starts: of all windows; ``fresh`` are the numbers of those that are made, ``same`` says which earlier one the
            others are.
        first: the first point whose windows are not all those of before.
    """

    scale: int
    size: int
    starts: list[int]
    fresh: list[int]
    same: dict[int, int]
    first: int


@dataclass(frozen=True, eq=False)
class Looked:
    """A series under a state, channel by channel, for :class:`Examined`, and what is kept of it.

    Attributes:
        together: [T] scores of all channels as one.
    """

    together: FloatArray
    evidence: list[Evidence]
    scores: list[FloatArray]
    logits: list[tuple[tuple[int, npt.NDArray[np.float16]], ...]]
    kinds: npt.NDArray[np.float16]
    kept: tuple[KeptChannel, ...]


@dataclass(frozen=True, eq=False)
class Passes:
    """Looks at series under a state.

    Attributes:
        stride, blend: the detector's options.
        memory: what people have called normal.
    """

    network: PatchModel
    device: str
    seen: Seen
    stride: int
    blend: float
    memory: NormalMemory | None = None
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        config = self.network.config
        object.__setattr__(self, "names", kind_names(getattr(config, "recipe", None), config.kinds))

    def look(self, series: Series, state: SeriesState, kept: KeptSeries | None) -> Looked:
        """Scores of a series; of the points that were seen before only what the new ones reach is made.

        Args:
            state: an open one is filled; otherwise it must fit (:meth:`SeriesState.misfit`).
            kept: what the pass before left under the same state, of the first points of the same series.
        """
        earlier = None if kept is None else (kept.points, [channel.before for channel in kept.channels])
        evidence = continued_evidence(series, state, self.seen.needed, earlier, self.memory)
        scales = scales_for(state.points, self.seen.length)
        parts = [[self._part(len(series), scale, one.changed, kept) for scale in scales] for one in evidence]
        answers = self._answers(evidence, parts, kept)
        channels, logits = [], []
        for place, (one, own) in enumerate(zip(evidence, parts, strict=True)):
            before = None if kept is None else kept.channels[place]
            channels.append(self._channel(one, own, answers[place], before, series.values.shape[1]))
            logits.append(tuple(zip(scales, (s.stitched for s in channels[-1].scales), strict=True)))
        kinds = self._kinds(len(series), parts, answers, kept)
        scores = [channel.scores for channel in channels]
        return Looked(
            machine_scores(series, scores), [one.evidence for one in evidence], scores, logits, kinds, tuple(channels)
        )

    def _part(self, total: int, scale: int, changed: int, kept: KeptSeries | None) -> _Part:
        size, length = -(-total // scale), self.seen.length
        starts = window_starts(size, length, self.stride)
        earlier = window_starts(-(-kept.points // scale), length, self.stride) if kept else []
        known = {start: number for number, start in enumerate(earlier)}
        same = {k: known[s] for k, s in enumerate(starts) if s in known and (s + length) * scale <= changed}
        fresh = [k for k in range(len(starts)) if k not in same]
        gone = set(range(len(earlier))) - set(same.values())
        first = min([starts[k] for k in fresh] + [earlier[k] for k in gone], default=size)
        return _Part(scale, size, starts, fresh, same, first)

    def _answers(
        self, evidence: Sequence[Continued], parts: Sequence[Sequence[_Part]], kept: KeptSeries | None
    ) -> list[list[KeptScale]]:
        """Logits and kinds of all windows, those of before where they are the same; nothing is stitched yet."""
        config, kinds = self.network.config, len(self.names[1:])
        tokens = self.seen.length // config.patch
        answers: list[list[KeptScale]] = []
        for place, own in enumerate(parts):
            answers.append([])
            for number, part in enumerate(own):
                logits = np.empty((len(part.starts), self.seen.length), np.float32)
                likely = np.empty((len(part.starts), tokens, kinds), np.float32)
                if kept is not None and part.same:
                    old = kept.channels[place].scales[number]
                    now, then = np.array([*part.same]), np.array([*part.same.values()])
                    logits[now], likely[now] = old.logits[then], old.likely[then]
                answers[-1].append(KeptScale(logits, likely, np.empty(0, np.float16)))
        jobs = self._jobs(evidence, parts, answers)
        while batch := list(itertools.islice(jobs, GROUP)):
            self._pass(batch)
        return answers

    def _jobs(
        self, evidence: Sequence[Continued], parts: Sequence[Sequence[_Part]], answers: Sequence[Sequence[KeptScale]]
    ) -> Iterator[tuple[Piece, KeptScale, int]]:
        """Each window that is to be made, with where its answers go."""
        for one, own, made in zip(evidence, parts, answers, strict=True):
            for part, answer in zip(own, made, strict=True):
                starts = [part.starts[number] for number in part.fresh]
                cut = pieces(one.evidence, part.scale, self.seen.rows, starts, self.seen.length)
                for number, piece in zip(part.fresh, cut, strict=True):
                    yield piece, answer, number

    def _pass(self, batch: Sequence[tuple[Piece, KeptScale, int]]) -> None:
        import torch

        made = [piece for piece, _, _ in batch]
        inputs = stack([*made, *made[-1:] * (GROUP - len(made))], self.device)
        with torch.inference_mode():
            out = self.network(**inputs)
            logits, kinds = (part.float().cpu().numpy() for part in (out.logits, out.kind_logits))
        for (_, answer, number), row, kind in zip(batch, logits, kinds, strict=False):
            answer.logits[number] = row
            if self.names:
                answer.likely[number] = likely_kinds(kind)

    def _channel(
        self, one: Continued, parts: Sequence[_Part], answers: Sequence[KeptScale], before: KeptChannel | None,
        channels: int,
    ) -> KeptChannel:  # fmt: skip
        """Scores of a channel: the earlier ones up to where a window of some scale has changed."""
        from scipy.special import expit

        total = len(one.evidence.values)
        first = min(min(part.first * part.scale for part in parts), one.changed, total)
        scores: FloatArray = np.zeros(total - first)
        scales: list[KeptScale] = []
        for number, (part, answer) in enumerate(zip(parts, answers, strict=True)):
            at = first // part.scale
            logits = self._stitched(part, answer, at)
            stitched = logits.astype(np.float16)
            if before is not None:
                stitched = np.concatenate((before.scales[number].stitched[:at], stitched))
            scales.append(replace(answer, stitched=stitched))
            expit(logits, out=logits)
            spread = np.repeat(logits, part.scale) if part.scale > 1 else logits
            scores += spread[first - at * part.scale :][: len(scores)]
        scores /= len(scales)
        if self.blend:
            blend = blend_for(self.network.config.blend, channels)
            blend_in(scores, one.evidence.part(first), self.blend, blend)
        if before is not None:
            scores = np.concatenate((before.scores[:first], scores))
        return KeptChannel(one.before, scores, tuple(scales))

    def _stitched(self, part: _Part, answer: KeptScale, first: int) -> FloatArray:
        """Log odds of the points from ``first`` on, at the part's scale."""
        length = self.seen.length
        over = [k for k, start in enumerate(part.starts) if start + length > first]
        if not over:
            return np.zeros(0)
        begin = part.starts[over[0]]
        rows = ((part.starts[k], answer.logits[k, : part.size - part.starts[k]]) for k in over)
        moved = ((start - begin, row.astype(np.float64)) for start, row in rows)
        return stitch(moved, part.size - begin)[first - begin :]

    def _kinds(
        self, total: int, parts: Sequence[Sequence[_Part]], answers: Sequence[Sequence[KeptScale]],
        kept: KeptSeries | None,
    ) -> npt.NDArray[np.float16]:  # fmt: skip
        """Weights of the kinds, slot by slot; those of before up to the first window that has changed."""
        first = min(part.first * part.scale // SLOT for own in parts for part in own) if kept else 0
        table, length = KindTable(self.names, total, self.network.config.patch), self.seen.length
        for own, made in zip(parts, answers, strict=True):
            for part, answer in zip(own, made, strict=True):
                for number, start in enumerate(part.starts):
                    if (start + length) * part.scale > first * SLOT and self.names:
                        size = min(length, part.size - start)
                        table.add_likely(answer.likely[number], start, size, part.scale, first)
        weights = table.weights()
        return weights if kept is None else np.concatenate((kept.kinds[:first], weights[first:]))
