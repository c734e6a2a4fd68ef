"""What work is for: ids of request, job, loop and iteration, which every line of the log then bears."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_LABELS: ContextVar[Mapping[str, str]] = ContextVar("tsad_labels", default=MappingProxyType({}))


@contextmanager
def labelled(**labels: str) -> Iterator[None]:
    """Lines that this task or thread logs within the block bear these ids, beside those it had already."""
    token = _LABELS.set({**_LABELS.get(), **labels})
    try:
        yield
    finally:
        _LABELS.reset(token)


def labels() -> Mapping[str, str]:
    """The ids of what goes on here."""
    return _LABELS.get()
