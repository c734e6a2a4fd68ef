"""Which points of a long stretch stay where only some can be shown: to people, or to a model."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray, IntArray


def kept_positions(values: FloatArray, most: int, method: str) -> IntArray:
    """Which points stay, at most ``most``, sorted; always the first and the last. values [L, C].

    Each channel has its share of the bins (M4: Jugel et al., VLDB 2014); a point chosen for one stays for all.

    Args:
        method: ``m4`` (first, last, lowest and highest of each bin) or ``minmax``.
    """
    total, channels = values.shape
    if total <= most:
        return np.arange(total, dtype=np.int64)
    from tsdownsample import M4Downsampler, MinMaxDownsampler

    sampler, per_bin = (M4Downsampler(), 4) if method == "m4" else (MinMaxDownsampler(), 2)
    bins = max(1, (most - 2) // (per_bin * channels))
    kept = np.zeros(total, bool)
    kept[[0, -1]] = True
    for column in values.T:
        chosen = sampler.downsample(np.ascontiguousarray(column), n_out=bins * per_bin).astype(np.int64)
        kept[chosen[chosen < total]] = True
    return np.flatnonzero(kept)
