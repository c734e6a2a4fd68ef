"""``tsad repair``: put a folder of misnamed or half-written files in order; says what it would do, first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.sources import repair
from tsad.sources.repair import JOURNAL, Action
from tsad.verbs.console import Console

_WORDS = {  # before and after
    Action.KEEP: ("in order", "in order"), Action.RENAME: ("to rename", "renamed"),
    Action.MEND: ("to mend", "mended"), Action.BACK_UP: ("to back up", "backed up"),
    Action.REMOVE: ("to remove", "removed"), Action.LEAVE: ("left for you to decide",) * 2,
    Action.IGNORE: ("not touched",) * 2,
}  # fmt: skip
_CHANGES = (Action.RENAME, Action.MEND, Action.BACK_UP, Action.REMOVE)


class RepairKeys(Options):
    """Own keys of ``tsad repair``; ``algorithm`` is that of files whose name has lost it."""

    folder: str
    apply: bool
    algorithm: str | None
    time_zone: str


keys_model = RepairKeys


@dataclass(frozen=True, eq=False)
class FileRepair(Result):
    """What is (or was) done to one file, and why; ``new_name`` where it gets one."""

    file: str
    action: Action
    new_name: str | None
    why: str


@dataclass(frozen=True, eq=False)
class Repaired(Result):
    """A folder's files; ``backup`` holds the originals of what was mended or taken away, and the journal."""

    folder: str
    applied: bool
    files: tuple[FileRepair, ...]
    backup: str | None


def run(bench: Workbench, keys: RepairKeys, console: Console) -> Repaired:
    """Show a row per file with what is done to it and why; nothing is changed without ``apply=true``.

    Raises:
        SourceError: no such folder.
        StorageError: it cannot be written.
    """
    folder = Path(keys.folder).expanduser()

    def watched(paths: Sequence[Path]) -> Iterable[Path]:
        return bench.context.each(paths, "looking", len(paths))

    fixes = repair.plan(folder, algorithm=keys.algorithm or None, time_zone=keys.time_zone, watch=watched)
    files = tuple(FileRepair(f.path.name, f.action, f.target if f.moves else None, f.why) for f in fixes)
    backup = repair.apply(folder, fixes) if keys.apply else None
    return console.answer(Repaired(str(folder), keys.apply, files, str(backup) if backup else None), _present)


def _present(repaired: Repaired, console: Console) -> None:
    rows = [
        {"file": f.file, "action": f.action.value, "new name": f.new_name or "", "why": f.why} for f in repaired.files
    ]
    console.table(rows, repaired.folder if repaired.applied else f"{repaired.folder} (dry run)")
    counts = Counter(f.action for f in repaired.files)
    console.say(_summary(counts, repaired.applied))
    if not repaired.applied:
        changes = any(counts[action] for action in _CHANGES)
        console.say("nothing was changed; apply=true does it" if changes else "nothing to repair")
    if repaired.backup is not None:
        journal = Path(repaired.backup) / JOURNAL
        console.say(f"originals of what was mended or taken away, and a list of what was done: {journal}")


def _summary(counts: Counter[Action], after: bool) -> str:
    named = ", ".join(f"{counts[action]} {words[after]}" for action, words in _WORDS.items() if counts[action])
    return f"{sum(counts.values())} files" + (f": {named}" if named else "")
