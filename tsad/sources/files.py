"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsad.core.errors import StorageError

STALE_PARTIAL = 3600.0  # seconds after which a file that was being written is left over from a kill
PARTIAL = ".partial"  # end of the name of a file that is being written


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
