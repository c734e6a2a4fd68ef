"""Vectors kept by what they are of: a file per batch of new ones, which may be deleted at any time."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tsad.core.errors import StorageError
from tsad.core.protocols import Embedding
from tsad.core.series import Window
from tsad.core.types import FloatArray
from tsad.embeddings.stretches import Usual, stretches_of
from tsad.embeddings.table import Embedded
from tsad.files.atomic import atomic
from tsad.files.hashing import digest_of_text

FORMAT = 1  # of the files; another one is not read
VECTORS = "vectors"
Vectors = npt.NDArray[np.float32]
log = logging.getLogger("tsad")


@dataclass(frozen=True, eq=False)
class KeptEmbedding:
    """An embedding that computes the vector of the same values once.

    Attributes:
        embedding: what makes vectors.
        folder: where they are kept, among the states of the cache.
    """

    embedding: Embedding
    folder: Path

    def of(self, windows: Sequence[Window], known: Mapping[str, Usual] | None = None) -> tuple[Embedded, int]:
        """The vectors of the windows, and how many of them were kept from before.

        Args:
            known: level and spread of whole series by point, for windows over mere excerpts of them.
        """
        stretches = stretches_of(windows, known)
        keys = [key_of(values) for values in stretches]
        vectors = self._read()
        missing = {key: values for key, values in zip(keys, stretches, strict=True) if key not in vectors}
        if missing:
            made = np.asarray(self.embedding.embed(list(missing.values())), np.float32)
            self._write(list(missing), made)
            vectors |= dict(zip(missing, made, strict=True))
        kept = sum(key not in missing for key in keys)
        log.debug("%s: %d of %d embeddings were kept", self.embedding.name, kept, len(keys))
        rows = np.array([vectors[key] for key in keys], np.float64) if keys else np.zeros((0, 0))
        return Embedded(self.embedding.identity, rows), kept

    @property
    def _prefix(self) -> str:
        return f"embedding_{digest_of_text(self.embedding.identity)[:16]}_"

    def _read(self) -> dict[str, Vectors]:
        vectors: dict[str, Vectors] = {}
        for file in sorted(self.folder.glob(f"{self._prefix}*.safetensors")):
            try:
                vectors |= _read(file, self.embedding.identity)
            except FileNotFoundError:  # somebody has just freed the cache
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s is not used (%s): its embeddings are computed again", file, error)
        return vectors

    def _write(self, keys: list[str], made: Vectors) -> None:
        name = f"{self._prefix}{digest_of_text('|'.join(keys))[:16]}.safetensors"
        about = {"format": FORMAT, "identity": self.embedding.identity, "keys": keys, "sum": _sum(made)}
        try:
            _save(self.folder / name, made, about)
        except StorageError as error:  # the vectors are there all the same
            log.warning("embeddings are not kept for the next time (%s)", error)


def key_of(values: FloatArray) -> str:
    """SHA-256 (hex) of what an embedding reads of a window."""
    return hashlib.sha256(np.ascontiguousarray(values, np.float64).tobytes()).hexdigest()


def _save(file: Path, vectors: Vectors, about: dict[str, object]) -> None:
    from safetensors.numpy import save_file

    with atomic(file) as draft:
        save_file({VECTORS: np.ascontiguousarray(vectors)}, draft, {"tsad": json.dumps(about)})


def _read(file: Path, identity: str) -> dict[str, Vectors]:
    """What a file holds.

    Raises:
        ValueError: it is damaged, or of another base.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            about = json.loads((opened.metadata() or {}).get("tsad", "{}"))
            vectors: Vectors = opened.get_tensor(VECTORS)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if about.get("format") != FORMAT or about.get("identity") != identity:
        raise ValueError(f"it holds vectors of {str(about.get('identity'))[:24]}, another base or recipe")
    if len(about["keys"]) != len(vectors) or about["sum"] != _sum(vectors):
        raise ValueError("it is damaged")
    return dict(zip(about["keys"], vectors, strict=True))


def _sum(vectors: Vectors) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
