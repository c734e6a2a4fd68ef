"""Names of points as file names, as cells that no spreadsheet runs, and as text in which no page finds markup."""

from __future__ import annotations

import hashlib
import re
from html import escape, unescape


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


_FORMULA = re.compile(r"'*[=+\-@\t\r|%]")
_NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?%?")


def cell(name: str) -> str:
    """A name as a cell of a CSV: one that a spreadsheet would run as a formula begins with an apostrophe."""
    return f"'{name}" if _FORMULA.match(name) and not _NUMBER.fullmatch(name) else name


def of_cell(text: str) -> str:
    """The inverse of :func:`cell`."""
    return text[1:] if text.startswith("'") and cell(text[1:]) == text else text


def markup_free(text: str) -> str:
    """A text that stays one where a page takes texts for HTML; without ``<`` and entities it is what it was."""
    return escape(text, quote=False) if "<" in text or unescape(text) != text else text


def of_markup_free(text: str) -> str:
    """The inverse of :func:`markup_free`."""
    plain = unescape(text)
    return plain if markup_free(plain) == text else text
