"""What addresses tell by themselves; no name is looked up."""

from __future__ import annotations


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches it, by its usual names."""
    return host in ("localhost", "::1") or host.startswith("127.")
