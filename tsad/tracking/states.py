"""States of an iteration that this room knows, and how runs are found by their tags."""

from __future__ import annotations

CREATED, COMPLETED, FAILED = "CREATED", "COMPLETED", "FAILED"
ABANDONED = "ABANDONED"  # closed without being completed
ENDED = {COMPLETED: "FINISHED", FAILED: "FAILED", ABANDONED: "KILLED"}  # state -> MLflow's status


def quoted(value: str) -> str:
    """A value in a filter; ours are words, numbers, ids, hashes and checked loop names, which hold no quotes.

    Raises:
        ValueError: it holds one after all; MLflow's filters have no way to escape it.
    """
    if "'" in value:
        raise ValueError(f"{value!r} holds a quote and cannot be searched for in MLflow")
    return f"'{value}'"


def tag_is(key: str, value: str) -> str:
    """A filter term on a tag."""
    return f"tags.`{key}` = {quoted(value)}"
