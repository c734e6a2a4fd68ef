"""``tsad data``: the series of the source and the dataset versions of the loop."""

from __future__ import annotations

from tsad.core.times import format_time
from tsad.steps.common import load_series, open_loop, say, show
from tsad.steps.workbench import Workbench


def run(bench: Workbench, *, series: bool = False) -> None:
    """List dataset versions, newest last; with ``series=true`` also the series of the configured source."""
    records = open_loop(bench).datasets()
    show(
        [
            {
                "version": r.version, "purpose": r.purpose, "windows": r.windows,
                "iteration": r.iteration, "run": r.run_id,
            }
            for r in records
        ],
        f"dataset versions of loop {bench.loop.name}",
    )
    if not records:
        say(f"loop {bench.loop.name} has no dataset version yet")
    if series:
        show(
            [
                {
                    "point_id": s.point_id, "points": len(s), "channels": len(s.channels),
                    "from": format_time(int(s.timestamps[0]), s.time_kind),
                    "to": format_time(int(s.timestamps[-1]), s.time_kind),
                    "labelled": len(s.labels) if s.labels is not None else None,
                    "mended": ", ".join(f"{k} {v}" for k, v in s.notes.items()),
                }
                for s in load_series(bench)
            ],
            "series",
        )
