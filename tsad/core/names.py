"""File names for point identifiers."""

from __future__ import annotations

import hashlib
import re


def safe_name(point_id: str) -> str:
    """A name that every file system and artifact store takes; different points get different names.

    Letters of any script, digits, ``.``, ``-`` and ``_`` stay; where anything else is replaced (or the name is
    very long), six hex digits of the identifier's SHA-256 keep it apart. Not reversible: for exchanged files see
    ``sources.naming``.
    """
    kept = re.sub(r"[^\w.\-]+", "_", point_id).strip(".")[:80]
    if kept == point_id:
        return kept
    return f"{kept or 'point'}-{hashlib.sha256(point_id.encode()).hexdigest()[:6]}"
