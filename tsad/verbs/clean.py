"""``tsad clean``: free the cache; everything in it can be read from its source again."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.loop.common import say


def run(bench: Workbench, *, older_than_days: float = 0.0, dry_run: bool = False) -> None:
    """Remove cache entries; no other file is touched.

    Args:
        older_than_days: keep entries written since; 0 = remove all.
        dry_run: say what would be freed, and remove nothing.

    Raises:
        CacheError: an entry that cannot be removed.
    """
    from tsad.sources.cache import cache_folder, clean, usage

    folder = cache_folder(bench.home)
    freed = clean(folder, older_than_days=older_than_days, dry_run=dry_run)
    left = usage(folder)
    verb = "would free" if dry_run else "freed"
    say(f"{verb} {freed.bytes / 1e6:.1f} MB ({freed.entries} entries) in {folder}; "
        f"{left.bytes / 1e6:.1f} MB ({left.entries} entries) are there now")
