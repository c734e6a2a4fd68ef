"""``tsad detect``: a detector version over series, or over their history in chunks."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.backfill import Backfilled, Stretch
from tsad.loop.detect import SeriesScored, score_history, score_series
from tsad.loop.report import FIGURES
from tsad.verbs.console import Console
from tsad.verbs.resuming import same_command_goes_on
from tsad.verbs.tables import figure


class DetectKeys(Options):
    """Own keys of ``tsad detect``."""

    points: list[str] | None
    version: str
    output: str | None
    since: str | None
    until: str | None
    chunk: str
    again: bool


keys_model = DetectKeys
TITLES = FIGURES | {"point_id": "point", "abnormal_share": "abnormal"}
SPARE = ("interval R", "interval P", "points", "point F1")


def run(bench: Workbench, keys: DetectKeys, console: Console) -> SeriesScored | Backfilled:
    """Score series with a registered version (or the configured detector) and say what it found.

    Raises:
        RegistryError: no such version.
        SourceError: nothing could be read, or (``source.write_back=true``) the source does not take the detections.
        ConfigError: times that cannot be meant.
    """
    if keys.since is None and keys.until is None:
        return console.answer(score_series(bench, keys.version, keys.points, keys.output), _present)
    stretch = Stretch(keys.since, keys.until, keys.chunk, keys.again)
    with same_command_goes_on():
        scored = score_history(bench, keys.version, keys.points, keys.output, stretch)
    return console.answer(scored, _present_history)


def _present(scored: SeriesScored, console: Console) -> None:
    if scored.output:
        console.say(f"wrote {scored.series} files each to {scored.output}/scores and {scored.output}/intervals")
    if scored.written_back:
        console.say(f"wrote {scored.series} detections back into {scored.written_back}")
    rows = [{TITLES.get(key, key): value for key, value in row.table_row().items()} for row in scored.rows]
    console.table(rows, f"{scored.model_version} at threshold {figure(scored.threshold)}", SPARE)
    for row in scored.rows:
        if row.refit:
            console.say(f"{row.point_id}: {row.refit}")
    if scored.outage:
        console.say(scored.outage)


def _present_history(scored: Backfilled, console: Console) -> None:
    rows = [row.table_row() for row in scored.rows]
    console.table(rows, f"{scored.model_version} at threshold {figure(scored.threshold)}")
    console.say(
        f"{scored.points} points in {scored.chunks} chunks, {scored.intervals} intervals; {scored.scored_before} of "
        f"{scored.series + scored.scored_before} pieces were scored by this version before"
    )
