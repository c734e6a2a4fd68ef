"""Which embedding a loop looks at its windows with, and where its vectors are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import EmbeddingError
from tsad.core.types import EmbeddingName
from tsad.embeddings.hidden import HiddenEmbedding
from tsad.embeddings.kept import KeptEmbedding
from tsad.embeddings.shape import ShapeEmbedding

if TYPE_CHECKING:
    from tsad.core.protocols import Embedding
    from tsad.detectors.base import Detector


def embedding_of(bench: Workbench, name: EmbeddingName) -> KeptEmbedding:
    """The embedding of this name; its vectors are kept in the cache, each base's under its own digest.

    Raises:
        EmbeddingError: ``base`` with a detector that has no base model to embed with.
    """
    from tsad.sources.cache import states_folder

    folder = states_folder(bench.home)
    made: Embedding = ShapeEmbedding() if name == "shape" else base_embedding(bench.make_detector(), folder)
    return KeptEmbedding(made, folder)


def base_embedding(detector: Detector, folder: Path) -> HiddenEmbedding:
    """That of a detector's base model; what is usual for it is kept in the folder.

    Raises:
        EmbeddingError: it has none.
    """
    if not detector.embeds:
        raise EmbeddingError(
            f"embedding=base: detector {detector.name} has no base model that embeds",
            "Use embedding=shape, or detector=patch.",
        )
    return HiddenEmbedding(detector.base_reference()["sha256"], detector.hidden_states, folder)
