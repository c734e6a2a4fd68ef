"""What a job says goes into the service's log too, each line with the ids of the job, its loop and iteration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsad.core.labels import labelled
from tsad.core.options import ServiceOptions
from tsad.files.json_lines import JsonLines, logged_to

MB = 10**6


def log_file(home: Path) -> Path:
    """Where the log of the services of a store, and of their jobs, lies."""
    return home / "service" / "logs" / "service.jsonl"


@contextmanager
def logged(home: Path, options: ServiceOptions, job: str, loop: str) -> Iterator[None]:
    """Keep what a job logs while the block runs, beside its own log."""
    handler = JsonLines(log_file(home), int(options.log_mb * MB), options.logs)
    with labelled(job=job, loop=loop), logged_to(handler, ["tsad"]):
        yield
