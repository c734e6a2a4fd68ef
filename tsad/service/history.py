"""What was predicted, and by whom: one line of JSON each, in a file for each day; written aside from the answers."""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from tsad.core.errors import StorageError

log = logging.getLogger("tsad")
NAME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.(\d{1,20}))?\.jsonl")
PARTS = 8  # of the bound; a day that is larger than one goes part by part
MOST_SEARCHED = 200_000_000  # bytes that one request searches; the file that it is in by then is searched to its end
BLOCK = 1 << 20  # bytes that are read at a time
MOST_WAITING = 10_000  # predictions that wait to be written; beyond it they are counted as lost
END = b""


@dataclass(frozen=True)
class PredictionFilter:
    """Which predictions; "" = any.

    Attributes:
        since, until: days (UTC), both included.
    """

    loop: str = ""
    point_id: str = ""
    model_version: str = ""
    since: date | None = None
    until: date | None = None

    def day(self, day: date) -> bool:
        """Whether predictions of that day may be meant."""
        return (self.since is None or day >= self.since) and (self.until is None or day <= self.until)

    def __call__(self, line: Mapping[str, Any]) -> bool:
        wanted = {"loop": self.loop, "point_id": self.point_id, "model_version": self.model_version}
        return all(not value or line.get(name) == value for name, value in wanted.items())

    @property
    def needles(self) -> list[bytes]:
        """What a line holds that may be meant: looking for it is much faster than reading lines."""
        texts = (self.loop, self.point_id, self.model_version)
        return [json.dumps(text, ensure_ascii=False).encode("utf-8", "replace") for text in texts if text]

    @property
    def open(self) -> bool:
        """Whether every prediction of its days is meant."""
        return not (self.loop or self.point_id or self.model_version)


