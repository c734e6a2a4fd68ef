"""A multipart body as it comes: each file written to a folder, nothing larger than a piece in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tsad.core.errors import UploadError
from tsad.files.atomic import storage
from tsad.files.unpack import MOST_FILES, plain_name, too_large

FILE = "file"  # name of the form's field; it may come several times
MOST_TEXT = 65_536  # bytes of a field that is no file


@dataclass
class _Part:
    """One part of the body: its headers, and where its content goes."""

    headers: dict[str, str] = field(default_factory=dict)
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    name: str = ""
    path: Path | None = None
    file: BinaryIO | None = None


class Receiver:
    """Takes a ``multipart/form-data`` body piece by piece; fed by one thread at a time, never two.

    Args:
        content_type: of the request. folder: gets the files. most: bytes of all files together.
        fields: names of the fields that are no files; others are refused.

    Raises:
        UploadError: (everywhere) the body is none of this kind, or what it names cannot be taken.
    """

    def __init__(self, content_type: str, folder: Path, most: int, fields: frozenset[str] = frozenset()) -> None:
        kind, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            found = f"the body is {kind.decode('latin-1') or 'of no type'}, not multipart/form-data"
            raise UploadError(found, "Send a form with the file as its field `file`: curl -F file=@plant.csv.")
        self.files: list[Path] = []
        self.fields: dict[str, str] = {}
        self.received = 0
        self._folder, self._most, self._fields = folder, most, fields
        self._part, self._ended = _Part(), False
        with _as_upload():
            self._parser = MultipartParser(boundary, {
                "on_part_begin": self._begin, "on_header_field": self._key, "on_header_value": self._value,
                "on_header_end": self._header, "on_headers_finished": self._headers, "on_part_data": self._data,
                "on_part_end": self._end, "on_end": self._last,
            })  # fmt: skip

    def feed(self, data: bytes) -> None:
        """The next bytes of the body.

        Raises:
            UploadTooLargeError: more than may come.
            StorageError: disk full.
        """
        with _as_upload():
            self._parser.write(data)

    def finish(self) -> None:
        """The body is at its end.

        Raises:
            UploadError: it was cut, or holds no file.
        """
        self.close()
        if not self._ended:
            raise UploadError(f"the upload was cut after {self.received} bytes of its files", "Send it again.")
        if not self.files:
            raise UploadError("the form holds no file", f"Send it as the field `{FILE}`: curl -F {FILE}=@plant.csv.")

    def close(self) -> None:
        """Let go of the file that was being written."""
        if self._part.file is not None:
            with storage(self._part.path or self._folder):
                self._part.file.close()

    def _begin(self) -> None:
        self._part = _Part()

    def _key(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _header(self) -> None:
        name, value = self._part.header.decode("latin-1").lower(), self._part.value.decode("latin-1")
        self._part.headers[name] = value
        self._part.header, self._part.value = bytearray(), bytearray()

    def _headers(self) -> None:
        _, parameters = parse_options_header(self._part.headers.get("content-disposition", ""))
        self._part.name = _text(parameters.get(b"name", b""))
        if b"filename" not in parameters:
            if self._part.name not in self._fields:
                raise UploadError(f"the form has no field {self._part.name!r}", self._remedy())
            return
        if self._part.name != FILE:
            raise UploadError(f"the form takes no file as {self._part.name!r}", self._remedy())
        path = self._folder / plain_name(_text(parameters[b"filename"]))
        if path.name.casefold() in (other.name.casefold() for other in self.files):
            raise UploadError(f"the form holds two files called {path.name!r}", "Send each once.")
        if len(self.files) >= MOST_FILES:
            raise UploadError(f"the form holds more than {MOST_FILES} files", "Send a zip file, or several forms.")
        with storage(path):
            self._part.path, self._part.file = path, path.open("xb")
        self.files.append(path)

    def _remedy(self) -> str:
        others = "".join(f", and {name} beside it" for name in sorted(self._fields))
        return f"Send files as the field `{FILE}`{others}."

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.file is None:
            part.value += data[start:end]
            if len(part.value) > MOST_TEXT:
                raise UploadError(f"the field {part.name!r} is larger than {MOST_TEXT} bytes", "It takes a short text.")
            return
        self.received += end - start
        if self.received > self._most:
            raise too_large(part.path.name if part.path else "the upload", self._most)
        with storage(part.path or self._folder):
            part.file.write(memoryview(data)[start:end])

    def _end(self) -> None:
        part = self._part
        if part.file is None:
            self.fields[part.name] = _text(bytes(part.value))
        else:
            self.close()
            part.file = None

    def _last(self) -> None:
        self._ended = True


@contextmanager
def _as_upload() -> Iterator[None]:
    """What the parser says of a malformed body, in our words."""
    try:
        yield
    except FormParserError as error:
        raise UploadError(f"the form cannot be read ({error})", "Send multipart/form-data.") from error


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UploadError("a name in the form is no UTF-8", "Send names and fields as UTF-8.") from error
