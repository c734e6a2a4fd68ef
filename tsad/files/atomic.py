"""Files and folders that appear whole or not at all, and a named error where the disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tsad.core.errors import StorageError

STALE_PARTIAL = 3600.0  # seconds after which a file that was being written is left over from a kill
PARTIAL = ".partial"  # end of the name of a file that is being written


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` while writing ``path`` into a :class:`StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = "Free space on this disk (or raise the quota), then run the same command again."
        else:
            remedy = "Check the folder's permissions, then run the same command again."
        raise StorageError(f"Cannot write {path}: {error.strerror or error}", remedy) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of ``folder`` when the block ends without an error.

    A crash leaves the old content (or nothing, where there was none) and a hidden ``.<name>.*`` folder beside it.
    POSIX cannot swap two folders in one call: between the two renames ``folder`` is missing for an instant.

    Raises:
        StorageError: disk full, read-only folder.
    """
    with storage(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            fresh = scratch / "new"
            fresh.mkdir()
            yield fresh
            for file in fresh.iterdir():
                flush(file)
            if folder.exists():
                folder.replace(scratch / "old")
            fresh.replace(folder)
        finally:
            with suppress(OSError):  # what is left is only scratch; the error that led here matters more
                shutil.rmtree(scratch)


def write_file(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all: a reader sees the old bytes or the new ones.

    Raises:
        StorageError: disk full, read-only folder.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_bytes(content)
            flush(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Force a file's bytes to the disk, so that a rename never outruns its content."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes away otherwise.

    Raises:
        StorageError: folder missing or read-only, disk full.
    """
    partial = path.with_name(f".{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)  # noqa: PTH105 - the call whose atomicity this relies on
    except OSError as error:
        partial.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}", "Free space or make the folder writable."
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
