"""A folder of misnamed or half-written files put in order, without ever losing one.

What has to be done is planned for the whole folder first. Nothing is overwritten: a file goes to a free name in
one step, a mended one takes its own place in one step, and whatever is taken away or changed lies in
``.tsad-repair/<time>/`` inside the folder, with a list of what was done. So a kill leaves each file old or new,
and the next run goes on from there.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tsad.core.errors import FileNameError, LabelError, SeriesError, SourceError, StorageError
from tsad.core.names import cell
from tsad.core.times import format_time
from tsad.files.atomic import PARTIAL, STALE_PARTIAL, atomic
from tsad.files.hashing import digest_of_file
from tsad.sources.naming import FORM, escape, file_name, parse_file_name
from tsad.sources.repair_content import Content, Found, found_in, is_packed, unpacked, without_rows
from tsad.sources.repair_names import Remains, decoded, remains_of
from tsad.sources.times import zone_of

BACKUP = ".tsad-repair"  # folder inside the repaired one
JOURNAL, ORIGINALS = "done.csv", "originals"  # in each backup: what became of which file, and what was there
_PARTIAL = re.compile(rf"\.[0-9a-f]{{12}}{re.escape(PARTIAL)}")


class Action(StrEnum):
    """What is done to a file."""

    KEEP = "keep"  # in order
    RENAME = "rename"
    MEND = "mend"  # its last row is dropped; renamed too where needed
    BACK_UP = "back up"  # moved into the backup folder
    REMOVE = "remove"
    LEAVE = "leave"  # something is wrong that a person has to decide
    IGNORE = "-"  # not ours


@dataclass(frozen=True)
class Fix:
    """What is to be done to one file, and why.

    Attributes:
        target: the name it gets; its own where that stays.
        keep: for MEND: bytes of its (unpacked) text that stay.
    """

    path: Path
    action: Action
    why: str = ""
    target: str = ""
    keep: int | None = None

    @property
    def moves(self) -> bool:
        return self.target not in ("", self.path.name)


def plan(
    folder: Path,
    *,
    algorithm: str | None = None,
    time_zone: str = "UTC",
    watch: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> list[Fix]:
    """What would be done to each file of a folder (not its subfolders); changes nothing.

    Args:
        algorithm: of files whose name has lost it.
        time_zone: of times without one, in names and rows.
        watch: passes the files on, e.g. with a progress bar.

    Raises:
        SourceError: there is no such folder, or it cannot be read.
        ConfigError: an unknown zone.
    """
    zone_of(time_zone)
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder.absolute()}", "Give folder=DIR.")
    try:
        files = sorted(p for p in folder.iterdir() if p.is_symlink() or p.is_file())
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror or error}", "Check its permissions.") from error
    seen = [p for p in files if not p.name.startswith(".") or _PARTIAL.fullmatch(p.name)]
    return settled([fix_of(path, algorithm, time_zone) for path in watch(seen)])


def fix_of(path: Path, algorithm: str | None = None, time_zone: str = "UTC") -> Fix:
    """What one file needs, whatever lies beside it."""
    if _PARTIAL.fullmatch(path.name):
        age = time.time() - path.stat().st_mtime
        if age > STALE_PARTIAL:
            return Fix(path, Action.REMOVE, "left over from a program that was killed while writing")
        return Fix(path, Action.IGNORE, "being written, or just left over: it goes once it is an hour old")
    remains = remains_of(path.name, time_zone)
    if remains is None or path.name.startswith("~$"):
        return Fix(path, Action.IGNORE, "not ours")
    if path.is_symlink():
        return Fix(path, Action.LEAVE, "a link: repair the folder that it points to")
    try:
        if nothing := without_rows(path):
            return Fix(path, Action.BACK_UP, nothing)
        found = found_in(path, remains)
        if found is None:
            return Fix(path, Action.BACK_UP, "nothing whole but a header")
        return _named(path, remains, found, algorithm)
    except (SeriesError, LabelError, SourceError, FileNameError) as error:
        return Fix(path, Action.LEAVE, _short(str(error), path))


def _named(path: Path, remains: Remains, found: Found, algorithm: str | None) -> Fix:
    """The name that the content asks for.

    Raises:
        FileNameError: it cannot be told.
    """
    content = found.content
    point, by = _whose(remains, content, algorithm)
    start, end = _span(remains, content)
    target = file_name(point, start, end, by, remains.suffix, content.time_kind)
    reasons = ["its last row was cut off"] if found.keep is not None else []
    if target != path.name:
        reasons.append(_reason(path.name, target))
    action = Action.MEND if found.keep is not None else Action.RENAME if target != path.name else Action.KEEP
    return Fix(path, action, "; ".join(reasons), target, found.keep)


def _whose(remains: Remains, content: Content, algorithm: str | None) -> tuple[str, str]:
    """Point and algorithm; a column counts more than the name, the name more than what the user says."""
    point, by = content.point_id or remains.point_id, remains.algorithm or algorithm
    if remains.point_id is None and remains.algorithm is None and remains.times is None:
        # nothing tells where in "U1_T3_patch" the point ends, unless one of the two is known
        if point is not None:
            known = next((k for k in (point, escape(point)) if remains.stem.startswith(f"{k}_")), remains.stem)
            by = decoded(remains.stem[len(known) :]) or by
        elif by is not None:
            point = decoded(remains.stem.removesuffix(f"_{by}"))
    if point is None or by is None:
        what = "the point" if by else "the algorithm" if point else "point and algorithm apart"
        raise FileNameError(f"neither name nor rows tell {what}", "Rename it." if by else "Give algorithm=NAME.")
    return point, by


def _span(remains: Remains, content: Content) -> tuple[int, int]:
    """The span of the rows; of intervals that of the name, for they do not tell how much was looked at."""
    said = remains.span(content.time_kind)
    if content.span is not None and not content.intervals:
        if content.time_kind == "index" and said is None and remains.span("time") is not None:
            raise FileNameError("the name speaks of times, the rows of an index", "Mend one of them by hand.")
        return content.span
    if said is None:
        raise FileNameError(
            "the name has lost start and end, and intervals do not tell how much was looked at", "Rename it by hand."
        )
    if content.span is not None and (content.span[0] < said[0] or content.span[1] > said[1]):
        reach = " to ".join(format_time(t, content.time_kind) for t in content.span)
        raise FileNameError(f"its intervals reach from {reach}, beyond the name's span", "Mend one of them by hand.")
    return said


def _reason(name: str, target: str) -> str:
    """What is wrong with a name, beside the one that it should have."""
    now, then = None, parse_file_name(target)
    try:
        now = parse_file_name(name)
    except FileNameError as error:
        return error.found.partition(f"{FORM}: ")[2] or error.found
    if now.point_id.strip() != then.point_id:
        return f"its rows are of {then.point_id}"
    if (now.start, now.end, now.time_kind) != (then.start, then.end, then.time_kind):
        return "its rows span " + " to ".join(format_time(t, then.time_kind) for t in (then.start, then.end))
    return "spaces, a mark of a copy or another suffix in its name"


# --- files that meet under one name -------------------------------------------------------------------------


def settled(fixes: Sequence[Fix]) -> list[Fix]:
    """The plan for the folder as a whole: no two files under one name, nothing in the way of another."""
    plans = list(fixes)
    named: dict[str, list[int]] = defaultdict(list)
    for k, fix in enumerate(plans):
        if fix.target:
            named[fix.target].append(k)
    for target, members in named.items():
        if len(members) > 1:
            for k, fix in zip(members, _apart([plans[m] for m in members], target), strict=True):
                plans[k] = fix
    while blocked := _blocked(plans):
        for k, by in blocked.items():
            plans[k] = Fix(plans[k].path, Action.LEAVE, f"it should be {plans[k].target}, a name that {by} has")
    return plans


def _apart(fixes: Sequence[Fix], target: str) -> list[Fix]:
    """Files that would all get one name: of equal ones the best named stays, different ones are left to people."""
    first = next((f for f in fixes if not f.moves), fixes[0])
    if len({_digest(f) for f in fixes}) == 1:
        return [
            f if f is first else Fix(f.path, Action.BACK_UP, f"the same as {first.path.name}")
            for f in fixes
        ]
    left = []
    for fix in fixes:
        others = ", ".join(f.path.name for f in fixes if f is not fix)
        named = "should be" if fix.moves else "is"
        left.append(Fix(fix.path, Action.LEAVE, f"it {named} {target}, and so should {others}, which holds other rows"))
    return left


def _digest(fix: Fix) -> str:
    """SHA-256 of the text that the file has in the end; packed files by their bytes where nothing is dropped."""
    with tempfile.TemporaryDirectory() as scratch:
        path = fix.path
        if fix.keep is not None:
            path = Path(scratch) / "text"
            unpacked(fix.path, path)
            os.truncate(path, fix.keep)
        return digest_of_file(path)


def _blocked(plans: Sequence[Fix]) -> dict[int, str]:
    """Files whose new name stays somebody else's, or is part of a ring of names; by whom."""
    here = {fix.path.name: fix for fix in plans}
    found = {}
    for k, fix in enumerate(plans):
        name, passed = fix.target, {fix.path.name}
        while fix.moves and name in here and name not in passed:
            other = here[name]
            if other.action in (Action.BACK_UP, Action.REMOVE):
                break
            if not other.moves:
                found[k] = name
                break
            passed.add(name)
            name = other.target
        else:
            if fix.moves and name in passed:
                found[k] = fix.target
    return found


