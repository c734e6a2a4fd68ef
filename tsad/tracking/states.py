"""States of an iteration that this room knows, and how runs are found by their tags."""

from __future__ import annotations

CREATED, COMPLETED, FAILED = "CREATED", "COMPLETED", "FAILED"
ABANDONED = "ABANDONED"  # closed without being completed
ENDED = {COMPLETED: "FINISHED", FAILED: "FAILED", ABANDONED: "KILLED"}  # state -> MLflow's status


def tag_is(key: str, value: str) -> str:
    """A filter term; values are our own words, numbers, ids and hashes, which hold no quotes."""
    return f"tags.`{key}` = '{value}'"
