"""What passes over series leave for the next ones: a file per series, which may be deleted at any time.

A file holds the state (named arrays, no pickle), the answers made under it, and what it is of: the network, the
options, the points. Whatever does not fit, or cannot be read, means a refit.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsad import __version__
from tsad.core.errors import StorageError
from tsad.core.memory import NormalMemory
from tsad.core.series import Series
from tsad.core.types import FloatArray, StateUsed
from tsad.detectors.evidence.continued import Before, SeriesState
from tsad.detectors.evidence.course import digest_of
from tsad.detectors.patch.continued import KeptChannel, KeptScale, KeptSeries, Looked, Passes, seen_digests
from tsad.files.atomic import atomic

if TYPE_CHECKING:
    from tsad.detectors.patch.model import PatchModel

FORMAT = 2  # of the files; another one means a refit
LEVEL = 0.5  # of scores: who crosses it is counted
NEVER = "nothing is kept of it yet"
log = logging.getLogger("tsad")
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Keeping:
    """Where passes are kept, and when a state is fitted anew.

    Attributes:
        folder: one file per series and network in it.
        refit_every: share of the points it was fitted to by which a series may grow before its state is refitted.
        identity: of what scores: network, options, versions of the libraries (:func:`identity_of`).
    """

    folder: Path
    refit_every: float
    identity: str

    def look(self, passes: Passes, series: Series) -> tuple[Looked, StateUsed]:
        """A series under the state that is kept of it, or under a new one, which is kept then."""
        name = hashlib.sha256(f"{series.point_id}|{self.identity}".encode()).hexdigest()[:32]
        file = self.folder / f"{name}.safetensors"
        kept, why = self._kept(file, series)
        last = kept
        *before, seen = seen_digests(series, *([kept.points] if kept else []), len(series))
        if kept is not None:
            why = kept.state.misfit(series) or self._due(kept, series, *before)
        if why or kept is None:
            state, kept = SeriesState.new(series), None
        else:
            state = kept.state
        looked = passes.look(series, state, kept)
        state = state.closed()
        digest = state.digest
        now = KeptSeries(state, len(series), seen, looked.together, looked.kept, looked.kinds)
        used = _used(digest, state, why, last, looked.together)
        if why and why != NEVER:
            log.info("%s: %s", series.point_id, used.change())
        if last is None or why or last.points != len(series):
            self._write(file, now, digest)
        return looked, used

    def _due(self, kept: KeptSeries, series: Series, seen: str) -> str:
        if kept.seen != seen:
            return "the points before have changed"
        if len(series) >= kept.state.points * (1 + self.refit_every):
            return f"it has grown from {kept.state.points:,} to {len(series):,} points"
        return ""

    def _kept(self, file: Path, series: Series) -> tuple[KeptSeries | None, str]:
        """What the file holds, or why it is not to be used."""
        try:
            kept = read(file, self.identity)
        except FileNotFoundError:
            return None, NEVER
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            log.warning("%s: what was kept of it cannot be used (%s): its state is fitted anew", series.point_id, error)
            return None, "what was kept of it is damaged"
        if kept.points > len(series):
            return None, "it has become shorter"
        return kept, ""

    def _write(self, file: Path, kept: KeptSeries, digest: str) -> None:
        try:
            write(file, kept, self.identity, digest)
        except StorageError as error:  # the scores are there all the same
            log.warning("%s: nothing is kept for the next time (%s)", kept.state.point_id, error)


def _used(digest: str, state: SeriesState, why: str, last: KeptSeries | None, scores: FloatArray) -> StateUsed:
    if not why or last is None or last.points > len(scores):
        return StateUsed(digest=digest[:16], fitted_points=state.points, refitted=why)
    before, after = last.scores, scores[: last.points]
    away = np.abs(after - before)
    return StateUsed(
        digest=digest[:16], fitted_points=state.points, refitted=why, compared=last.points,
        mean_change=float(away.mean()) if len(away) else 0.0, largest_change=float(away.max(initial=0.0)),
        crossed=int(((after >= LEVEL) != (before >= LEVEL)).sum()), level=LEVEL,
    )  # fmt: skip


def identity_of(network: PatchModel, stride: int, blend: float, memory: NormalMemory | None = None) -> str:
    """SHA-256 (hex) of what scores depend on beside the series: weights with adapter, options, memory, libraries."""
    import torch

    weights = {name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()}
    config = network.config
    about = [FORMAT, __version__, stride, blend, config.length, list(config.evidence), config.blend, config.patch,
             config.heads, torch.__version__, np.__version__, str(next(network.parameters()).device)]  # fmt: skip
    return hashlib.sha256((json.dumps(about) + digest_of(weights) + _digest_of(memory)).encode()).hexdigest()


def _digest_of(memory: NormalMemory | None) -> str:
    """SHA-256 (hex) of what people have called normal; "" without any."""
    if memory is None:
        return ""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for point, stretches in memory.stretches.items():
        for number, one in enumerate(stretches):
            name = json.dumps([point, number, one.series.channels])
            arrays |= {f"{name}/values": one.series.values, f"{name}/window": np.array(one.window, np.int64)}
    return digest_of(arrays)


def write(file: Path, kept: KeptSeries, identity: str, digest: str) -> None:
    """Write what is kept, whole or not at all; ``digest``: of its state.

    Raises:
        StorageError: disk full, read-only folder.
    """
    from safetensors.numpy import save_file

    arrays: dict[str, npt.NDArray[Any]] = {f"state/{name}": a for name, a in kept.state.arrays().items()}
    arrays |= {"scores": kept.scores, "kinds": kept.kinds}
    for place, channel in enumerate(kept.channels):
        arrays |= {f"{place}/rows/{name}": row for name, row in channel.before.rows.items()}
        arrays[f"{place}/scores"] = channel.scores
        arrays |= {f"{place}/sums/{name}": sums for name, sums in channel.before.sums.items()}
        for number, scale in enumerate(channel.scales):
            parts: Arrays = {"logits": scale.logits, "likely": scale.likely, "stitched": scale.stitched}
            arrays |= {f"{place}/scales/{number}/{name}": part for name, part in parts.items()}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    about = {"format": FORMAT, "identity": identity, "state": digest, "points": kept.points, "seen": kept.seen,
             "of": kept.state.about(), "sum": _sum_of(arrays)}  # fmt: skip
    with atomic(file) as draft:
        save_file(arrays, draft, {"tsad": json.dumps(about)})


def read(file: Path, identity: str) -> KeptSeries:
    """What a file holds.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of something else.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise FileNotFoundError(file)
    try:
        with safe_open(file, framework="numpy") as opened:
            about = json.loads((opened.metadata() or {}).get("tsad", "{}"))
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if about.get("format") != FORMAT or about.get("identity") != identity:
        raise ValueError("it is of another network or another tsad")
    if about["sum"] != _sum_of(arrays):
        raise ValueError("its content is not what was written")
    state = SeriesState.of(about["of"], _under(arrays, "state/"))
    if state.digest != about["state"]:
        raise ValueError("its state is not the one that its digest names")
    channels = tuple(_channel(_under(arrays, f"{place}/")) for place in range(len(state.varying)))
    return KeptSeries(state, int(about["points"]), str(about["seen"]), arrays["scores"], channels, arrays["kinds"])


def _channel(arrays: Arrays) -> KeptChannel:
    scales: list[KeptScale] = []
    while f"scales/{len(scales)}/logits" in arrays:
        own = _under(arrays, f"scales/{len(scales)}/")
        scales.append(KeptScale(own["logits"], own["likely"], own["stitched"]))
    before = Before(_under(arrays, "rows/"), _under(arrays, "sums/"))
    return KeptChannel(before, arrays["scores"], tuple(scales))


def _under(arrays: Arrays, prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _sum_of(arrays: Arrays) -> str:
    """A sum over all bytes: enough to see a damaged file, in a fraction of the time of a hash."""
    total = 0
    for name in sorted(arrays):
        flat = np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8)
        whole = len(flat) // 8 * 8
        total += int(flat[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(flat[whole:].sum(dtype=np.uint64))
        total += len(flat)
    return f"{total & (2**64 - 1):016x}"
