"""What is wrong with options, in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

UNKNOWN, ABSENT = "extra_forbidden", "missing"


def faults_of(error: ValidationError, prefix: str) -> list[tuple[str, str]]:
    """Each fault as (what was found, what to do), e.g. ``("half=0.0", "detector.half should be greater than 0.")``.

    Texts are not repeated, but for choices: one may be a password where none belongs.

    Args:
        prefix: group of the keys, e.g. ``detector.``, or "".
    """
    rows = []
    for fault in error.errors():
        key, value = ".".join(str(part) for part in fault["loc"]), fault["input"]
        text = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
        if not key or isinstance(value, Mapping):  # a rule over several keys
            rows.append((text.rstrip("."), ""))
            continue
        shown = isinstance(value, int | float | None) or fault["type"] == "literal_error"
        rows.append((f"{key}={value}" if shown else key, f"{prefix}{key} {text.rstrip('.')}."))
    return rows


def misspelt(error: ValidationError) -> list[str]:
    """Keys that are unknown or missing."""
    return [str(fault["loc"][0]) for fault in error.errors() if fault["type"] in (UNKNOWN, ABSENT)]
