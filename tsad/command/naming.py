"""Keys and names in messages: the full key, and the known name next to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def full_key(prefix: str, key: object) -> str:
    """``prefix.key``, or the key alone; the place in a list as ``key[0]``."""
    if isinstance(key, int):
        return f"{prefix}[{key}]"
    return f"{prefix}.{key}" if prefix else str(key)


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A remedy for a misspelt name: the nearest known one, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {full_key(prefix, close[0])}?"
    where = f"{prefix} has" if prefix else "There are"
    return f"{where}: {', '.join(names)}." if names else f"{prefix or 'It'} has none."
