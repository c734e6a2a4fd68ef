"""Lengths of time as people write them in configs: ``60s``, ``5min``, ``1h``, ``30d``; whole nanoseconds inside."""

from __future__ import annotations

import re
from fractions import Fraction

from tsad.core.errors import ConfigError

_SECOND = 1_000_000_000
UNITS = {
    "ns": 1, "us": 1_000, "ms": 1_000_000, "s": _SECOND, "min": 60 * _SECOND, "h": 3_600 * _SECOND,
    "d": 86_400 * _SECOND, "w": 7 * 86_400 * _SECOND,
}  # fmt: skip
_SHOWN = ("d", "h", "min", "s", "ms", "us", "ns")
_LONGEST = 2**63 - 1  # ns that fit an int64: 292 years


def parse_duration(text: str, key: str = "the duration") -> int:
    """A length of time such as ``60s``, ``1.5h`` or ``30d`` in ns, always above 0; a day has 24 hours.

    Args:
        key: what the text was given for, e.g. ``downsample.every``; errors name it.

    Raises:
        ConfigError: no number with a unit (months and years have no fixed length), zero, longer than 292 years.
    """
    remedy = f"Give a number and a unit ({', '.join(UNITS)}), e.g. 60s, 5min, 1h or 30d."
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", str(text).strip())
    if found is None or found[2] not in UNITS:
        raise ConfigError(f"{key} is {text!r}", remedy)
    length = Fraction(found[1]) * UNITS[found[2]]
    if length.denominator != 1 or not 0 < length <= _LONGEST:
        why = "no whole number of nanoseconds" if length.denominator != 1 else "zero" if not length else "too long"
        raise ConfigError(f"{key} is {text!r}, which is {why}", remedy)
    return int(length)


def format_duration(span: int) -> str:
    """ns as the largest unit that gives a whole number, e.g. ``5 min``; decimal seconds for odd fractions of them."""
    for unit in _SHOWN[: _SHOWN.index("s") + 1]:
        if span % UNITS[unit] == 0 and span:
            return f"{span // UNITS[unit]} {unit}"
    if abs(span) >= _SECOND or not span:
        return f"{span / _SECOND:g} s"
    return next(f"{span / UNITS[unit]:g} {unit}" for unit in _SHOWN if abs(span) >= UNITS[unit])
