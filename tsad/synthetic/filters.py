"""Recursive filters; scipy.signal takes seconds to import, so only those who filter pay for it."""

from __future__ import annotations

from typing import Any


def lfilter(b: Any, a: Any, x: Any, **options: Any) -> Any:
    """``scipy.signal.lfilter``, imported when it is first called."""
    from scipy.signal import lfilter as apply

    return apply(b, a, x, **options)
