"""Loops compiled by numba when they are first needed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


@functools.lru_cache(None)
def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel as machine code; kept beside the package, or in the user's cache folder where that can't be written.

    Without a folder for it every process compiles anew (some seconds). Additions may be reordered, so NaN and infinity
    must not go in.
    """
    from numba import njit

    options: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(kernel)
    except RuntimeError:  # numba: no locator available
        return njit(**options)(kernel)
