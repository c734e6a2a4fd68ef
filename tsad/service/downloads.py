"""Files as downloads: one as it is, several as a zip archive that is made while it is sent."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.responses import StreamingResponse

PIECE = 1 << 20  # bytes
BINARY, ZIP = "application/octet-stream", "application/zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same archive
At = Callable[[], AbstractContextManager[Path]]
# A file may be a page of somebody else's: it is saved, never shown in the name of this service.
SAVED = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
CONTENT = {"schema": {"type": "string", "format": "binary"}}
FILE: dict[int | str, dict[str, Any]] = {200: {"description": "The file", "content": {BINARY: CONTENT}}}
ARCHIVE: dict[int | str, dict[str, Any]] = {200: {"description": "An archive", "content": {ZIP: CONTENT}}}
EITHER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file, or an archive", "content": {BINARY: CONTENT, ZIP: CONTENT}}
}


def lying(path: Path) -> At:
    """A file that is here."""
    return lambda: nullcontext(path)


def download(at: At, name: str) -> StreamingResponse:
    """One file; opened before anything is sent, so that what is gone is an error."""
    pieces = _pieces(at)
    first = next(pieces)
    return StreamingResponse(_with(first, pieces), media_type=BINARY, headers=_headers(name))


def archive(files: Iterable[tuple[str, At]], name: str) -> StreamingResponse:
    """All files by their names, packed as they are sent: none of them, nor the archive, is held in memory."""
    return StreamingResponse(_zipped(files), media_type=ZIP, headers=_headers(name))


def _headers(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}", **SAVED}


def _pieces(at: At) -> Iterator[bytes]:
    """The content, an empty first piece where there is none."""
    with at() as path, path.open("rb") as file:
        yield file.read(PIECE)
        while piece := file.read(PIECE):
            yield piece


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


class _Sink:
    """Where an archive is written to; what was written is taken away piece by piece."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        written = bytes(self._written)
        self._written.clear()
        return written


def _zipped(files: Iterable[tuple[str, At]]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:  # type: ignore[call-overload]
        for name, at in files:
            about = zipfile.ZipInfo(name, EPOCH)
            about.compress_type = zipfile.ZIP_DEFLATED
            with packed.open(about, "w", force_zip64=True) as member:
                for piece in _pieces(at):
                    member.write(piece)
                    yield sink.taken()
    yield sink.taken()
