"""The ``patch`` detector: the network over a series at several scales, and what training needs of it."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tsad.adapters.lora import merged
from tsad.core.option_model import Options
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray, FloatArray, Needs
from tsad.core.windows import stitch, window_starts
from tsad.detectors.base import Detector
from tsad.detectors.base_digest import BaseDigest
from tsad.detectors.devices import resolve_device
from tsad.detectors.evidence.channels import Evidence
from tsad.detectors.evidence.examined import (
    Examined,
    ExaminedChannel,
    Kinds,
    ScaleLogits,
    channel_evidence,
    combined_rows,
    leading_of,
)
from tsad.detectors.evidence.remembered import MEMORY_ROWS
from tsad.detectors.numeric import is_constant
from tsad.detectors.patch import crops, examples
from tsad.detectors.patch.blends import blend_for, blend_in
from tsad.detectors.patch.continued import Passes, machine_scores
from tsad.detectors.patch.examples import Example
from tsad.detectors.patch.keeping import Keeping, identity_of
from tsad.detectors.patch.kinds import SLOT, KindTable, kind_names
from tsad.detectors.patch.loading import EARLIER, SHIPPED, check_base, load_base
from tsad.detectors.patch.states import pooled_states, whole_pieces
from tsad.detectors.patch.windows import Piece, add_repeated, pieces, scales_for, stack

if TYPE_CHECKING:
    import torch

    from tsad.detectors.patch.model import PatchModel


@dataclass(frozen=True, eq=False)
class _Job:
    """One network window of channel ``channel`` of series ``series`` at ``scale``; ``total`` points there in all."""

    series: int
    channel: int
    scale: int
    total: int
    piece: Piece

    @property
    def channel_scale(self) -> tuple[int, int, int, int]:
        return self.series, self.channel, self.scale, self.total


class PatchOptions(Options):
    """Keyword arguments of :class:`PatchDetector`."""

    weights: str
    batch_size: int = Field(ge=1)
    device: Literal["auto", "cpu", "cuda"]
    stride: int = Field(ge=1)
    blend: float = Field(ge=0)
    refit_every: float = Field(ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, given: Any) -> Any:
        """Versions registered before there was ``refit_every`` look at every series afresh."""
        return {"refit_every": 0.0, **given} if isinstance(given, dict) else given


class PatchDetector(Detector):
    """A small transformer that marks abnormal points, zero-shot or under a LoRA adapter.

    Each channel is scored by itself: the evidence of the whole series (``detectors.evidence``) goes into the network
    beside the values, at several scales: every point, four as one, and so many as one that the series fits into one
    window (at most 64). Logits of overlapping windows are averaged (``core.windows.stitch``), then the probabilities of
    the scales. Of several channels the highest counts, from 16 channels on the mean of the highest eighth.
    Memory depends on ``batch_size`` and some tens of bytes per point, never on all windows at once.

    Args:
        weights: folder with ``config.json`` and ``model.safetensors``; "" = the weights that ship with tsad.
        batch_size: network windows per forward pass; scores do not depend on it.
        device: auto | cpu | cuda; auto takes CUDA where there is one.
        stride: points (of the scale) between the starts of neighbouring windows.
        blend: how much the evidence counts in the score beside the network, 0 = not at all.
        refit_every: share by which a series may grow before what scoring takes from the whole of it is fitted anew;
            0 = every time. It says how ``tsad detect`` goes on (:meth:`continuing`), not what this version is.

    Raises:
        WeightsError: weights missing.
        DetectorError: impossible options, or CUDA asked for where there is none.
    """

    name = "patch"
    trainable = True
    embeds = True
    unhashed = ("refit_every",)
    options_model = PatchOptions
    settings: PatchOptions

    def __init__(self, options: PatchOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.folder = Path(self.settings.weights) if self.settings.weights else SHIPPED
        check_base(self.folder)
        self._device = resolve_device(self.settings.device)
        self._digest = BaseDigest(self.folder)
        self._lock = threading.Lock()  # of the network and the evidence, which are made when they are first needed
        self._network: PatchModel | None = None
        self._keeps: tuple[Path, float] | None = None
        self._identity = ""
        self._known: weakref.WeakKeyDictionary[Series, list[Evidence | None]] = weakref.WeakKeyDictionary()

    @classmethod
    def needs(cls, options: Options | None = None) -> Needs:
        wanted = getattr(options, "device", "auto")
        return Needs(device="cuda" if wanted == "cuda" else "cpu", memory_gb=0.5)

    def base_reference(self) -> dict[str, str]:
        return {"id": "tsad/patch", "path": str(self.folder), "sha256": self._digest.hexdigest()}

    def with_adapter(self, folder: Path | None) -> PatchDetector:
        """A detector of its own that scores under the adapter in ``folder`` (peft, LoRA, safetensors).

        Raises:
            WeightsError: a missing, corrupted or ill-fitting file, by name.
        """
        other = self._twin()
        other._network = None if folder is None else _quick(merged(self.network(), Path(folder)))
        return other

    @property
    def remembers(self) -> bool:
        return any(name in self._seen().names for name in MEMORY_ROWS)

    def on_base(self, reference: Mapping[str, str]) -> PatchDetector:
        if self.settings.weights or reference.get("sha256") == self._digest.hexdigest():
            return self
        for folder in EARLIER:
            digest = BaseDigest(folder)
            if digest.hexdigest() == reference.get("sha256"):
                other = self._twin()
                other.folder, other._digest, other._network = folder, digest, None
                return other
        return self

    def _twin(self) -> Self:
        other = super()._twin()
        other._lock, other._known, other._identity = threading.Lock(), weakref.WeakKeyDictionary(), ""
        return other

    # ---- scoring

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return [examined.scores for examined in self.examine(series)]

    def examine(self, series: Sequence[Series]) -> Iterator[Examined]:
        return self._examine_afresh(series) if self._keeps is None else (self._examine_kept(one) for one in series)

    def continuing(self, folder: Path, refit_every: float) -> PatchDetector:
        """A detector that keeps in ``folder`` what it has made of a series, and makes only what new points reach.

        Args:
            refit_every: see the options; 0 = it keeps nothing.
        """
        other = self._twin()
        other._keeps = (folder, refit_every) if refit_every > 0 else None
        return other

    def _examine_kept(self, one: Series) -> Examined:
        """Under the state that is kept of the series, or a new one."""
        if all(is_constant(values) for values in one.values.T):
            return self._examined(one, [], [], [])
        assert self._keeps is not None
        network, (folder, refit_every) = self._scoring(), self._keeps
        stride, blend = self.settings.stride, self.settings.blend
        passes = Passes(network, self._device, self._seen(), stride, blend, self.memory)
        with self._lock:
            self._identity = self._identity or identity_of(network, stride, blend, self.memory)
        looked, used = Keeping(folder, refit_every, self._identity).look(passes, one)
        channels = tuple(map(ExaminedChannel.of, looked.evidence, looked.logits))
        kinds = Kinds(passes.names[1:], looked.kinds, SLOT) if passes.names else None
        rows = combined_rows([e.rows for e in looked.evidence], len(one))
        return Examined(looked.together, rows, None, channels, leading_of(looked.scores), kinds, used)

    def _examine_afresh(self, series: Sequence[Series]) -> Iterator[Examined]:
        held: dict[tuple[int, int], Evidence] = {}
        tables: dict[int, KindTable] = {}
        done = 0
        for at, found in itertools.groupby(self._channel_scores(series, held, tables), key=lambda item: item[0]):
            while done < at:  # series without a channel that varies
                yield self._examined(series[done], [], [], [])
                done += 1
            evidence, scores, logits = [], [], []
            for _, channel, scored, by_scale in found:
                evidence.append(held.pop((at, channel)))
                scores.append(scored)
                logits.append(by_scale)
            examined = self._examined(series[at], evidence, scores, logits)
            yield replace(examined, kinds=tables.pop(at).kinds())
            done += 1
        for one in series[done:]:
            yield self._examined(one, [], [], [])

    def _examined(
        self, one: Series, evidence: list[Evidence], scores: list[FloatArray], logits: list[ScaleLogits]
    ) -> Examined:
        leading = leading_of(scores)  # before they are combined: the only channel's may be changed in place
        together = machine_scores(one, scores)
        channels = tuple(ExaminedChannel.of(e, by_scale) for e, by_scale in zip(evidence, logits, strict=True))
        return Examined(together, combined_rows([e.rows for e in evidence], len(one)), None, channels, leading)

    def _channel_scores(
        self, series: Sequence[Series], held: dict[tuple[int, int], Evidence], tables: dict[int, KindTable]
    ) -> Iterator[tuple[int, int, FloatArray, ScaleLogits]]:
        """(series, channel, scores [T], logits per scale) for each channel that varies; in place, for long series."""
        from scipy.special import expit

        scales = self._scale_logits(series, held, tables)
        for (at, channel), group in itertools.groupby(scales, key=lambda item: item[:2]):
            total, kept = np.zeros(len(series[at])), []
            for _, _, scale, logits in group:
                kept.append((scale, logits.astype(np.float16)))
                expit(logits, out=logits)
                add_repeated(total, logits, scale)
                del logits  # of millions of points, while the next scale is made
            total /= len(kept)
            if self.settings.blend:
                blend = blend_for(self._scoring().config.blend, series[at].values.shape[1])
                blend_in(total, held[at, channel], self.settings.blend, blend)
            yield at, channel, total, tuple(kept)

    def _scale_logits(
        self, series: Sequence[Series], held: dict[tuple[int, int], Evidence], tables: dict[int, KindTable]
    ) -> Iterator[tuple[int, int, int, FloatArray]]:
        """(series, channel, scale, logits at that scale), channels and their scales in order."""
        scored = self._logits(self._jobs(series, held), tables)
        for (at, channel, scale, total), group in itertools.groupby(scored, key=lambda item: item[0].channel_scale):
            yield at, channel, scale, stitch(((job.piece.start, logits) for job, logits in group), total)

    def _jobs(self, series: Sequence[Series], held: dict[tuple[int, int], Evidence]) -> Iterator[_Job]:
        seen = self._seen()
        for at, one in enumerate(series):
            for channel, evidence in channel_evidence(one, seen.needed, self.memory):
                held[at, channel] = evidence
                for scale in scales_for(len(one), seen.length):
                    total = -(-len(one) // scale)
                    starts = window_starts(total, seen.length, self.settings.stride)
                    for piece in pieces(evidence, scale, seen.rows, starts, seen.length):
                        yield _Job(at, channel, scale, total, piece)

    def _logits(self, jobs: Iterator[_Job], tables: dict[int, KindTable]) -> Iterator[tuple[_Job, FloatArray]]:
        """Each job with the logits of its points, in order, one batch in memory at a time; kinds go into ``tables``."""
        import torch

        network = self._scoring()
        config = network.config
        names = kind_names(getattr(config, "recipe", None), config.kinds)
        while batch := list(itertools.islice(jobs, self.settings.batch_size)):
            inputs = stack([job.piece for job in batch], self._device)
            with torch.inference_mode():
                out = network(**inputs)
                logits, kinds = (part.float().cpu().numpy() for part in (out.logits, out.kind_logits))
            for job, row, kind in zip(batch, logits, kinds, strict=True):
                if job.series not in tables:
                    tables[job.series] = KindTable(names, job.total * job.scale, config.patch)
                tables[job.series].add(kind, job.piece.start, job.piece.size, job.scale)
                yield job, row[: job.piece.size].astype(np.float64)

    def _scoring(self) -> PatchModel:
        """The network that scores, loaded at its first use, by one thread."""
        with self._lock:
            if self._network is None:
                self._network = _quick(self.network())
            return self._network

    def hidden_states(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """Mean and highest hidden state of the unadapted base over each stretch looked at by itself, [N, 2 D].

        A stretch that does not vary has the zero vector.
        """
        base = self.network()
        seen = crops.Seen.by(base.config)
        out = np.zeros((len(stretches), 2 * base.config.hidden_size))
        made = ((at, piece) for at, values in enumerate(stretches) for piece in whole_pieces(values, seen))
        while batch := list(itertools.islice(made, self.settings.batch_size)):
            for (at, _), pooled in zip(batch, pooled_states(base, [p for _, p in batch], self._device), strict=True):
                out[at] = pooled
        return out

    # ---- training (core.protocols.Trainable)

    def network(self) -> PatchModel:
        """A fresh copy of the base network on the detector's device, without an adapter."""
        return load_base(self.folder, self._device)

    def encode(
        self, windows: Sequence[Window], masks: Sequence[BoolArray], rng: np.random.Generator
    ) -> list[Example]:
        """One example per window; scale and place of the crop are drawn anew each time."""
        seen = self._seen()
        return [
            examples.from_window(w, m, self._evidence(w.series), rng, length=seen.length, seen=seen.rows)
            for w, m in zip(windows, masks, strict=True)
        ]

    def collate(self, rows: Sequence[Example]) -> dict[str, torch.Tensor]:
        """``values``, ``observed``, ``labels``, ``weight`` [N, L] and ``evidence`` [N, E, L] on the detector's device.

        Weight is 1 inside the window and 0 around it.
        """
        return examples.to_tensors(rows, self._device)

    def _evidence(self, series: Series) -> list[Evidence | None]:
        """Of each channel, ``None`` where it is constant; kept while the series is in use: a window is drawn often."""
        with self._lock:
            known = self._known.get(series)
        if known is None:
            named = dict(channel_evidence(series, self._seen().names, self.memory))
            known = [named.get(channel) for channel in range(series.values.shape[1])]
            with self._lock:
                self._known[series] = known
        return known

    def replay(self, count: int, rng: np.random.Generator) -> list[Example]:
        """Synthetic examples, against forgetting."""
        return crops.replay(count, rng, self._seen())

    def _seen(self) -> crops.Seen:
        """What the network sees of a series."""
        return crops.Seen.by(self._scoring().config)


def _quick(network: Any) -> PatchModel:
    """The network that scores, its layers by oneDNN where that is there."""
    from tsad.detectors.patch.quick import quick  # torch

    return quick(network)
