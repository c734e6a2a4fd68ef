"""What there is: series, uploads, dataset versions and exports, found in the cache and in MLflow, and who uses them."""

from __future__ import annotations

import fnmatch
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import TrackingError, TsadError
from tsad.core.reviews import Purpose, joined_intervals
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.steps.about import DatasetAbout, ExportAbout, SeriesAbout, UploadAbout, User
from tsad.tracking.runs import LoopStore

if TYPE_CHECKING:
    from tsad.sources.cache import Kept
    from tsad.tracking.assets import AssetRecord
    from tsad.tracking.dataset_runs import DatasetRecord

SERIES, UPLOADS, DATASETS, EXPORTS = "series", "uploads", "datasets", "exports"
KINDS = (SERIES, UPLOADS, DATASETS, EXPORTS)
_PREFIX = 4  # so many characters of a hash are enough to name it
log = logging.getLogger("tsad")


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One thing that ``tsad data`` lists.

    Attributes:
        kind: one of ``KINDS``.
        name: point id, or hash.
        also: what else it may be called by.
        source: what its values were read from, in words.
        about: what there is to say of it.
        loop, run_id: where MLflow keeps it; ``None`` and "" for what is in the cache alone.
        kept: series: what the cache holds of it.
        record: exports and uploads: what was said when it was kept.
    """

    kind: str
    name: str
    source: str
    about: SeriesAbout | UploadAbout | DatasetAbout | ExportAbout
    also: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    loop: LoopStore | None = None
    run_id: str = ""
    kept: Kept | None = None
    record: AssetRecord | None = None

    def comes_from(self, source: str | None) -> bool:
        """Whether a text is part of the source's description, or a pattern fits it; ``None`` = any source."""
        said = (self.source, getattr(self.about, "source", ""))
        return source is None or any(source in text or fnmatch.fnmatchcase(text, source) for text in said)

    def called(self, pattern: str) -> bool:
        """Whether a name, pattern or (of a hash) beginning means it."""
        names = (self.name, *self.also)
        begins = self.kind != SERIES and len(pattern) >= _PREFIX and self.name.startswith(pattern)
        return begins or pattern in names or any(fnmatch.fnmatchcase(n, pattern) for n in names)


