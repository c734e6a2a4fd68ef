"""Runs ``tsad`` and ends it with SIGKILL at a named point: ``python killer.py POINT tsad-arguments...``.

A point is ``before:NAME`` or ``after:NAME`` of a call below; nothing in the package knows of it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def die() -> None:
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(point: str) -> None:
    """Wrap the one call that ``point`` names."""
    when, name = point.split(":", 1)

    def wrap(owner: Any, attribute: str, matches: Callable[..., bool]) -> None:
        original = getattr(owner, attribute)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not matches(*args, **kwargs):
                return original(*args, **kwargs)
            if when == "before":
                die()
            value = original(*args, **kwargs)
            die()
            return value

        setattr(owner, attribute, wrapped)

    kind, _, detail = name.partition("=")
    if kind == "state":
        from tsad.tracking.runs import Iteration

        wrap(Iteration, "set_state", lambda self, state, *rest, **more: state == detail)
    elif kind == "close":  # StepRun.close writes result.json; FINISHED follows
        from tsad.tracking.runs import StepRun

        wrap(StepRun, "close", lambda self: self.name == detail)
    elif kind == "dataset":
        from tsad.tracking.runs import LoopStore

        wrap(LoopStore, "put_dataset", lambda self, dataset, *rest, **more: dataset.purpose == detail)
    elif kind in ("register", "promote"):
        from tsad.tracking.registry import Registry

        wrap(Registry, kind, lambda self, *rest, **more: True)
    elif kind == "checkpoint":
        from tsad.training import checkpoints

        wrap(checkpoints, "write", lambda *rest, **more: True)
    else:
        raise SystemExit(f"unknown point {point}")


if __name__ == "__main__":
    point = sys.argv.pop(1)
    if point != "never":
        kill_at(point)
    from tsad.cli import main

    sys.exit(main())
