"""Quotes override values that Hydra's grammar would reject, and leaves every other one alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

OVERRIDE = re.compile(r"^(?P<key>[+~]{0,2}[^=\s]+)=(?P<value>.*)$", re.DOTALL)
_PLAIN = re.compile(r"^[A-Za-z_][\w.-]*$", re.ASCII)
_WINDOWS_PATH = re.compile(r"^([A-Za-z]:\\|\\\\[^\\])")
_FUNCTION = re.compile(r"^[a-z_]+\s*\(.*\)$", re.DOTALL)
_CLOSES = {")": "(", "]": "[", "}": "{"}


def quoted(override: str) -> str:
    """The override with those parts of its value quoted that Hydra would refuse or change.

    Lists, dicts, sweeps (``a,b``), functions (``range(1,4)``), quoted texts and ``${}`` stay what they are. Windows
    paths keep their backslashes, ``~/`` becomes the home folder, ``2024_01`` stays a text instead of 202401.
    """
    match = OVERRIDE.match(override)
    if not match or not match["value"].strip() or _PLAIN.match(match["value"]):
        return override
    value = match["value"]
    parts = split(value)
    rebuilt = ",".join(_element(part) for part in parts or ())
    return f"{match['key']}={rebuilt if parts and parse(rebuilt) is not None else _quote(value)}"


def _element(text: str) -> str:
    """One value of a sweep, a list or a dict."""
    bare = text.strip()
    if not bare or _in_quotes(bare) or (_FUNCTION.match(bare) and parse(bare) is not None):
        return text
    for opens, closes in ("[]", "{}"):
        inner = split(bare[1:-1]) if bare[0] == opens and bare[-1] == closes else None
        if inner is not None:
            rebuilt = opens + ",".join(_pair(p) if opens == "{" else _element(p) for p in inner) + closes
            return rebuilt if parse(rebuilt) is not None else _quote(bare)
    if bare.startswith("~/"):
        bare = text = str(Path(bare).expanduser())
    return _quote(bare) if _WINDOWS_PATH.match(bare) or not _kept(bare) else text


def _pair(text: str) -> str:
    key, colon, value = text.partition(":")
    return f"{key}{colon}{_element(value)}"


def split(text: str) -> list[str] | None:
    """Split at commas outside brackets and quotes; ``None`` where brackets or quotes do not pair up."""
    parts, opened, mark, start, before, at = [], "", "", 0, "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] in set("\\,()[]{}'\""):
            at += 2
            before = char
            continue
        if mark:
            mark = "" if char == mark else mark
        elif char in "'\"" and before in set(",[{:(") | {""}:
            mark = char
        elif char in "([{":
            opened += char
        elif char in _CLOSES:
            if opened[-1:] != _CLOSES[char]:
                return None
            opened = opened[:-1]
        elif char == "," and not opened:
            parts.append(text[start:at])
            start = at + 1
        before = before if char.isspace() else char
        at += 1
    return None if opened or mark else [*parts, text[start:]]


def parse(text: str) -> list[Any] | None:
    """The value as Hydra's grammar reads it, in a list of one; ``None`` where it refuses."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return [OverridesParser.create().parse_override(f"k={text}").value()]
    except HydraException:
        return None


def _kept(text: str) -> bool:
    """Whether Hydra reads the text as it stands; a number that prints differently (``1_000``) is not."""
    parsed = parse(text)
    if parsed is None:
        return False
    number = isinstance(parsed[0], int | float) and not isinstance(parsed[0], bool)
    return not number or str(parsed[0]) == text


def _in_quotes(text: str) -> bool:
    return len(text) > 1 and text[0] in "'\"" and text[-1] == text[0] and parse(text) is not None


def _quote(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    # OmegaConf takes \${ for an escaped interpolation; a Windows path means its backslash.
    text = re.sub(r"\\+(?=\$\{)", lambda m: m[0] * 2, text)
    return QuotedString(text, Quote.single).with_quotes()
