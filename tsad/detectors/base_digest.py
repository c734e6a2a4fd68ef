"""What base weights are, in one digest, without reading gigabytes again and again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tsad.files.hashing import digest_of_file

LARGE = 64 << 20  # bytes: beyond it, or of several files, weights are not read whole
SAMPLES, SAMPLE = 64, 1 << 12  # places of a large file that are read, and bytes of each
HEAD = 8  # bytes of the length of a safetensors header
BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")  # config, tokenizer, chat template, index of the shards

Stamp = tuple[tuple[str, int, int], ...]


class BaseDigest:
    """SHA-256 (hex) of the base weights in a folder; taken again only when a file has changed.

    One safetensors file of up to 64 MiB: the SHA-256 of its bytes. Larger or several files: over their names, sizes,
    headers (names, types and shapes of all tensors) and 64 blocks of 4 KiB spread evenly over each file, and over the
    bytes of the config, tokenizer and template files beside them. That tells two checkpoints of one architecture apart;
    a change of few values between the blocks it does not see.

    The answer belongs to this object alone; path, size and time of change (ns) of every file tell whether it holds.
    Safe for several threads: at worst two of them take the same digest.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: tuple[Stamp, str] | None = None

    def hexdigest(self) -> str:
        """The digest of what lies in the folder now.

        Raises:
            OSError: a file cannot be read.
        """
        weights = sorted(self.folder.glob("*.safetensors"))
        large = len(weights) != 1 or weights[0].stat().st_size > LARGE
        files = [*weights, *(sorted({p for form in BESIDE for p in self.folder.glob(form)}) if large else [])]
        stamp = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
        known = self._known
        if known is None or known[0] != stamp:
            known = self._known = (stamp, _of_large(files) if large else digest_of_file(weights[0]))
        return known[1]


def _of_large(files: list[Path]) -> str:
    sha = hashlib.sha256()
    for path in files:
        sha.update(json.dumps([path.name, path.stat().st_size]).encode())
        if path.suffix == ".safetensors":
            _sample(path, sha)
        else:
            sha.update(digest_of_file(path).encode())
    return sha.hexdigest()


def _sample(path: Path, sha: hashlib._Hash) -> None:
    """Add header and samples of a safetensors file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEAD), "little")
        sha.update(file.read(min(length, size)))
        for k in range(SAMPLES):
            file.seek(max(0, (size - SAMPLE) * k // (SAMPLES - 1)))
            sha.update(file.read(SAMPLE))
