"""What there is (series, uploads, dataset versions, exports): listed, and deleted where nobody needs it."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, InUseError, UnknownNameError
from tsad.core.results import Result
from tsad.loop.common import load_series
from tsad.steps.about import DatasetAbout, ExportAbout, SeriesAbout, UploadAbout, User
from tsad.steps.assets import (
    DATASETS,
    EXPORTS,
    KINDS,
    SERIES,
    UPLOADS,
    Asset,
    Inventory,
    about_series,
    state_of_export,
    users_of,
)
from tsad.steps.training_rows import ROWS, withdraw

if TYPE_CHECKING:
    from tsad.tracking.assets import AssetRecord

TITLES = {SERIES: "series", UPLOADS: "uploads", DATASETS: "dataset versions", EXPORTS: "exports"}


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        what: a kind, or ``all``.
        names: names, patterns, or beginnings of hashes; empty = all.
        from_source: part of, or a pattern for, the description of the source that it came from.
        exact: names are names in full: no patterns, no beginnings, and of several series of one name none.
    """

    what: str
    names: Sequence[str]
    from_source: str | None
    exact: bool = False

    def means(self, name: str, asset: Asset) -> bool:
        """Whether an asset is called so."""
        return asset.name == name if self.exact else asset.called(name)

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds to look through."""
        return KINDS if self.what == "all" else (self.what,)


@dataclass(frozen=True, eq=False)
class MendedSeries(Result):
    """A series of the configured source, and what reading it had to mend."""

    series: SeriesAbout
    mended: Mapping[str, float | int | str]


@dataclass(frozen=True, eq=False)
class Listing(Result):
    """What there is of each kind; ``None`` for a kind that was not asked for.

    Attributes:
        source: the configured one, where its series (``source_series``) were asked for, too.
    """

    series: tuple[SeriesAbout, ...] | None = None
    uploads: tuple[UploadAbout, ...] | None = None
    datasets: tuple[DatasetAbout, ...] | None = None
    exports: tuple[ExportAbout, ...] | None = None
    source: str | None = None
    source_series: tuple[MendedSeries, ...] = ()

    @classmethod
    def of(cls, assets: Mapping[str, Sequence[Asset]]) -> Listing:
        """The assets of each kind."""
        return cls.from_json({kind: [asset.about.to_json() for asset in own] for kind, own in assets.items()})


@dataclass(frozen=True, eq=False)
class DeletionItem(Result):
    """One asset: who uses it, and what of it goes; ``refused`` = it is in use and stays."""

    kind: str
    name: str
    loop: str | None
    bytes: int | None
    users: tuple[User, ...]
    refused: bool
    goes: str


@dataclass(frozen=True, eq=False)
class Deletion(Result):
    """What would go, or has gone: all of the items, or none where one is in use."""

    dry_run: bool
    force: bool
    items: tuple[DeletionItem, ...]

    @property
    def refused(self) -> tuple[DeletionItem, ...]:
        """Items in use."""
        return tuple(item for item in self.items if item.refused)

    def refusal(self) -> InUseError | None:
        """The error of a deletion that was to be done and was not."""
        if self.dry_run or not self.refused:
            return None
        named = "; ".join(f"{i.name}: {', '.join(_kept_by(i.users, self.force))}" for i in self.refused[:5])
        more = f"; and {len(self.refused) - 5} more" if len(self.refused) > 5 else ""
        firm = any(user.firm for item in self.refused for user in item.users)
        remedy = "Leave them out; what a gold set, a champion or an open iteration stands on cannot be forced."
        remedy = remedy if firm else "force=true deletes them, too."
        return InUseError(f"in use, nothing was deleted: {named}{more}", remedy)


def list_assets(bench: Workbench, wanted: Wanted, with_source: bool) -> Listing:
    """What the cache and all loops of the store hold of what is asked for.

    Args:
        with_source: also the series of the configured source, read through validation.

    Raises:
        ConfigError: a name that nothing has.
    """
    inventory = Inventory(bench)
    listing = Listing.of(found(inventory, wanted))
    if not with_source:
        return listing
    source = bench.make_source().describe()
    return Listing(
        listing.series, listing.uploads, listing.datasets, listing.exports, source, _source_series(bench, inventory)
    )


def _source_series(bench: Workbench, inventory: Inventory) -> tuple[MendedSeries, ...]:
    from tsad.sources.cache import Kept

    source = bench.make_source().describe()
    return tuple(
        MendedSeries(
            inventory.about_kept(Kept(source=source, bytes=0, fetched_at=0.0, **about_series(series))),
            dict(series.notes),
        )
        for series in load_series(bench)
    )


def found(inventory: Inventory, wanted: Wanted) -> dict[str, list[Asset]]:
    """What is asked for, by kind.

    Raises:
        UnknownNameError: a name that nothing has. ConfigError: with ``exact``: series of several sources have it.
    """
    kinds, names, source = wanted.kinds, wanted.names, wanted.from_source
    there = {kind: [a for a in inventory.assets(kind) if a.comes_from(source)] for kind in kinds}
    everything = [asset for assets in there.values() for asset in assets]
    for name in names:
        called = [asset for asset in everything if wanted.means(name, asset)]
        if wanted.exact and len({asset.source for asset in called if asset.kind == SERIES}) > 1:
            remedy = "Say which, by a part of its name: from_source=..."
            raise ConfigError(f"{len(called)} sources have a series {name!r}", remedy)
        if not called:
            near = difflib.get_close_matches(name, [a.name for a in everything], n=3, cutoff=0.5)
            kind = "series, upload, dataset version or export" if len(kinds) > 1 else TITLES[kinds[0]]
            origin = f" from {source}" if source else ""
            remedy = f"Nearest: {', '.join(near)}." if near else "`tsad data` lists what there is."
            raise UnknownNameError(f"there is no {kind} {name!r}{origin}", remedy)
    if not names:
        return there
    return {kind: [a for a in assets if any(wanted.means(n, a) for n in names)] for kind, assets in there.items()}


def delete_assets(bench: Workbench, wanted: Wanted, force: bool, dry_run: bool) -> Deletion:
    """Delete what is asked for; of a batch in which one is in use, none is deleted.

    Args:
        force: what is in use, too, except gold sets and what a champion or an open iteration stands on.
        dry_run: only say what would go.

    Raises:
        ConfigError: no kind or no name is given, or a name that nothing has.
        InUseError: one came into use meanwhile.
    """
    if wanted.what == "all" or not (wanted.names or wanted.from_source):
        raise ConfigError(
            f"delete needs {'a kind' if wanted.what == 'all' else 'a name'}",
            "Give what=series, uploads, datasets or exports, and name=... or from_source=...; name='*' is all of them.",
        )
    assets = [asset for kind in found(Inventory(bench, check=True), wanted).values() for asset in kind]
    items = tuple(
        DeletionItem(
            kind=asset.kind, name=asset.name, loop=asset.loop.name if asset.loop else None, bytes=asset.about.bytes,
            users=asset.users, refused=bool(_kept_by(asset.users, force)), goes=_what_goes(asset),
        )
        for asset in assets
    )
    deletion = Deletion(dry_run, force, items)
    for asset in () if dry_run or deletion.refused else assets:
        _delete(asset, force)
    return deletion


def _kept_by(users: Sequence[User], force: bool) -> list[str]:
    return [user.text for user in users if user.firm or not force]


def _what_goes(asset: Asset) -> str:
    if asset.kind == SERIES:
        return "cached copy; it can be read from its source again"
    if asset.kind == EXPORTS and asset.record is not None:
        state = state_of_export(asset.record)
        return {"there": "record and file", "changed": "record; the file has changed and stays"}.get(state, "record")
    return "files and record"


def _unlink_export(record: AssetRecord) -> None:
    """Its file, and what was written beside it."""
    path, format = Path(record.about["path"]), record.about["format"]
    withdraw(path, format) if format in ROWS else path.unlink()


def _delete(asset: Asset, force: bool) -> None:
    from tsad.sources.cache import cache_folder, forget, listing
    from tsad.tracking.assets import erase, place_of

    if asset.kind == SERIES and asset.kept is not None:
        forget([asset.kept])
    elif asset.kind == DATASETS and asset.loop is not None:
        with asset.loop.lock() as loop:  # an iteration that has begun meanwhile may stand on it
            users = users_of(loop, loop.datasets()).get(asset.name)
            if users is None:
                return  # another process has just deleted it
            if any(user.firm or not force for user in users):
                raise InUseError(f"{asset.name} is in use now: {', '.join(u.text for u in users)}", "Leave it out.")
            erase(loop, asset.run_id)
    elif asset.loop is not None and asset.record is not None:
        if asset.kind == EXPORTS and state_of_export(asset.record) == "there":
            _unlink_export(asset.record)
        erase(asset.loop, asset.run_id)
        if asset.kind == UPLOADS:  # of a server's, the copy that was made of it
            shutil.rmtree(place_of(asset.loop, asset.record), ignore_errors=True)
            forget(kept for kept in listing(cache_folder(asset.loop.home)) if kept.source == asset.source)