# --- doing it -----------------------------------------------------------------------------------------------


def apply(folder: Path, fixes: Sequence[Fix]) -> Path | None:
    """Do what was planned; returns the backup folder, or ``None`` where there was nothing to do.

    Raises:
        StorageError: the folder is read-only, the disk is full, or a name has been taken meanwhile; what was done
            until then stays done, and running it again goes on.
    """
    todo = [f for f in fixes if f.action not in (Action.KEEP, Action.LEAVE, Action.IGNORE)]
    if not todo:
        return None
    try:
        backup = _new_backup(folder)
        _write_journal(backup / JOURNAL, todo)
        for fix in todo:  # first what only frees names
            if fix.action == Action.BACK_UP:
                _move(fix.path, backup / ORIGINALS / fix.path.name)
            elif fix.action == Action.REMOVE:
                fix.path.unlink(missing_ok=True)
            elif fix.action == Action.MEND:
                _mend(fix, backup)
        waiting = [f for f in todo if f.moves]
        while waiting:  # one after the other, each once its name is free
            free = [f for f in waiting if not any(o.path.name == f.target for o in waiting)] or waiting
            for fix in free:
                _move(fix.path, folder / fix.target)
            waiting = [f for f in waiting if f not in free]
    except OSError as error:
        raise StorageError(
            f"cannot repair {folder}: {error.strerror or error}", "Make it writable or free space, and run it again."
        ) from error
    return backup


