"""``tsad similar``: windows like this one."""

from __future__ import annotations

from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.types import EmbeddingName
from tsad.loop.similar import Similar, look_alikes, similar_rows
from tsad.verbs.console import Console


class SimilarKeys(Options):
    """Own keys of ``tsad similar``."""

    of: str
    version: str
    embedding: EmbeddingName
    nearest: int = Field(ge=1, le=1000)


keys_model = SimilarKeys


def run(bench: Workbench, keys: SimilarKeys, console: Console) -> Similar:
    """List and draw what looks like an interval or a window, over all series.

    Raises:
        LoopError: nothing of that name, or nothing is considered there.
        EmbeddingError: the detector has no base model to embed with.
        RegistryError: no such version.
    """
    return console.answer(look_alikes(bench, keys.of, keys.version, keys.embedding, keys.nearest), _present)


def _present(alike: Similar, console: Console) -> None:
    said = f"; people called it {alike.judgement}" if alike.judgement else ""
    console.say(f"{alike.point_id}, {alike.start} to {alike.end}{said}")
    what = f"candidates of {alike.model_version}" if alike.model_version else "windows"
    console.say(f"compared with {alike.compared:,} {what} by {alike.embedding}")
    console.table(similar_rows(alike), "what looks like it", ("probability", "queued"))
    console.say(f"plot: {alike.picture} of run {alike.run} (tsad ui)")
