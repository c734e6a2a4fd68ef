"""What interrupted work says about going on with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def same_command_goes_on() -> Iterator[None]:
    """Work that looks for what it has done before: interrupted, it says that the same command goes on from there."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note("Go on with the same command: what is finished is kept")
        raise
