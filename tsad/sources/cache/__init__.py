"""The cache between a source and whoever reads it: a working set in memory, Parquet files on disk, the source itself.

A folder per source (what it is and how it is read), in it one file per series, or per fetched range of a series where
the source can answer ranges. Every file holds the hash of its content and is verified when read; it is written beside
its place and moved there, and never changed, so processes may share the folder and ``kill -9`` leaves no half file. The
folder may be deleted at any time: everything in it can be read from its source again, while that is there.
"""

from tsad.sources.cache.cached import CachedSource
from tsad.sources.cache.entries import load, save
from tsad.sources.cache.folder import Freed, Kept, cache_folder, clean, forget, listing, shrink, states_folder, usage
from tsad.sources.cache.working_set import WorkingSet

__all__ = [
    "CachedSource", "Freed", "Kept", "WorkingSet", "cache_folder", "clean", "forget", "listing", "load", "save",
    "shrink", "states_folder", "usage",
]  # fmt: skip
