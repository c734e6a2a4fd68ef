"""Uploads on their way: a folder each, how far it is told by what lies there, so that any process can say it."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tsad.core.errors import InUseError, StorageError, UploadError
from tsad.core.results import Result
from tsad.core.times import format_time
from tsad.files.atomic import storage, write_file
from tsad.jobs.locks import held

ID = r"^[A-Za-z0-9_-]{8,64}$"  # of a transfer; a client that wants to watch or restart it chooses one
STALE = 24 * 3600.0  # seconds after which nobody comes back to a transfer
STATE, FILES = "state.json", "files"
RECEIVING, CHECKING, REGISTERED, REFUSED = "receiving", "checking", "registered", "refused"


@dataclass(frozen=True, eq=False)
class Transfer(Result):
    """An upload on its way.

    Attributes:
        state: ``receiving``, ``checking``, ``registered`` or ``refused``.
        name: of the file that comes in parts; "" for a form.
        received, total: bytes; ``total`` is ``None`` where nobody has said it.
        upload: what it is kept as; ``None`` before.
        problem: why it was refused; else "".
        at: when something was last said of it, ISO 8601 in UTC.
    """

    id: str
    state: str
    name: str
    received: int
    total: int | None
    at: str
    upload: str | None = None
    problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in (REGISTERED, REFUSED)


class Transfers:
    """The transfers of a store.

    Args:
        folder: where they lie, one folder each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def working(self, identifier: str | None) -> Iterator[Place]:
        """Be the one that works on a transfer, of all threads and processes here; a new one where none is named.

        Raises:
            InUseError: another request works on it.
            StorageError: disk full.
        """
        self.sweep()
        name = identifier or uuid.uuid4().hex
        place = Place(self._folder / name)
        with storage(place.folder):
            place.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        with place.lock() as mine:
            if not mine:
                found = f"another request works on transfer {name}"
                raise InUseError(found, "Wait until it has ended, or choose another id.")
            yield place

    def find(self, identifier: str) -> Transfer | None:
        """How a transfer stands; ``None`` where there is none of that id."""
        if not re.fullmatch(ID, identifier):
            return None
        place = Place(self._folder / identifier)
        stands = place.stands()
        if stands is not None and stands.state == CHECKING and not place.worked_on():
            return replace(stands, state=REFUSED, problem="the service ended while it was checked: send it again")
        return stands

    def sweep(self) -> int:
        """Forget transfers that nobody comes back to; how many."""
        if not self._folder.is_dir():
            return 0
        old = [place for place in map(Place, self._folder.iterdir()) if place.age() > STALE]
        for place in old:
            place.forget()
        return len(old)


@dataclass(frozen=True)
class Place:
    """The folder of one transfer."""

    folder: Path

    @property
    def files(self) -> Path:
        """Where its files come to lie."""
        return self.folder / FILES

    def lock(self) -> AbstractContextManager[bool]:
        """Hold it while the block runs; gives whether that could be had: the kernel frees it where a process ends."""
        from filelock import FileLock

        return held(FileLock(self.folder / "lock", thread_local=False))

    def worked_on(self) -> bool:
        """Whether a request works on it."""
        with self.lock() as mine:
            return not mine

    def stands(self) -> Transfer | None:
        """How it stands; what has been received is what lies there."""
        try:
            said = Transfer.from_json(json.loads((self.folder / STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        if said.state != RECEIVING:
            return said
        received = 0
        with suppress(OSError):  # it ends meanwhile
            received = sum(path.stat().st_size for path in self.files.rglob("*") if path.is_file())
        return replace(said, received=received)

    def begin(self, name: str, total: int | None) -> None:
        """Begin afresh: nothing has come yet.

        Raises:
            StorageError: the disk has no room for it.
        """
        self.clear()
        check_room(self.folder, total or 0)
        with storage(self.files):
            self.files.mkdir(mode=0o700)
        (self.folder / STATE).unlink(missing_ok=True)
        self.say(RECEIVING, name, total)

    def say(self, state: str, name: str = "", total: int | None = None, **more: str | int) -> Transfer:
        """Keep how it stands."""
        before = self.stands()
        known = {"name": name or (before.name if before else ""), "received": before.received if before else 0}
        total = total if total is not None else (before.total if before else None)
        values = {**known, **more, "total": total, "state": state, "id": self.folder.name, "at": _now()}
        transfer = Transfer.from_json(values)
        write_file(self.folder / STATE, json.dumps(transfer.to_json(), ensure_ascii=False).encode())
        return transfer

    def append(self, name: str, at: int, content: bytes) -> int:
        """Write bytes into a file of it, from a position on; what lay behind is cut off. The file's size.

        Raises:
            UploadError: the file has fewer bytes than that.
            StorageError: disk full.
        """
        path = self.files / name
        with storage(path), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if at > size:
                raise UploadError(f"{name} has {size} bytes; these begin at {at}", f"Go on at byte {size}.")
            file.truncate(file.seek(at))
            file.write(content)
            return file.tell()

    def clear(self) -> None:
        """Delete its files; what is said of it stays."""
        shutil.rmtree(self.files, ignore_errors=True)

    def forget(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def age(self) -> float:
        """Seconds since anything of it was written."""
        try:
            return time.time() - max(path.stat().st_mtime for path in (self.folder, *self.folder.rglob("*")))
        except OSError:
            return 0.0


def check_room(folder: Path, size: int) -> None:
    """Refuse what the disk has no room for before any of it is read.

    Raises:
        StorageError: it has not.
    """
    with storage(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise StorageError(f"{size} bytes are to come and {folder} has room for {free}", "Free space on this disk.")


def _now() -> str:
    return format_time(time.time_ns() // 10**9 * 10**9)
