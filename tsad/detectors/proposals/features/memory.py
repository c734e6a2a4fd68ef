"""How far a candidate lies from what people have called normal on its series."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.evidence.channels import UNIT
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.spans import over

COMPARED = {"short": ("short_memory", "short_features"), "long": ("long_memory", "long_features")}
NAMES = tuple(f"{name}_{what}" for name in COMPARED for what in ("unlike_normal", "beyond_usual"))


def memory_features(context: Context) -> FloatArray:
    """[K, 4] in the order of :data:`NAMES`; all 0 where nobody has called anything of the series normal.

    ``*_unlike_normal``: mean distance to what people have called normal, of the points inside. ``*_beyond_usual``: how
    far this is above their mean distance to the rest of the series, which may hold the same oddity many times; 0 where
    that distance was not computed.
    """
    out = np.zeros((len(context.candidates), len(NAMES)))
    for at, names in enumerate(COMPARED.values()):
        recalled, usual = (context.examined.rows[context.examined.place(name)] for name in names)
        if not recalled.any():
            continue
        out[:, 2 * at] = _mean(context, recalled)
        if usual.any():
            out[:, 2 * at + 1] = out[:, 2 * at] - _mean(context, usual)
    return out


def _mean(context: Context, row: np.ndarray) -> FloatArray:
    return over(row.astype(np.int64), np.add, context.candidates.runs) * UNIT / context.size