@dataclass
class Inventory:
    """Everything that the store and the cache hold; each part is looked up when it is first asked for.

    Attributes:
        check: also find out which open iterations read which series, for which their sources are made.
    """

    bench: Workbench
    check: bool = False
    _contents: dict[str, list[dict[str, Any]] | None] = field(default_factory=dict)

    def assets(self, kind: str) -> list[Asset]:
        """All of a kind."""
        if kind == UPLOADS:
            return self._all_uploads
        return list({SERIES: self._series, DATASETS: self._datasets, EXPORTS: self._exports}[kind]())

    @cached_property
    def loops(self) -> list[LoopStore]:
        """All loops in the store; a store that is not there yet is not made."""
        bench = self.bench
        if not bench.tracking.uri and not (bench.home / "mlflow.db").exists():
            return []
        from tsad.tracking.store import open_store

        store = open_store(bench.tracking, bench.home)
        return [LoopStore(store, name, bench.loop.lease) for name in store.loops()]

    @property
    def loop_names(self) -> list[str]:
        """Names of all loops, oldest first."""
        return [loop.name for loop in self.loops]

    @cached_property
    def open_sources(self) -> dict[str, list[str]]:
        """Source of each open iteration, in words -> the iterations that read it."""
        found: dict[str, list[str]] = defaultdict(list)
        for loop in self.loops if self.check else ():
            iteration = loop.open_iteration()
            if iteration is None:
                continue
            try:
                source = self.bench.thaw(iteration.config_yaml).make_source().describe()
            except TsadError as error:
                log.warning("what iteration %d of %s reads cannot be told: %s", iteration.number, loop.name, error)
                continue
            found[source].append(f"open iteration {iteration.number} of {loop.name}")
        return found

    @cached_property
    def _open_jobs(self) -> list[tuple[str, str]]:
        """Words of each job of the service that has not ended, and what to call it."""
        if not self.check or not self.loops:
            return []
        from tsad.tracking.jobs import JobRuns

        runs = JobRuns(self.loops[0].store)
        return [
            (" ".join(runs.overrides(job)), f"job {job.id[:8]} ({job.verb}, {job.state})") for job in runs.unended()[0]
        ]

    # --- series and uploads --------------------------------------------------------------------------------

    def _series(self) -> Iterator[Asset]:
        from tsad.sources.cache import cache_folder, listing

        cached = listing(cache_folder(self.bench.home))
        known = {(kept.source, kept.point_id) for kept in cached}
        for kept in cached:
            yield Asset(
                kind=SERIES, name=kept.point_id, source=kept.source, about=self.about_kept(kept), kept=kept,
                users=tuple(User(text) for text in [*self.open_sources.get(kept.source, ()), *_only_copy(kept.source)]),
            )
        for upload in self._all_uploads:
            for kept in _uploaded(upload):
                if (kept.source, kept.point_id) not in known:
                    whole = User(f"upload {upload.name}, which it is part of (what=uploads deletes that)", firm=True)
                    yield Asset(
                        kind=SERIES, name=kept.point_id, source=kept.source, about=self.about_kept(kept),
                        kept=kept, users=(whole,),
                    )

    def about_kept(self, kept: Kept) -> SeriesAbout:
        """What there is to say of a series that the cache holds, or could."""
        reviewed = self._reviewed.get((kept.source, kept.point_id), 0)
        cached = bool(kept.paths)
        return SeriesAbout(
            point=kept.point_id, source=self._named(kept.source), first=format_time(kept.start, kept.time_kind),
            last=format_time(kept.end - 1, kept.time_kind), points=kept.points, channels=kept.channels,
            labels=kept.labels, reviewed=min(1.0, reviewed / max(1, kept.points)),
            kept="cache" if cached else "upload", bytes=kept.bytes if cached else None,
            fetched=format_time(int(kept.fetched_at) * NS_PER_SECOND) if cached else None,
        )  # fmt: skip

    @cached_property
    def _reviewed(self) -> dict[tuple[str, str], int]:
        """(source, point) -> points in reviewed windows of a loop's gold set and newest training version.

        Where several loops read one source, that of the loop which reviewed most.
        """
        most: dict[tuple[str, str], int] = {}
        for loop in self.loops:
            points: dict[tuple[str, str], int] = defaultdict(int)
            for record in self.in_force(loop):
                for window in self.contents(loop, record) or ():
                    points[record.source, window["point_id"]] += window["stop"] - window["start"]
            most |= {key: max(count, most.get(key, 0)) for key, count in points.items()}
        return most

    def _named(self, source: str) -> str:
        """A source in words; the folder of an upload by the upload's name."""
        return next((f"upload {u.name}" for u in self._all_uploads if u.source == source), source)

    @cached_property
    def _all_uploads(self) -> list[Asset]:
        return list(self._uploads())

    def _uploads(self) -> Iterator[Asset]:
        from tsad.tracking.assets import UPLOAD, assets, place_of

        for loop in self.loops:
            for record in assets(loop, UPLOAD):
                about, root = record.about, place_of(loop, record)
                users = [text for source, texts in self.open_sources.items() if str(root) in source for text in texts]
                waiting = [User(text, firm=True) for words, text in self._open_jobs if str(root) in words]
                yield Asset(
                    kind=UPLOADS, name=record.name, also=(about["name"],), source=f"csv:{root.as_posix()}", loop=loop,
                    run_id=record.run_id, record=record, users=(*map(User, users), *waiting),
                    about=UploadAbout(
                        upload=record.name, of=about["name"], loop=loop.name, files=about["files"],
                        series=about["series"], points=about["points"], labels=about["labels"], bytes=about["bytes"],
                        created=instant(record.created), root=str(root),
                    ),
                )  # fmt: skip

    # --- dataset versions ----------------------------------------------------------------------------------

    def _datasets(self) -> Iterator[Asset]:
        from tsad.tracking.assets import size_of

        for loop in self.loops:
            records = loop.datasets()
            users = users_of(loop, records)
            for record in records:
                windows = self.contents(loop, record)
                known = windows is not None
                yield Asset(
                    kind=DATASETS, name=record.digest, also=(f"{loop.name}/{record.digest}",), source=record.source,
                    loop=loop, run_id=record.run_id, users=users[record.digest],
                    about=DatasetAbout(
                        loop=loop.name, version=record.digest, purpose=record.purpose, windows=record.windows,
                        intervals=_true_intervals(windows) if windows is not None else None,
                        points=sum(w["stop"] - w["start"] for w in windows or ()) if known else None,
                        bytes=size_of(loop, record.run_id), iteration=record.iteration,
                        created=instant(record.created), source=self._named(record.source),
                        used_by=tuple(user.text for user in users[record.digest]),
                    ),
                )  # fmt: skip

    def in_force(self, loop: LoopStore) -> list[DatasetRecord]:
        """A loop's gold set and its newest training version."""
        return _in_force(loop.datasets())

    def contents(self, loop: LoopStore, record: DatasetRecord) -> list[dict[str, Any]] | None:
        """Records of a version's windows, without their values; ``None`` where its files are damaged, which is said."""
        from tsad.tracking.artifacts import read_text
        from tsad.tracking.dataset_runs import FOLDER
        from tsad.training.datasets import WINDOWS

        if record.run_id not in self._contents:
            try:
                found = json.loads(read_text(loop.store, record.run_id, f"{FOLDER}/{WINDOWS}"))
            except (TrackingError, ValueError) as error:
                log.warning("dataset version %s of %s cannot be read: %s", record.digest, loop.name, error)
                found = None
            self._contents[record.run_id] = found
        return self._contents[record.run_id]

    # --- exports -------------------------------------------------------------------------------------------

    def _exports(self) -> Iterator[Asset]:
        from tsad.tracking.assets import EXPORT, assets

        for loop in self.loops:
            for record in assets(loop, EXPORT):
                about = record.about
                path = Path(about["path"])
                yield Asset(
                    kind=EXPORTS, name=record.name, also=(about["path"], path.name), source=about["source"], loop=loop,
                    run_id=record.run_id, record=record,
                    about=ExportAbout(
                        export=record.name, file=about["path"], format=about["format"], loop=loop.name,
                        dataset=about["dataset"], rows=about["rows"], bytes=about["bytes"],
                        created=instant(record.created), file_is=state_of_export(record),
                    ),
                )  # fmt: skip


