"""The ``patch`` detector: the network over a series at several scales, and what training needs of it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.errors import DetectorError
from tsad.core.types import BoolArray, FloatArray, Series, Window
from tsad.core.windows import stitch
from tsad.detectors.base import Detector, is_constant, tame
from tsad.detectors.patch import crops, examples
from tsad.detectors.patch.loading import SHIPPED, WEIGHTS, check_base, digest, load_adapter, load_base
from tsad.detectors.patch.windows import Piece, pieces, scale_weight, shrink

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


class PatchDetector(Detector):
    """A small transformer that marks abnormal points, zero-shot or under a LoRA adapter.

    Each channel is scored by itself, at every scale that it is long enough for; logits of overlapping windows
    are averaged (``core.windows.stitch``), then the probabilities of the scales, a scale k weighing 1 / sqrt(k). Of
    several channels the highest counts, from 16 channels on the mean of the highest eighth: the highest of many is
    always high somewhere. Memory depends on ``batch_size`` and a few numbers per point, never on all windows at once.

    Args:
        weights: folder with ``config.json`` and ``model.safetensors``; "" = the weights that ship with tsad.
        batch_size: network windows per forward pass; scores do not depend on it.
        device: auto | cpu | cuda; auto takes CUDA where there is one.
        scales: points taken as one, e.g. [1, 4]; a scale above 1 is left out where the series fits into one
            window without it.
        stride: points (of the scale) between the starts of neighbouring windows.

    Raises:
        WeightsError: weights missing.
        DetectorError: impossible options, or CUDA asked for where there is none.
    """

    name = "patch"
    trainable = True

    def __init__(self, *, weights: str, batch_size: int, device: str, scales: Sequence[int], stride: int) -> None:
        if batch_size < 1 or stride < 1 or not scales or min(scales) < 1 or len(set(scales)) < len(scales):
            raise DetectorError(
                f"patch: batch_size={batch_size}, stride={stride}, scales={list(scales)}",
                "Set batch_size and stride to at least 1, scales to different whole numbers from 1, e.g. [1, 4].",
            )
        self.folder = Path(weights) if weights else SHIPPED
        check_base(self.folder)
        self._device = resolve_device(device)
        self.weights, self.batch_size, self.device = weights, batch_size, device
        self.scales, self.stride = sorted(scales), stride
        self._base: PatchModel | None = None
        self._adapted: PatchModel | None = None

    def options(self) -> dict[str, Any]:
        return {
            "weights": self.weights, "batch_size": self.batch_size, "device": self.device,
            "scales": self.scales, "stride": self.stride,
        }  # fmt: skip

    def base_reference(self) -> dict[str, str]:
        return {"id": "tsad/patch", "path": str(self.folder), "sha256": digest(self.folder / WEIGHTS)}

    def with_adapter(self, folder: Path | None) -> PatchDetector:
        """A detector of its own that scores under the adapter in ``folder`` (peft, LoRA, safetensors).

        Raises:
            WeightsError: a missing, corrupted or ill-fitting file, by name.
        """
        other = copy.copy(self)
        other._adapted = None if folder is None else load_adapter(self.network(), Path(folder))
        return other

    # ---- scoring

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        out: list[FloatArray] = [np.zeros(len(one)) for one in series]
        for at, channels in itertools.groupby(self._channel_scores(series), key=lambda item: item[0]):
            out[at] = combine_channels([scores for _, scores in channels], series[at].values.shape[1])
        for one, scores in zip(series, out, strict=True):
            scores[~np.isfinite(one.values).any(axis=1)] = 0.0
        return out

    def _channel_scores(self, series: Sequence[Series]) -> Iterator[tuple[int, FloatArray]]:
        """(series, scores [T]) for each channel that varies; in place, for series of millions of points."""
        from scipy.special import expit

        scales = self._scale_logits(series)
        for (at, _), group in itertools.groupby(scales, key=lambda item: item[:2]):
            total, weights = np.zeros(len(series[at])), 0.0
            for _, _, scale, logits in group:
                weight = scale_weight(scale)
                expit(logits, out=logits)
                logits *= weight
                total += np.repeat(logits, scale)[: len(total)] if scale > 1 else logits
                weights += weight
            total /= weights
            yield at, total

    def _scale_logits(self, series: Sequence[Series]) -> Iterator[tuple[int, int, int, FloatArray]]:
        """(series, channel, scale, logits at that scale), channels and their scales in order."""
        scored = self._logits(self._jobs(series))
        for (at, channel, scale, total), group in itertools.groupby(scored, key=lambda item: item[0].channel_scale):
            yield at, channel, scale, stitch(((job.piece.start, logits) for job, logits in group), total)

    def _jobs(self, series: Sequence[Series]) -> Iterator[_Job]:
        config = self._network().config
        for at, one in enumerate(series):
            for channel, values in enumerate(one.values.T):
                if is_constant(values):
                    continue
                values = tame(values)
                for scale in self._scales_for(len(values), config.length):
                    shrunk = shrink(values, scale)
                    for piece in pieces(shrunk, config.length, self.stride, config.margin):
                        yield _Job(at, channel, scale, len(shrunk), piece)

    def _scales_for(self, total: int, length: int) -> list[int]:
        return self.scales if total > length else self.scales[:1]

    def _logits(self, jobs: Iterator[_Job]) -> Iterator[tuple[_Job, FloatArray]]:
        """Each job with the logits of its points, in order, one batch in memory at a time."""
        import torch

        network = self._network()
        while batch := list(itertools.islice(jobs, self.batch_size)):
            values, observed = stack([job.piece for job in batch], self._device)
            with torch.inference_mode():
                logits = network(values=values, observed=observed).logits.float().cpu().numpy()
            for job, row in zip(batch, logits, strict=True):
                yield job, row[: job.piece.size].astype(np.float64)

    def _network(self) -> PatchModel:
        if self._adapted is not None:
            return self._adapted
        if self._base is None:
            self._base = self.network()
        return self._base

    # ---- training (core.protocols.Trainable)

    def network(self) -> PatchModel:
        """A fresh copy of the base network on the detector's device, without an adapter."""
        return load_base(self.folder, self._device)

    def encode(
        self, windows: Sequence[Window], masks: Sequence[BoolArray], rng: np.random.Generator
    ) -> Mapping[str, torch.Tensor]:
        """One network example per window: ``values``, ``observed``, ``labels``, ``weight``, [N, L] each.

        Scale and place of the crop are drawn anew each time; weight is 1 inside the window and 0 around it.
        """
        config = self._network().config
        made = [
            examples.from_window(w, m, rng, scales=self.scales, length=config.length, margin=config.margin)
            for w, m in zip(windows, masks, strict=True)
        ]
        return examples.to_tensors(made, self._device)

    def replay(self, count: int, rng: np.random.Generator) -> Mapping[str, torch.Tensor]:
        """Synthetic examples with the same keys as :meth:`encode`, against forgetting."""
        return examples.to_tensors(crops.replay(count, rng, self._network().config.length), self._device)


