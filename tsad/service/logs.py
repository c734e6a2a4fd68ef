"""The service's log: lines of JSON in the store's ``service/logs/``, access and everything else, rotated."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsad.core.options import ServiceOptions
from tsad.files.json_lines import JsonLines, logged_to
from tsad.jobs.logs import MB, log_file
from tsad.service.requests import access


@contextmanager
def logging_to_file(home: Path, options: ServiceOptions, token: str) -> Iterator[None]:
    """Keep what is logged while the block runs; accesses go there alone, not to the terminal too.

    Args:
        token: is in no line.
    """
    path, most = log_file(home), int(options.log_mb * MB)
    before, level = access.propagate, access.level
    access.propagate = False
    access.setLevel(logging.INFO)
    try:
        with (
            logged_to(JsonLines(path, most, options.logs, [token]), ["tsad", access.name]),
            # What uvicorn says below a warning holds whole addresses, with what somebody wrote into a query.
            logged_to(JsonLines(path, most, options.logs, [token]), ["uvicorn.error"], logging.WARNING),
        ):
            yield
    finally:
        access.propagate = before
        access.setLevel(level)
