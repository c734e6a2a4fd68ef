"""A log as lines of JSON, in a file that several processes share and that begins anew at a size."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tsad.core.labels import labels
from tsad.core.masking import MASK, mask_urls

MOST_TEXT = 20_000  # characters of a message, and of a traceback


class JsonFormatter(logging.Formatter):
    """A record as one line: ``at``, ``level``, ``logger``, ``message``, its ids and fields; ``error`` = its traceback.

    A record's own fields come by ``extra={"fields": {...}}``.

    Args:
        secrets: texts that no line bears, whatever a record says.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        spelt = {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in secrets if secret}
        self._secrets = sorted(spelt, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname, "logger": record.name, "message": _text(record.getMessage())}
        line |= {**labels(), **getattr(record, "fields", {})}
        if record.exc_info:
            line["error"] = _text(self.formatException(record.exc_info))
        text = json.dumps(line, ensure_ascii=False, default=str)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def _text(text: str) -> str:
    return mask_urls(text[:MOST_TEXT])


class JsonLines(logging.Handler):
    """Appends records to a file for its owner alone; from ``most`` bytes on it begins a new one.

    Every line is one write at the file's end, and whoever begins a new file holds a lock: processes that share the
    file lose no line.

    Args:
        kept: older files that stay, ``<name>.1`` the newest.
    """

    def __init__(self, path: Path, most: int, kept: int, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self._path, self._most, self._kept, self._file = path, most, kept, -1
        self.setFormatter(JsonFormatter(secrets))

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`; a disk that is full is said on standard error."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            if self._size() + len(line) > self._most:
                self._begin_anew(len(line))
            os.write(self._file, line)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """See :class:`logging.Handler`."""
        with self.lock:  # type: ignore[union-attr]
            self._let_go()
        super().close()

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _size(self) -> int:
        """Of the file of that name, which is open then; another process may have begun a new one."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if self._file >= 0 and (there is None or os.fstat(self._file).st_ino != there.st_ino):
            self._let_go()
        if self._file < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fstat(self._file).st_size

    def _begin_anew(self, coming: int) -> None:
        from filelock import FileLock

        with FileLock(self._path.with_name(self._path.name + ".lock"), timeout=5.0):
            size = self._size()
            if not size or size + coming <= self._most:
                return  # somebody else has just done it, or the line is longer than a file
            self._let_go()
            for number in range(self._kept, 0, -1):
                older = self._numbered(number - 1)
                if older.exists():
                    older.replace(self._numbered(number))
            if not self._kept:
                self._path.unlink()
            self._size()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


@contextmanager
def logged_to(handler: logging.Handler, loggers: Sequence[str], level: int = logging.INFO) -> Iterator[None]:
    """Records of these loggers reach the handler too while the block runs."""
    handler.setLevel(level)
    chosen = [logging.getLogger(name) for name in loggers]
    for logger in chosen:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in chosen:
            logger.removeHandler(handler)
        handler.close()
