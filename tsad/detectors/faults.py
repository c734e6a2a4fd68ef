"""What is wrong with options, in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

UNKNOWN, ABSENT = "extra_forbidden", "missing"


def faults_of(error: ValidationError, prefix: str) -> list[tuple[str, str]]:
    """Each fault as (what was found, what to do), e.g. ``("half=0.0", "detector.half should be greater than 0.")``.

    Args:
        prefix: group of the keys, e.g. ``detector.``, or "".
    """
    rows = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        text = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
        if isinstance(fault["input"], Mapping) and fault["type"] not in (UNKNOWN, ABSENT):  # a rule over several keys
            rows.append((", ".join(f"{name}={value}" for name, value in fault["input"].items()), f"{text}."))
        else:
            rows.append((f"{key}={fault['input']}", f"{prefix}{key} {text}."))
    return rows


def misspelt(error: ValidationError) -> list[str]:
    """Keys that are unknown or missing."""
    return [str(fault["loc"][0]) for fault in error.errors() if fault["type"] in (UNKNOWN, ABSENT)]
