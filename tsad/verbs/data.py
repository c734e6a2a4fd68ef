"""``tsad data``: what there is (series, uploads, dataset versions, exports), one of it, more of it, less of it."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, InUseError
from tsad.loop.common import load_series, say, show
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

_TITLES = {SERIES: "series", UPLOADS: "uploads", DATASETS: "dataset versions", EXPORTS: "exports"}


def run(
    bench: Workbench,
    *,
    action: Literal["list", "show", "register", "delete"] = "list",
    what: Literal["all", "series", "uploads", "datasets", "exports"] = "all",
    name: str | list[str] | None = None,
    from_source: str | None = None,
    series: bool = False,
    path: str | None = None,
    output: str | None = None,
    dry_run: bool = True,
    force: bool = False,
) -> None:
    """List, show, register or delete what the cache and all loops of the store hold.

    Args:
        action: what to do.
        what: of which kind.
        name: names, patterns, or beginnings of hashes.
        from_source: part of, or a pattern for, the description of the source that it came from.
        series: list: also those of the configured source.
        path: register: what to keep.
        output: show: a PNG file.
        dry_run: delete: only say what would go.
        force: delete: what is in use, too.

    Raises:
        ConfigError: a key that the action needs is missing, or a name that nothing has.
        InUseError: delete: somebody uses it.
        SourceError: register: no valid file.
    """
    names = [name] if isinstance(name, str) else name or []
    if action == "register":
        from tsad.steps.uploads import register

        if path is None:
            raise ConfigError("path is not set", "Give path=FILE.csv or path=FOLDER.")
        register(bench, Path(path).expanduser())
        return
    if action == "delete" and (what == "all" or not (names or from_source)):
        raise ConfigError(
            f"delete needs {'a kind' if what == 'all' else 'a name'}",
            "Give what=series, uploads, datasets or exports, and name=... or from_source=...; name='*' is all of them.",
        )
    inventory = Inventory(bench, check=action == "delete")
    found = _found(inventory, KINDS if what == "all" else (what,), names, from_source)
    if action == "list":
        _list(bench, inventory, found, series)
    elif action == "show":
        from tsad.steps.showing import show_one

        show_one(bench, inventory, _only(found), Path(output).expanduser() if output else None)
    else:
        _delete(found, force, dry_run)


def _found(
    inventory: Inventory, kinds: Sequence[str], names: Sequence[str], from_source: str | None
) -> dict[str, list[Asset]]:
    """What is asked for, by kind.

    Raises:
        ConfigError: a name that nothing has.
    """
    there = {kind: [a for a in inventory.assets(kind) if a.comes_from(from_source)] for kind in kinds}
    everything = [asset for assets in there.values() for asset in assets]
    for wanted in names:
        if not any(asset.called(wanted) for asset in everything):
            near = difflib.get_close_matches(wanted, [a.name for a in everything], n=3, cutoff=0.5)
            kind = "series, upload, dataset version or export" if len(kinds) > 1 else _TITLES[kinds[0]]
            origin = f" from {from_source}" if from_source else ""
            remedy = f"Nearest: {', '.join(near)}." if near else "`tsad data` lists what there is."
            raise ConfigError(f"there is no {kind} {wanted!r}{origin}", remedy)
    if not names:
        return there
    return {kind: [a for a in assets if any(a.called(n) for n in names)] for kind, assets in there.items()}


def _list(bench: Workbench, inventory: Inventory, found: dict[str, list[Asset]], with_source: bool) -> None:
    for kind, assets in found.items():
        show([asset.row for asset in assets], _TITLES[kind])
    say(", ".join(f"{len(assets)} {_counted(kind, len(assets))}" for kind, assets in found.items()))
    if with_source:
        _list_source(bench, inventory)


def _counted(kind: str, count: int) -> str:
    return _TITLES[kind].removesuffix("s") if count == 1 and kind != SERIES else _TITLES[kind]


def _list_source(bench: Workbench, inventory: Inventory) -> None:
    """The series of the configured source, read through validation."""
    from tsad.sources.cache import Kept

    source, rows = bench.make_source().describe(), []
    for one in load_series(bench):
        row = inventory.series_row(Kept(source=source, bytes=0, fetched_at=0.0, **about_series(one)))
        mended = ", ".join(f"{key} {value}" for key, value in one.notes.items())
        rows.append({k: v for k, v in row.items() if k not in ("source", "size", "kept")} | {"mended": mended})
    show(rows, f"series of {source}")


def _only(found: dict[str, list[Asset]]) -> Asset:
    assets = [asset for kind in found.values() for asset in kind]
    if len(assets) == 1:
        return assets[0]
    if not assets:
        raise ConfigError("there is nothing to show", "`tsad data` lists what there is.")
    named = ", ".join(f"{a.name} ({_TITLES[a.kind]})" for a in assets[:5]) + (" ..." if len(assets) > 5 else "")
    remedy = "Name one: name=..., and where that is not enough what= or from_source=."
    raise ConfigError(f"{len(assets)} could be shown: {named}", remedy)


# --- deleting -----------------------------------------------------------------------------------------------


def _delete(found: dict[str, list[Asset]], force: bool, dry_run: bool) -> None:
    assets = [asset for kind in found.values() for asset in kind]
    refused = [asset for asset in assets if _kept_by(asset, force)]
    rows = [
        {
            "what": asset.kind, "name": asset.name, "loop": asset.loop.name if asset.loop else None,
            "size": asset.row["size"], "used by": "; ".join(user.text for user in asset.users),
            "delete": "no: in use" if asset in refused else _what_goes(asset),
        }
        for asset in assets
    ]  # fmt: skip
    show(rows, "would be deleted" if dry_run else "to delete")
    if dry_run:
        todo = f"{len(assets) - len(refused)} to delete, {len(refused)} in use"
        say(f"{todo}; nothing was deleted: dry_run=false does it")
        return
    if refused:
        raise _in_use(refused, force)
    for asset in assets:
        _delete_one(asset, force)
    say(f"deleted {len(assets)} of {len(assets)}" if assets else "there is nothing to delete")


def _kept_by(asset: Asset, force: bool) -> list[str]:
    return [user.text for user in asset.users if user.firm or not force]


def _in_use(assets: Sequence[Asset], force: bool) -> InUseError:
    """All or nothing: of a batch in which one is in use, none is deleted."""
    named = "; ".join(f"{a.name}: {', '.join(_kept_by(a, force))}" for a in assets[:5])
    more = f"; and {len(assets) - 5} more" if len(assets) > 5 else ""
    firm = any(user.firm for asset in assets for user in asset.users)
    remedy = "Leave them out; what a gold set, a champion or an open iteration stands on cannot be forced."
    remedy = remedy if firm else "force=true deletes them, too."
    return InUseError(f"in use, nothing was deleted: {named}{more}", remedy)


def _what_goes(asset: Asset) -> str:
    if asset.kind == SERIES:
        return "cached copy; it can be read from its source again"
    if asset.kind == EXPORTS and asset.record is not None:
        state = state_of_export(asset.record)
        return {"there": "record and file", "changed": "record; the file has changed and stays"}.get(state, "record")
    return "files and record"


def _delete_one(asset: Asset, force: bool) -> None:
    from tsad.sources.cache import cache_folder, forget, listing
    from tsad.tracking.assets import erase, place_of

    if asset.kind == SERIES and asset.kept is not None:
        forget([asset.kept])
    elif asset.kind == DATASETS and asset.loop is not None:
        with asset.loop.lock():  # an iteration that has begun meanwhile may stand on it
            users = users_of(asset.loop, asset.loop.datasets()).get(asset.name)
            if users is None:
                return  # another process has just deleted it
            if any(user.firm or not force for user in users):
                raise InUseError(f"{asset.name} is in use now: {', '.join(u.text for u in users)}", "Leave it out.")
            erase(asset.loop, asset.run_id)
    elif asset.loop is not None and asset.record is not None:
        if asset.kind == EXPORTS and state_of_export(asset.record) == "there":
            Path(asset.record.about["path"]).unlink()
        erase(asset.loop, asset.run_id)
        if asset.kind == UPLOADS:  # of a server's, the copy that was made of it
            shutil.rmtree(place_of(asset.loop, asset.record), ignore_errors=True)
            forget(kept for kept in listing(cache_folder(asset.loop.home)) if kept.source == asset.source)