@dataclass(eq=False)
class PredictionHistory:
    """Predictions with their origin, in ``folder/YYYY-MM-DD.jsonl`` (UTC); of a large day with what came before in
    ``YYYY-MM-DD.NANOSECONDS.jsonl``.

    Two services on one store write into the same files: a line is written in one go, at the end.

    Args:
        days: how long they are kept; 0 = nothing is. most: bytes of them all; the oldest go.

    Attributes:
        problem: why nothing can be written at the moment; "" = it can.
        lost: predictions that could not be written.
    """

    folder: Path
    days: float
    most: int = 1_000_000_000
    problem: str = ""
    lost: int = 0
    _waiting: queue.Queue[bytes] = field(default_factory=lambda: queue.Queue(MOST_WAITING))
    _counts: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)  # bytes of a file, their lines
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, predictions: Sequence[Mapping[str, Any]], origin: str) -> None:
        """Have predictions written; answers at once.

        Args:
            origin: by which door they came, e.g. ``predict``.
        """
        if not self.days:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for one in predictions:
            line = json.dumps({"at": at, "by": origin, **one}, ensure_ascii=False, separators=(",", ":"))
            try:
                self._waiting.put_nowait(line.encode("utf-8", "replace") + b"\n")
            except queue.Full:
                self._lose(1, "they come faster than they can be written")

    @contextmanager
    def written(self) -> Iterator[PredictionHistory]:
        """Write while the block runs; what waits at its end is written before it ends."""
        thread = threading.Thread(target=self._write_all, name="tsad-history", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._waiting.put(END)
            thread.join()

    def page(
        self, which: PredictionFilter, limit: int, offset: int
    ) -> tuple[list[dict[str, Any]], int, date | None]:
        """Predictions, the newest first, how many there are, and from which day on they were searched; ``None`` = all.

        Raises:
            StorageError: they cannot be read.
        """
        files = [(day, path) for day, path in self._files() if which.day(day)]
        try:
            return self._all(files, limit, offset) if which.open else self._found(which, files, limit, offset)
        except OSError as error:
            raise StorageError(f"the history of predictions cannot be read ({error.strerror})", "") from error

    def _all(
        self, files: Sequence[tuple[date, Path]], limit: int, offset: int
    ) -> tuple[list[dict[str, Any]], int, date | None]:
        """Of all predictions: only what is shown is read, the rest is counted once."""
        items, total = list[dict[str, Any]](), 0
        for _, path in files:
            count = self._lines(path)
            if len(items) < limit and offset < total + count:
                lines = islice(lines_backwards(path), max(0, offset - total), None)
                items += islice((one for line in lines if (one := _read(line)) is not None), limit - len(items))
            total += count
        return items, total, None

    def _found(
        self, which: PredictionFilter, files: Sequence[tuple[date, Path]], limit: int, offset: int
    ) -> tuple[list[dict[str, Any]], int, date | None]:
        """Of some predictions: lines are looked through, so many bytes at most."""
        items, total, searched, needles = list[dict[str, Any]](), 0, 0, which.needles
        for place, (_, path) in enumerate(files):
            if searched >= MOST_SEARCHED:
                return items, total, files[place - 1][0]
            searched += _size(path)
            for line in lines_backwards(path):
                if not all(needle in line for needle in needles):
                    continue
                one = _read(line)
                if one is None or not which(one):
                    continue
                if offset <= total < offset + limit:
                    items.append(one)
                total += 1
        return items, total, None

    def _lines(self, path: Path) -> int:
        """How many lines a file has; of one that has grown only what is new is counted."""
        with self._counting, path.open("rb") as file:
            key = (path.name, os.fstat(file.fileno()).st_ino)
            begin, lines = self._counts.get(key, (0, 0))
            if file.seek(0, 2) < begin:
                begin = lines = 0
            file.seek(begin)
            rest = b""
            while block := file.read(BLOCK):
                *whole, rest = (rest + block).split(b"\n")
                lines += sum(1 for line in whole if line)
                begin += len(block)
            self._counts[key] = (begin - len(rest), lines)
            return lines

    def prune(self, before: date) -> tuple[int, int]:
        """Delete the days before that one; how many days and bytes.

        Raises:
            StorageError: they cannot be deleted.
        """
        days = size = 0
        try:
            gone = [(day, path) for day, path in self._files() if day < before]
            for _, path in gone:
                size += _size(path)
                path.unlink(missing_ok=True)
            days = len({day for day, _ in gone})
        except OSError as error:
            found = f"the history of predictions cannot be deleted ({error.strerror})"
            raise StorageError(found, f"Look at {self.folder}.") from error
        return days, size

    def _files(self) -> list[tuple[date, Path]]:
        """The files by day, the newest first."""
        if not self.folder.is_dir():
            return []
        matches = [(NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        parts = [(date.fromisoformat(m[1]), float(m[2] or math.inf), path) for m, path in matches if m]
        return [(day, path) for day, _, path in sorted(parts, reverse=True)]

    def _write_all(self) -> None:
        today: date | None = None
        while (line := self._waiting.get()) != END:
            lines, more = [line], True
            while more and len(lines) < 1000:
                try:
                    lines.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
                more = lines[-1] != END
            ends = lines[-1] == END
            day = datetime.now(UTC).date()
            if day != today:
                self._begin(day)
                today = day
            self._write(day, [one for one in lines if one != END])
            self._bound(day)
            if ends:
                return

    def _begin(self, day: date) -> None:
        """A new day: what is too old goes."""
        try:
            self.prune(day - timedelta(days=self.days))
            self._make_room()
        except (StorageError, OSError) as error:
            log.warning("%s", error)

    def _bound(self, day: date) -> None:
        """A day that is too large is gone on with in a new file; the oldest files go where all take too much."""
        newest = self.folder / f"{day}.jsonl"
        try:
            if _size(newest) < self.most / PARTS:
                return
            newest.rename(self.folder / f"{day}.{time.time_ns()}.jsonl")  # a name that no other service gives
            self._make_room()
        except OSError as error:
            log.warning("the history of predictions cannot be bounded: %s", error)

    def _make_room(self) -> None:
        """Delete the oldest files until the rest has room for what is written next."""
        left = self.most * (PARTS - 1) / PARTS
        for _, path in self._files():
            left -= _size(path)
            if left < 0:
                path.unlink(missing_ok=True)
                log.info("%s is deleted: the history may take %.0f MB", path.name, self.most / 1e6)

    def _write(self, day: date, lines: Sequence[bytes]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{day}.jsonl").open("ab", buffering=0) as file:
                file.write(b"\n" * bool(self.problem) + b"".join(lines))  # half a line may stand there
        except OSError as error:
            self._lose(len(lines), f"{self.folder} cannot be written to ({error.strerror})")
            return
        if self.problem:
            log.warning("predictions are kept again; %d were lost", self.lost)
        self.problem = ""

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        if not self.problem:
            log.error("predictions are not kept: %s", why)
        self.problem = why


def lines_backwards(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, the last one first; it is read in blocks. A last line without its end is left out."""
    with path.open("rb") as file:
        at, rest, whole = file.seek(0, 2), b"", False
        while at > 0:
            begin = max(0, at - BLOCK)
            file.seek(begin)
            parts = (file.read(at - begin) + rest).split(b"\n")
            rest, at = parts[0], begin
            if not whole and len(parts) > 1:
                parts[-1], whole = b"", True
            yield from (part for part in reversed(parts[1:]) if part)
        if rest and whole:
            yield rest


def _size(path: Path) -> int:
    """Bytes; none of a file that is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(line: bytes) -> dict[str, Any] | None:
    """A line as it was written; ``None`` for one that is none, e.g. cut off by a full disk."""
    try:
        one = json.loads(line)
    except ValueError:
        return None
    return one if isinstance(one, dict) else None
