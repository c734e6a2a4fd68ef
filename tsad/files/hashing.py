"""SHA-256 of files, texts and folders, in hex."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in pieces.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_text(text: str) -> str:
    """SHA-256 (hex) of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_parts(*parts: object) -> str:
    """SHA-256 (hex) of the parts' representations."""
    return digest_of_text("\x1f".join(repr(p) for p in parts))


def digest_of_folder(folder: Path) -> str | None:
    """SHA-256 (hex) over names and contents of a folder's files; ``None`` where there is no such folder."""
    if not folder.is_dir():
        return None
    sha = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        sha.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                sha.update(piece)
    return sha.hexdigest()
