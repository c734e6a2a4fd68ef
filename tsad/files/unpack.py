"""Files that strangers hand in: names that are names, archives unpacked within limits.

What counts is what comes out, byte by byte: a header says what its writer wanted it to say.
"""

from __future__ import annotations

import gzip
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tsad.core.errors import UploadError, UploadTooLargeError
from tsad.files.atomic import storage

PIECE = 1 << 20  # bytes that are unpacked at a time
MOST_FILES = 20_000  # in an archive
UTF8 = 0x800  # the flag of a member whose name is in UTF-8
ENTRY = 600  # bytes of a table of contents per file, with the longest name and what packers add
MOST_NAME = 200  # bytes of a name, as UTF-8: file systems take 255
MOST_DEPTH = 16  # folders within each other
ALIEN = ("__MACOSX",)  # folders that a system's packer adds: nobody's data


def plain_name(name: str) -> str:
    """The name of a file as it was handed in.

    Raises:
        UploadError: it is no name: empty, a path, hidden, too long, or with characters that nobody can see.
    """
    shown = name if len(name) <= 80 else f"{name[:80]}..."
    remedy = "Send the file's name alone, e.g. plant.csv."
    if not name.strip():
        raise UploadError("a file has no name", remedy)
    if any(sign in name for sign in "/\\") or name in (".", "..") or name[1:2] == ":":
        raise UploadError(f"{shown!r} is a path and not a file's name", remedy)
    if name.startswith((".", "~$")):
        raise UploadError(f"{shown!r} is the name of a hidden file", remedy)
    if any(unicodedata.category(sign).startswith("C") for sign in name):
        raise UploadError(f"the file name {shown!r} holds characters that cannot be seen", remedy)
    if len(name.encode("utf-8")) > MOST_NAME:
        raise UploadError(f"the file name {shown!r} has more than {MOST_NAME} bytes", "Give it a shorter name.")
    return name


def unpack(archive: Path, folder: Path, most: int) -> list[Path]:
    """The files of a zip archive, below ``folder``; how they lie is kept.

    Args:
        most: bytes that may come out in all.

    Raises:
        UploadError: it is damaged, encrypted, or names files that are no plain files inside it.
        UploadTooLargeError: more comes out.
        StorageError: disk full.
    """
    written: dict[str, Path] = {}
    left = most
    with _opened(archive) as content:
        members = content.infolist()
        if len(members) > MOST_FILES:
            raise UploadTooLargeError(f"{archive.name} holds {len(members)} files", f"At most {MOST_FILES} are taken.")
        for member in members:
            parts = _parts(archive, member)
            if member.is_dir() or not parts:
                continue
            target = folder.joinpath(*parts)
            if (key := target.as_posix().casefold()) in written or target.exists():
                raise UploadError(f"{archive.name} holds {member.filename!r} twice", "Pack each file once.")
            written[key] = target
            with content.open(member) as source:
                left -= _copied(source, target, left, archive.name)
    if not written:
        raise UploadError(f"{archive.name} holds no file", "Pack the CSV files.")
    return list(written.values())


def check_gzip(path: Path, most: int) -> int:
    """Bytes that come out of a gzip file, none of which is kept.

    Raises:
        UploadError: it is damaged or cut.
        UploadTooLargeError: more than ``most`` comes out.
    """
    total = 0
    try:
        with gzip.open(path) as content:
            while piece := content.read(PIECE):
                total += len(piece)
                if total > most:
                    raise too_large(path.name, most, "unpacked")
    except (OSError, EOFError, zlib.error) as error:
        raise UploadError(f"{path.name} is no whole gzip file ({error})", "Pack it again.") from error
    return total


def too_large(name: str, most: int, how: str = "") -> UploadTooLargeError:
    """The error of a file that is larger than ``most`` bytes."""
    return UploadTooLargeError(
        f"{name} is larger than {most} bytes{f' {how}' if how else ''}",
        "Send it in several files, or start the service with a larger service.upload_gb.",
    )


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; what its reader says of damage, in our words."""
    _check_contents(archive)
    try:
        with zipfile.ZipFile(archive) as content:
            yield content
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, RuntimeError, ValueError) as error:
        raise UploadError(f"{archive.name} is no zip file that can be read ({error})", "Pack it again.") from error


def _check_contents(archive: Path) -> None:
    """Refuse a table of contents too long to be read: the reader makes an object of each of its entries.

    Raises:
        UploadTooLargeError: it is.
    """
    with archive.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is not None and end[zipfile._ECD_SIZE] > MOST_FILES * ENTRY:  # type: ignore[attr-defined]
        raise UploadTooLargeError(f"{archive.name} holds too many files", f"At most {MOST_FILES} are taken.")


def _name(archive: Path, member: zipfile.ZipInfo) -> str:
    """A member's name; an archive that does not call its names UTF-8 is read as UTF-8 all the same, where they are.

    Raises:
        UploadError: they are not: each system has an encoding of its own then, and a wrong guess is another sensor.
    """
    if member.flag_bits & UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")  # cp437: as zipfile has read it
    except UnicodeError:
        raise UploadError(
            f"{archive.name} names {member.filename!r} in an encoding that it does not tell",
            "Pack it with names in UTF-8 (7-Zip: cu=on among the parameters), or rename the files.",
        ) from None


def _parts(archive: Path, member: zipfile.ZipInfo) -> list[str]:
    """The names on the way to a member, each of them a name; none for what a system's packer adds and hidden files.

    Raises:
        UploadError: one is not, the way leads out, or the member is a link or encrypted.
    """
    name, kind = _name(archive, member).removesuffix("/"), member.external_attr >> 16
    if stat.S_IFMT(kind) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UploadError(f"{archive.name} holds {name!r}, which is a link or a device", "Pack plain files alone.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # What unpacks the others gives all that comes of a megabyte at once: a kilobyte of bzip2 may be a gigabyte.
        raise UploadError(f"{archive.name} is packed by another method than deflate", "Pack an ordinary zip file.")
    if member.flag_bits & 0x1:
        raise UploadError(f"{archive.name} is encrypted", "Pack it without a password.")
    parts = name.split("/")
    if len(parts) > MOST_DEPTH:
        raise UploadError(f"{archive.name} holds folders {len(parts)} deep", f"At most {MOST_DEPTH} are taken.")
    if parts[0] in ALIEN or any(part.startswith(".") and part not in (".", "..") for part in parts):
        return []
    try:
        return [plain_name(part) for part in parts]
    except UploadError as error:
        raise UploadError(f"{archive.name} names {name!r}: {error.found}", "Pack files by names below it.") from error


def _copied(source: IO[bytes], target: Path, most: int, archive: str) -> int:
    """Write what comes out of a member; how many bytes."""
    total = 0
    with storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while piece := source.read(PIECE):
                total += len(piece)
                if total > most:
                    raise too_large(archive, most, "unpacked")
                file.write(piece)
    return total
