"""``tsad clean``: free the cache; everything in it can be read from its source again."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.verbs.console import Console
from tsad.verbs.tables import size_text


class CleanKeys(Options):
    """Own keys of ``tsad clean``."""

    older_than_days: float = Field(ge=0)
    dry_run: bool


keys_model = CleanKeys


@dataclass(frozen=True, eq=False)
class Cleaned(Result):
    """Entries and bytes of the cache that were (or would be) freed, and those that are there now."""

    folder: str
    dry_run: bool
    freed_entries: int
    freed_bytes: int
    left_entries: int
    left_bytes: int


def run(bench: Workbench, keys: CleanKeys, console: Console) -> Cleaned:
    """Remove cache entries; no other file is touched.

    Raises:
        CacheError: an entry that cannot be removed.
    """
    from tsad.sources.cache import cache_folder, clean, usage

    folder = cache_folder(bench.home)
    freed = clean(folder, older_than_days=keys.older_than_days, dry_run=keys.dry_run)
    left = usage(folder)
    cleaned = Cleaned(str(folder), keys.dry_run, freed.entries, freed.bytes, left.entries, left.bytes)
    return console.answer(cleaned, _present)


def _present(cleaned: Cleaned, console: Console) -> None:
    console.say(
        f"{'would free' if cleaned.dry_run else 'freed'} {size_text(cleaned.freed_bytes)} "
        f"({cleaned.freed_entries} entries) in {cleaned.folder}; "
        f"{size_text(cleaned.left_bytes)} ({cleaned.left_entries} entries) are there now"
    )