def combine_channels(channels: Sequence[FloatArray], count: int) -> FloatArray:
    """Mean of the highest ``count // 8`` (at least one) of the channels' scores, point by point.

    channels: [T] each, those that vary; the others of ``count`` score 0.
    """
    top = max(1, count // 8)
    if len(channels) == 1:
        return channels[0] / top
    stacked = np.stack(channels)
    if len(stacked) > top:
        stacked = np.partition(stacked, len(stacked) - top, axis=0)[-top:]
    return stacked.sum(axis=0) / top


def resolve_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` from auto | cpu | cuda.

    Raises:
        DetectorError: an unknown word, or CUDA asked for where there is none.
    """
    if wanted == "cpu":
        return "cpu"
    if wanted not in ("auto", "cuda"):
        raise DetectorError(f"patch: device={wanted} is unknown", "Use detector.device=auto, cpu or cuda.")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise DetectorError(
            "patch: device=cuda, but torch sees no CUDA device here",
            "Use detector.device=auto, or install a CUDA build of torch and a driver.",
        )
    return "cpu"


def stack(batch: Iterable[Piece], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Values [B, L] float32 and flags [B, L] bool of the pieces, on the device."""
    import torch

    made = list(batch)
    values, observed = np.stack([p.values for p in made]), np.stack([p.observed for p in made])
    return torch.from_numpy(values).to(device), torch.from_numpy(observed).to(device)
