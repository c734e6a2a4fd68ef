"""One read through the cache: what it may ask, and its account of what it met; nothing of it outlives the read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tsad.core.errors import CacheError, ConfigError, OfflineError, SourceUnavailableError, StorageError
from tsad.core.reading import Level
from tsad.sources.base import Source
from tsad.sources.cache.entries import Content, Entry, load_content
from tsad.sources.cache.folder import remove, touch
from tsad.sources.cache.working_set import WorkingSet

OFFLINE = ("allow", "refuse", "only")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """How the cache is used.

    Attributes:
        enabled: ``False`` passes everything through.
        offline: ``allow`` = the cache answers while the source cannot be reached; ``refuse`` = that is an error;
            ``only`` = the source is never asked.
        late_seconds: ranged sources: values may arrive this much after their timestamp; what was fetched earlier than
            that is fetched again.
        max_bytes: of the folder; 0 = unbounded.

    Raises:
        ConfigError: an unknown ``offline``.
    """

    enabled: bool = True
    offline: str = "allow"
    late_seconds: float = 0.0
    max_bytes: int = 0

    def __post_init__(self) -> None:
        if self.offline not in OFFLINE:
            raise ConfigError(f"cache.offline={self.offline!r} is not known", f"Take {', '.join(OFFLINE)}.")


class CacheSession:
    """What the parts of one read share.

    Args:
        source: what is asked.
        place: the source's folder in the cache.
        unreachable: why the source is not to be asked, where that is known already.

    Attributes:
        hits, fetched, damaged: series that the cache gave alone, series that the source was asked for, damaged entries.
        unwritable: why entries cannot be written, or "".
        unreachable: why the source could not be asked, or "".
    """

    def __init__(self, source: Source, place: Path, use: CacheUse, memory: WorkingSet, unreachable: str = "") -> None:
        self.source, self.place, self.use, self.memory = source, place, use, memory
        self.enabled = use.enabled and source.cacheable
        self.hits = self.fetched = self.damaged = 0
        self.unwritable, self.unreachable = "", unreachable

    @property
    def online(self) -> bool:
        """Whether the source may be asked, as far as known."""
        return not self.enabled or (self.use.offline != "only" and not self.unreachable)

    def cannot_reach(self, error: SourceUnavailableError) -> None:
        """From here on the cache answers alone, where it may.

        Raises:
            SourceUnavailableError: ``offline=refuse``, or there is no cache.
        """
        if not self.enabled or self.use.offline == "refuse":
            raise error
        if not self.unreachable:
            log.warning("%s. The cache answers in its place.", error.found.rstrip("."))
        self.unreachable = error.found

    def load(self, entry: Entry) -> tuple[Content, Level]:
        """What an entry holds, and whether memory or the disk had it.

        Raises:
            CacheError: damaged, or gone; a damaged one is removed.
        """
        kept = self.memory.get(entry.path)
        if kept is not None:
            return kept, "memory"
        try:
            content = load_content(entry.path)
        except CacheError as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # another process has just removed it
                self.damaged += 1
                log.warning("%s. It is read again from %s.", error, self.source.describe())
                remove(entry.path)
            raise
        touch(entry.path)
        self.memory.put(entry.path, content)
        return content, "cache"

    def stopped_writing(self, error: StorageError) -> None:
        """Say once that series are read without the cache from here on."""
        if not self.unwritable:
            log.warning("%s Series are read from %s without the cache.", error, self.source.describe())
        self.unwritable = error.found

    def nothing_of(self, point_id: str) -> OfflineError:
        """What a point is left out for that the cache alone cannot give."""
        why = self.unreachable or "cache.offline=only"
        return OfflineError(
            f"the cache holds nothing of {point_id!r} in the range asked for, and its source is not asked ({why})",
            "Run tsad ingest while the source can be reached.",
        )
