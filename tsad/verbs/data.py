"""``tsad data``: what there is (series, uploads, dataset versions, exports), one of it, more of it, less of it, and
adapters that were trained elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.core.times import parse_time
from tsad.core.types import NS_PER_SECOND
from tsad.steps.about import DatasetAbout, ExportAbout, SeriesAbout, UploadAbout
from tsad.steps.assets import SERIES
from tsad.steps.catalogue import TITLES, Deletion, Listing, Wanted, delete_assets, list_assets
from tsad.steps.importing import Imported, import_adapter
from tsad.steps.quality_page import counts
from tsad.steps.showing import Shown, show_asset
from tsad.steps.uploads import Registration, register
from tsad.verbs.console import Console
from tsad.verbs.tables import size_text


class DataKeys(Options):
    """Own keys of ``tsad data``; see ``conf/task/data.yaml``."""

    action: Literal["list", "show", "register", "delete", "import"]
    what: Literal["all", "series", "uploads", "datasets", "exports", "adapter"]
    name: str | list[str] | None
    from_source: str | None
    series: bool
    path: str | None
    output: str | None
    dry_run: bool
    force: bool

    def wanted(self) -> Wanted:
        """What is asked for."""
        return Wanted(self.what, [self.name] if isinstance(self.name, str) else self.name or [], self.from_source)


keys_model = DataKeys


def run(bench: Workbench, keys: DataKeys, console: Console) -> Listing | Shown | Registration | Deletion | Imported:
    """List, show, register or delete what the cache and all loops of the store hold; import an adapter.

    Raises:
        ConfigError: a key that the action needs is missing, or a name that nothing has.
        InUseError: delete: somebody uses it.
        SourceError: register: no valid file.
        WeightsError: import: the adapter does not fit the detector's base.
    """
    if (keys.action == "import") != (keys.what == "adapter"):
        raise ConfigError(f"action={keys.action} with what={keys.what}", "Adapters are for action=import alone.")
    if keys.action == "import":
        if keys.path is None:
            raise ConfigError("path is not set", "Give path=FOLDER, which holds adapter_config.json.")
        return console.answer(import_adapter(bench, Path(keys.path).expanduser()), _present_imported)
    if keys.action == "register":
        if keys.path is None:
            raise ConfigError("path is not set", "Give path=FILE.csv or path=FOLDER.")
        registration = console.answer(register(bench, Path(keys.path).expanduser()), _present_registration)
        return _unless(registration.refusal(), registration)
    if keys.action == "list":
        return console.answer(list_assets(bench, keys.wanted(), keys.series), _present_listing)
    if keys.action == "show":
        output = Path(keys.output).expanduser() if keys.output else None
        return console.answer(show_asset(bench, keys.wanted(), output), _present_shown)
    deletion = console.answer(delete_assets(bench, keys.wanted(), keys.force, keys.dry_run), _present_deletion)
    return _unless(deletion.refusal(), deletion)


def _unless(refusal: Exception | None, result: Any) -> Any:
    """The result, or the error that follows what was presented."""
    if refusal is not None:
        raise refusal
    return result


def row(about: Result) -> dict[str, Any]:
    """One asset as the table has it."""
    if isinstance(about, SeriesAbout):
        return {
            "point": about.point, "source": about.source, "from": _date(about.first), "to": _date(about.last),
            "points": about.points, "channels": about.channels, "labels": about.labels,
            "reviewed": f"{about.reviewed:.0%}", "size": size_text(about.bytes),
            "kept": f"{about.kept}, {_age(about.fetched)}" if about.fetched else about.kept,
        }  # fmt: skip
    if isinstance(about, UploadAbout):
        return {
            "upload": about.upload, "of": about.of, "loop": about.loop, "files": about.files, "series": about.series,
            "points": about.points, "labels": about.labels, "size": size_text(about.bytes),
            "created": _date(about.created), "source.root": about.root,
        }  # fmt: skip
    if isinstance(about, DatasetAbout):
        return {
            "loop": about.loop, "version": about.version, "purpose": about.purpose, "windows": about.windows,
            "intervals": about.intervals, "points": about.points, "size": size_text(about.bytes),
            "iteration": about.iteration, "created": _date(about.created), "source": about.source,
            "used by": "; ".join(about.used_by),
        }  # fmt: skip
    assert isinstance(about, ExportAbout)
    return {
        "export": about.export, "file": about.file, "format": about.format, "loop": about.loop,
        "dataset": about.dataset, "rows": about.rows, "size": size_text(about.bytes),
        "created": _date(about.created), "file is": about.file_is,
    }  # fmt: skip


def _date(instant: str) -> str:
    """To the minute."""
    return instant[:16].replace("T", " ")


def _age(fetched: str) -> str:
    seconds = max(0.0, time.time() - parse_time(fetched) / NS_PER_SECOND)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} old"
    return "new"


def _present_listing(listing: Listing, console: Console) -> None:
    kinds = {kind: getattr(listing, kind) for kind in TITLES}
    asked = {kind: assets for kind, assets in kinds.items() if assets is not None}
    for kind, assets in asked.items():
        console.table([row(about) for about in assets], TITLES[kind])
    console.say(", ".join(f"{len(assets)} {_counted(kind, len(assets))}" for kind, assets in asked.items()))
    rows = []
    for one in listing.source_series:
        cells = {k: v for k, v in row(one.series).items() if k not in ("source", "size", "kept")}
        rows.append(cells | {"mended": ", ".join(f"{key} {value}" for key, value in one.mended.items())})
    console.table(rows, f"series of {listing.source}")


def _counted(kind: str, count: int) -> str:
    return TITLES[kind].removesuffix("s") if count == 1 and kind != SERIES else TITLES[kind]


def _present_shown(shown: Shown, console: Console) -> None:
    (about,) = getattr(shown.about, shown.kind)
    cells = [{"key": key, "value": value} for key, value in row(about).items()]
    console.table(cells, f"{shown.kind}: {shown.name}")
    console.table([row(member) for member in shown.members], f"series of upload {shown.name}")
    rows = [
        {
            "point": p.point, "windows": p.windows, "with an anomaly": p.positive, "intervals": p.intervals,
            "longest": p.longest, "from": p.first, "to": p.last,
            "reviews": ", ".join(f"{count} {state}" for state, count in p.reviews.items()),
        }
        for p in shown.points
    ]
    console.table(rows, f"points of {shown.name}")
    if shown.plot is not None:
        plot = shown.plot
        console.say(f"plot: {plot.artifact} of run {plot.run_id} in experiment {plot.experiment} (tsad ui)")
        if plot.file is not None:
            console.say(f"plot: {plot.file}")


def _present_registration(registration: Registration, console: Console) -> None:
    rows = [
        {
            "file": file.file, "registered": file.registered, "series": file.series, "points": file.points,
            "labels": file.labels, "why not": file.why_not,
        }
        for file in registration.checked
    ]
    console.table(rows, registration.path)
    if registration.upload is None:
        return
    refused = f", {len(registration.refused)} refused" if registration.refused else ""
    console.say(
        f"registered upload {registration.upload}: {registration.files} files, {registration.series} series, "
        f"{registration.points} points{refused}"
    )
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts(registration.quality).items() if number)
    console.say(f"quality of its series: {kinds}")
    console.say(f"use it with any verb: tsad ingest source=csv source.root={registration.root}")


def _present_imported(imported: Imported, console: Console) -> None:
    named = f", trained on {imported.named_base}" if imported.named_base else ""
    told = f"r {imported.r}, alpha {imported.alpha:g}, {imported.layers} layers{named}"
    console.say(f"adapter of {imported.path}: {told}")
    state = "registered as" if imported.new else "was there already:"
    console.say(f"{state} {imported.model}:{imported.version} (challenger) on {imported.base}, "
                f"threshold {imported.threshold:.4f}")  # fmt: skip
    console.say("next: tsad evaluate 'versions=[champion,challenger]', then tsad promote")


def _present_deletion(deletion: Deletion, console: Console) -> None:
    rows = [
        {
            "what": item.kind, "name": item.name, "loop": item.loop, "size": size_text(item.bytes),
            "used by": "; ".join(user.text for user in item.users),
            "delete": "no: in use" if item.refused else item.goes,
        }
        for item in deletion.items
    ]
    console.table(rows, "would be deleted" if deletion.dry_run else "to delete")
    total, refused = len(deletion.items), len(deletion.refused)
    if deletion.dry_run:
        console.say(f"{total - refused} to delete, {refused} in use; nothing was deleted: dry_run=false does it")
    elif not refused:
        console.say(f"deleted {total} of {total}" if total else "there is nothing to delete")
