"""``tsad repair``: put a folder of misnamed or half-written files in order; says what it would do, first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tsad.config.workbench import Workbench
from tsad.loop.common import say, show
from tsad.sources import repair
from tsad.sources.repair import JOURNAL, Action

_WORDS = {  # before and after
    Action.KEEP: ("in order", "in order"), Action.RENAME: ("to rename", "renamed"),
    Action.MEND: ("to mend", "mended"), Action.BACK_UP: ("to back up", "backed up"),
    Action.REMOVE: ("to remove", "removed"), Action.LEAVE: ("left for you to decide",) * 2,
    Action.IGNORE: ("not touched",) * 2,
}  # fmt: skip
_CHANGES = (Action.RENAME, Action.MEND, Action.BACK_UP, Action.REMOVE)


def run(
    bench: Workbench, *, folder: str, apply: bool = False, algorithm: str | None = None, time_zone: str = "UTC"
) -> None:
    """Print a row per file with what is done to it and why; nothing is changed without ``apply=true``.

    Args:
        folder: where the files lie; subfolders are not looked into.
        apply: do it.
        algorithm: of files whose name has lost it.
        time_zone: of times in names and rows that name none.

    Raises:
        SourceError: no such folder.
        StorageError: it cannot be written.
    """
    place = Path(folder).expanduser()
    fixes = repair.plan(place, algorithm=algorithm or None, time_zone=time_zone, watch=_watched)
    rows = [
        {"file": f.path.name, "action": f.action.value, "new name": f.target if f.moves else "", "why": f.why}
        for f in fixes
    ]
    show(rows, f"{place}" if apply else f"{place} (dry run)")
    counts = Counter(f.action for f in fixes)
    if not apply:
        say(_summary(counts, apply))
        changes = any(counts[action] for action in _CHANGES)
        say("nothing was changed; apply=true does it" if changes else "nothing to repair")
        return
    backup = repair.apply(place, fixes)
    say(_summary(counts, apply))
    if backup is not None:
        say(f"originals of what was mended or taken away, and a list of what was done: {backup / JOURNAL}")


def _summary(counts: Counter[Action], after: bool) -> str:
    named = ", ".join(f"{counts[action]} {words[after]}" for action, words in _WORDS.items() if counts[action])
    return f"{sum(counts.values())} files" + (f": {named}" if named else "")


def _watched(paths: Sequence[Path]) -> Iterable[Path]:
    from rich.console import Console
    from rich.progress import track

    return track(paths, "looking", console=Console(stderr=True), transient=True)