def _new_backup(folder: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for attempt in range(1, 1000):
        place = folder / BACKUP / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        try:
            place.mkdir(parents=True)
            (place / ORIGINALS).mkdir()
        except FileExistsError:
            continue
        return place
    raise FileExistsError(17, "too many backups in one second", str(folder / BACKUP))


def _write_journal(path: Path, todo: Sequence[Fix]) -> None:
    """What becomes of which file, written before anything is touched."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "action", "new_name", "why"])
        rows.writerows([cell(f.path.name), f.action.value, cell(f.target or ""), f.why] for f in todo)


def _mend(fix: Fix, backup: Path) -> None:
    """Keep the original aside, then put the whole part of it in its place."""
    with atomic(backup / ORIGINALS / fix.path.name) as partial:
        shutil.copy2(fix.path, partial)
    with atomic(fix.path) as partial, tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text"
        unpacked(fix.path, text)
        os.truncate(text, fix.keep or 0)
        with text.open("rb") as whole, partial.open("wb") as out:
            if is_packed(fix.path):
                with gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed:
                    shutil.copyfileobj(whole, packed)
            else:
                shutil.copyfileobj(whole, out)
        shutil.copymode(fix.path, partial)


def _move(path: Path, place: Path) -> None:
    """Give a file another name, never one that is taken: a second link, then the first one goes."""
    if place.exists() and place.samefile(path):  # upper and lower case are one to this file system
        path.rename(place)
        return
    try:
        place.hardlink_to(path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(place):
            raise FileExistsError(17, f"{place.name} has been made meanwhile", str(place)) from None
        path.rename(place)
    else:
        path.unlink()


def _short(text: str, path: Path) -> str:
    """A message without the path that the table names already."""
    return text.removeprefix(f"{path} ").removeprefix(f"{path}: ").replace(str(path), path.name)
