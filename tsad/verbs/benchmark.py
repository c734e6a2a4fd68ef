"""``tsad benchmark``: detectors on labelled sets -> a leaderboard, and the scores it was made from."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.steps.benchmark import BenchmarkKeys, Leaderboard, benchmark
from tsad.steps.leaderboard import table
from tsad.verbs.console import Console
from tsad.verbs.resuming import same_command_goes_on

keys_model = BenchmarkKeys


def run(bench: Workbench, keys: BenchmarkKeys, console: Console) -> Leaderboard:
    """Score labelled sets with detectors and show their means.

    Raises:
        ConfigError: a detector that does not exist.
        SourceError: a set that does not exist, or without any anomaly; nothing abnormal in all the heads cut off.
    """
    with same_command_goes_on():
        leaderboard = benchmark(bench, keys)
    return console.answer(leaderboard, _present)


def _present(board: Leaderboard, console: Console) -> None:
    title = f"{len(board.detectors)} detectors on {len(board.sets)} sets; figures are means over series"
    console.table(table(board.means), title)
    console.say(f"wrote {board.path} and {board.series} files under {board.scores}")
