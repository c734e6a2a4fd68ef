"""A job's events as they are written: one reading of the file, whoever listens."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

BLOCK = 1 << 18  # bytes of one reading
GONE = "deleted"
ENDED = ("succeeded", "failed", "stopped", GONE)


@dataclass(frozen=True)
class Told:
    """An event as it goes out, made once for all who listen."""

    job: str
    id: int
    at: str
    kind: str
    values: dict[str, Any]

    @property
    def state(self) -> str:
        """The state that it brings the job into; "" = it tells something else."""
        return str(self.values.get("state", "")) if self.kind == "state" else ""

    @cached_property
    def text(self) -> str:
        """JSON of ASCII alone, one line: some readers of lines end them at U+2028 and the like."""
        event = {"job": self.job, "id": self.id, "at": self.at, "kind": self.kind, "values": self.values}
        return json.dumps(event, separators=(",", ":"))

    @cached_property
    def frame(self) -> bytes:
        """As an event of a stream (HTML, 9.2.5), which comes back by its id."""
        return f"id: {self.job}:{self.id}\nevent: {self.kind}\ndata: {self.text}\n\n".encode()


def told_of(job: str, line: bytes) -> Told | None:
    """The event of a line; ``None`` where it is none, after a disk fault."""
    try:
        event = json.loads(line, parse_constant=lambda _: None)
        return Told(job, int(event["id"]), str(event["at"]), str(event["kind"]), dict(event["values"]))
    except (ValueError, TypeError, KeyError):
        return None


class Lines:
    """Whole lines of a file that grows, from ``offset`` on; what is still being written comes at the next reading."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path, self._offset = path, offset

    @classmethod
    def last(cls, path: Path, block: int = BLOCK) -> Lines:
        """From the first line on that begins within the last ``block`` bytes."""
        try:
            begin = max(0, path.stat().st_size - block)
        except FileNotFoundError:
            return cls(path)
        if begin:
            with path.open("rb") as file:
                file.seek(begin - 1)
                file.readline()
                begin = file.tell()
        return cls(path, begin)

    @classmethod
    def behind(cls, path: Path, after: int, block: int = BLOCK) -> Lines:
        """From a line on before which there is no event later than ``after``, found by halves: ids only grow."""
        begin = 0
        with suppress(FileNotFoundError), path.open("rb") as file:
            end = file.seek(0, 2)
            while end - begin > block:
                middle = (begin + end) // 2
                file.seek(middle)
                file.readline()
                at = file.tell()
                if _id(file.readline()) > after:
                    end = middle
                else:
                    begin = at
        return cls(path, begin)

    def read(self, block: int = BLOCK) -> list[bytes]:
        """The next lines, about ``block`` bytes of them; none where there is nothing new, or no file."""
        try:
            if self._path.stat().st_size <= self._offset:
                return []
            with self._path.open("rb") as file:
                file.seek(self._offset)
                lines = file.readlines(block)
        except FileNotFoundError:
            return []
        whole = list(takewhile(lambda line: line.endswith(b"\n"), lines))
        self._offset += sum(map(len, whole))
        return whole


def pages(job: str, path: Path, after: int, most: int) -> Iterator[list[Told]]:
    """Events later than ``after`` that are in the file, oldest first, ``most`` at a time."""
    lines = Lines.behind(path, after) if after else Lines(path)
    page: list[Told] = []
    while read := lines.read():
        for line in read:
            told = told_of(job, line) if _id(line) > after else None
            if told is not None and told.id > after:
                page.append(told)
            if len(page) >= most:
                yield page
                page = []
    if page:
        yield page


def _id(line: bytes) -> float:
    """The id that a line begins with, without reading all of it; infinite where it does not."""
    head, _, rest = line.partition(b":")
    number = rest.partition(b",")[0].strip()
    return int(number) if head.strip() == b'{"id"' and number.isdigit() else float("inf")


class Tail:
    """The newest events of a job. Its ring is of the event loop alone; :meth:`news` belongs to the thread that reads.

    Args:
        keep: events that whoever is behind finds here; whoever is further behind reads the file.
    """

    def __init__(self, job: str, path: Path, keep: int) -> None:
        self.job, self.path, self.listeners = job, path, 0
        self.state, self.last, self.ready = "", 0, False
        self.looked_up = self.left = float("-inf")  # monotonic times: the store was asked, the last listener went
        self._ring: deque[Told] = deque(maxlen=keep)
        self._lines: Lines | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def over(self) -> bool:
        """Whether the job has ended, as far as its events tell."""
        return self.state in ENDED

    def news(self) -> list[Told]:
        """What was written since the last call; first of all the end of what was there."""
        if self._lines is None:
            self._lines = Lines.last(self.path)
        return [told for line in self._lines.read() if (told := told_of(self.job, line))]

    def take(self, news: list[Told]) -> None:
        """Keep events, and wake whoever waits."""
        for told in news:
            self._ring.append(told)
            self.last = told.id
            self.state = told.state or self.state
        self.ready = True
        self.wake()

    def wake(self) -> None:
        """Let everyone who waits look again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def after(self, id: int, most: int) -> list[Told] | None:
        """At most ``most`` events later than that, the oldest of them first; ``None``: the ring begins later."""
        if id >= self.last:
            return []
        if self._ring[0].id > id + 1:
            return None
        later = list(takewhile(lambda told: told.id > id, reversed(self._ring)))
        return later[: -most - 1 : -1]

    def oldest(self, most: int) -> list[Told]:
        """At most ``most`` events, from the oldest in the ring on."""
        return list(islice(self._ring, most))

    async def changed(self, seconds: float) -> bool:
        """Wait until :meth:`wake`; ``False``: that took longer than ``seconds``."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(future)
        return True
