"""A process that waits to be a job: it has imported already what every job needs, which takes seconds.

It is told on its standard input, once; where that ends before, whoever would have told it is gone, and so is it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tsad.core.environment import set_devices, set_environment
from tsad.jobs.working import JobCall

SPARE = "spare"  # in the place of a job's id


def job_of_process(prepare: Callable[[], None]) -> JobCall | None:
    """The job that this process is for: told by its environment, or, for a spare one, when it is needed.

    Args:
        prepare: what a spare process does while nobody waits for it.

    Raises:
        SystemExit: nobody needs it any more.
    """
    call = JobCall.of_process()
    if call is None or call.id != SPARE:
        return call
    _import()
    prepare()
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    told = json.loads(line)
    set_devices(str(told["devices"]))
    _log_to(Path(told["log"]))
    return JobCall(str(told["id"]), str(told["slot"]), tuple(told["words"]), bool(told["shared"]))


def _import() -> None:
    set_environment()
    import hydra  # noqa: F401

    from tsad.tracking.jobs import import_mlflow

    import_mlflow()


def _log_to(log: Path) -> None:
    """Standard error goes there from now on, for all that this process and its children say."""
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 2)