def users_of(loop: LoopStore, records: Sequence[DatasetRecord]) -> dict[str, tuple[User, ...]]:
    """Who uses each dataset version of a loop.

    Firm: the gold set, an open iteration, the champion and the version before it. Not firm: other model versions
    trained on it, and the loop's next iteration, which adds to the newest training version.
    """
    from tsad.tracking.assets import model_versions
    from tsad.tracking.registry import CHAMPION, PREVIOUS

    found: dict[str, list[User]] = {record.digest: [] for record in records}
    in_force = {record.run_id for record in _in_force(records)}
    iteration = loop.open_iteration()
    for record in records:
        users = found[record.digest]
        if record.run_id in in_force:
            gold = record.purpose == Purpose.GOLD
            users.append(User("gold set" if gold else "next iteration", firm=gold))
        if iteration is not None and record.iteration_run == iteration.run_id:
            users.append(User(f"open iteration {iteration.number}", firm=True))
    for model in model_versions(loop) if records else ():
        version = model.tags.get("tsad.dataset_version", "")
        if version in found:
            named = f" ({', '.join(model.aliases)})" if model.aliases else ""
            firm = bool({CHAMPION, PREVIOUS} & set(model.aliases))
            found[version].append(User(model.label + named, firm))
    return {version: tuple(users) for version, users in found.items()}


def state_of_export(record: AssetRecord) -> str:
    """Whether the written file is ``there``, ``changed`` since, or ``gone``."""
    from tsad.files.hashing import digest_of_file

    path = Path(record.about["path"])
    if not path.is_file():
        return "gone"
    return "there" if digest_of_file(path) == record.about["sha256"] else "changed"


def about_series(series: Series) -> dict[str, Any]:
    """A series as the cache's listing tells of it, apart from source, size and age."""
    return {
        "point_id": series.point_id, "start": int(series.timestamps[0]), "end": int(series.timestamps[-1]) + 1,
        "time_kind": series.time_kind, "points": len(series), "channels": len(series.channels),
        "labels": None if series.labels is None else len(series.labels),
    }  # fmt: skip


def instant(milliseconds: int) -> str:
    """ms since 1970 UTC as ISO 8601."""
    return format_time(milliseconds * 10**6)


def _true_intervals(records: Sequence[Mapping[str, Any]]) -> int:
    """As ``core.reviews.true_intervals``, of the windows' records."""
    labelled = ((r["point_id"], [Interval(*row) for row in r["intervals"]]) for r in records)
    return sum(len(own) for own in joined_intervals(labelled).values())


def _in_force(records: Sequence[DatasetRecord]) -> list[DatasetRecord]:
    """The gold set and the newest training version."""
    gold = [r for r in records if r.purpose == Purpose.GOLD][:1]
    return gold + [r for r in records if r.purpose == Purpose.TRAIN][-1:]


def _only_copy(source: str) -> list[str]:
    """Said of cached series whose files are gone: they could not be read again. Of a database only it can tell."""
    root = Path(source.partition(":")[2])
    gone = root.is_absolute() and not set("*?[") & set(str(root)) and not root.exists()
    return ["whoever needs it: its source is not there now"] if gone else []


def _uploaded(upload: Asset) -> list[Kept]:
    """The series of an upload, as if the cache held them."""
    from tsad.sources.cache import Kept
    from tsad.tracking.assets import rows_of

    if upload.loop is None or upload.record is None:
        return []
    common: dict[str, Any] = {"source": upload.source, "bytes": 0, "fetched_at": upload.record.created / 1000}
    return [Kept(**common, **row) for row in rows_of(upload.loop, upload.record)]
