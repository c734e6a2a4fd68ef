"""An SQLite store opened for reading alone, without mlflow, whose import takes longer than most answers.

The client here answers the calls of MLflow's by which this room reads, over the same tables; it is used only where the
tables are those of the installed MLflow. Everything that writes opens the store by ``store.open_store``.
"""

from __future__ import annotations

import importlib.util
import math
import re
import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tsad.core.errors import TrackingError
from tsad.core.options import TrackingOptions
from tsad.tracking.addresses import ARTIFACTS, adopt, local_path
from tsad.tracking.store import CREATION_SECONDS, DATABASE, LOOP, Store, open_store

_TERM = re.compile(r"tags\.`([^`]+)` (=|!=) '([^']*)'")
_REVISION = re.compile(r"^(revision|down_revision) = [\"'](\w+)[\"']", re.MULTILINE)
_NAME = re.compile(r"name LIKE '([^']*)'")


def open_to_read(options: TrackingOptions, home: Path) -> Store:
    """The store that ``tracking`` names, for whoever only reads; a client that can do more where that is not enough.

    Raises:
        TrackingError: as ``open_store``.
    """
    home = home.expanduser().resolve()
    database = Path(options.uri.removeprefix("sqlite:///")) if options.uri else home / DATABASE
    if (options.uri and not options.uri.startswith("sqlite:///")) or not _readable(database):
        return open_store(options, home)
    if not options.uri:
        _adopted(database, home)
    uri = options.uri or f"sqlite:///{database.as_posix()}"
    reader: Any = SqliteReader(database)
    return Store(home, uri, (home / ARTIFACTS).as_uri(), reader, options)


def _readable(database: Path) -> bool:
    """Whether the tables are those that the installed MLflow makes."""
    try:
        with closing(_connect(database)) as connection:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError):
        return False
    return revision == _head()


def _head() -> str | None:
    """The schema of the installed MLflow, read from its migrations' files."""
    spec = importlib.util.find_spec("mlflow")
    places = list(spec.submodule_search_locations or ()) if spec else []
    texts = [
        path.read_text(encoding="utf-8")
        for place in places
        for path in (Path(place) / "store" / "db_migrations" / "versions").glob("*.py")
    ]
    known = [dict(_REVISION.findall(text)) for text in texts]
    heads = {one.get("revision") for one in known} - {one.get("down_revision") for one in known}
    return heads.pop() if len(heads) == 1 else None


def _adopted(database: Path, home: Path) -> None:
    """Addresses of a store that was moved are put right, as whoever opens it for writing does."""
    from filelock import FileLock, Timeout

    try:
        (home / "locks").mkdir(exist_ok=True)
        with FileLock(home / "locks" / "store.lock", timeout=CREATION_SECONDS):
            adopt(database, home)
    except Timeout as error:
        raise TrackingError(
            f"Another process has been opening the store {home} for {CREATION_SECONDS:.0f} s", "End it and try again."
        ) from error
    except OSError:
        return  # a folder that nobody can write has not been moved here by its user


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=30)


class Absent(Exception):
    """What was asked for is not in the store; MLflow's code of it."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class Page(list[Any]):
    """All that was asked for; there is no next page."""

    token = None


class SqliteReader:
    """What MLflow's client answers to those who read, with its names, arguments and fields; each is one or two queries.

    Raises:
        TrackingError: from every method: the database cannot be read, or has not what was asked for.
    """

    def __init__(self, database: Path) -> None:
        self._database = database

    def search_experiments(self, **_: Any) -> Page:
        """Experiments of loops that were not deleted, oldest first."""
        rows = self._rows(
            "SELECT e.experiment_id, e.name, e.lifecycle_stage, t.value FROM experiments e "
            "JOIN experiment_tags t ON t.experiment_id = e.experiment_id AND t.key = 'tsad.loop' "
            "WHERE e.lifecycle_stage = 'active' AND t.value != '' ORDER BY e.creation_time, e.experiment_id"
        )
        return Page(_experiment(*row) for row in rows)

    def get_experiment_by_name(self, name: str) -> Any:
        """The experiment of that name, deleted or not; ``None`` where there is none."""
        rows = self._rows("SELECT experiment_id, name, lifecycle_stage, '' FROM experiments WHERE name = ?", [name])
        return _experiment(*rows[0]) if rows else None

    def search_runs(self, experiment_ids: Sequence[str], filter_string: str = "", **_: Any) -> Page:
        """Runs whose tags match all terms of the filter, oldest first."""
        where, values = _condition(filter_string)
        marks = ", ".join("?" * len(experiment_ids))
        return self._runs(
            f"experiment_id IN ({marks}) AND lifecycle_stage = 'active'{where}", [*map(int, experiment_ids), *values]
        )

    def get_run(self, run_id: str) -> Any:
        """The run of that id."""
        runs = self._runs("run_uuid = ?", [run_id])
        if not runs:
            raise _absent(f"run {run_id}")
        return runs[0]

    def download_artifacts(self, run_id: str, path: str, dst_path: str) -> str:
        """A copy of a run's file or folder below ``dst_path``; where it lies."""
        folder = local_path(str(self.get_run(run_id).info.artifact_uri))
        source = None if folder is None else folder / path
        if source is None or not source.exists():
            raise _absent(f"artifact {path} of run {run_id}")
        target = Path(dst_path) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
        return str(target)

    def search_registered_models(self, filter_string: str = "", **_: Any) -> Page:
        """Models whose name is like the filter's, with their aliases."""
        (like,) = _NAME.fullmatch(filter_string).groups()  # type: ignore[union-attr]
        names = [str(row[0]) for row in self._rows("SELECT name FROM registered_models WHERE name LIKE ?", [like])]
        aliases: dict[str, dict[str, str]] = {name: {} for name in names}
        for name, alias, version in self._rows("SELECT name, alias, version FROM registered_model_aliases"):
            aliases.get(name, {})[alias] = str(version)
        return Page(SimpleNamespace(name=name, aliases=aliases[name], tags={}) for name in names)

    def get_model_version(self, name: str, version: str) -> Any:
        """One version of a model, with its tags."""
        key = [name, int(version)]
        rows = self._rows(
            "SELECT run_id, source, creation_time FROM model_versions WHERE name = ? AND version = ?", key
        )
        if not rows:
            raise _absent(f"version {version} of {name}")
        tags = dict(self._rows("SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", key))
        run_id, source, created = rows[0]
        return SimpleNamespace(
            name=name, version=str(version), run_id=run_id, source=source, tags=tags, creation_timestamp=created
        )

    def _runs(self, where: str, values: Sequence[Any]) -> Page:
        chosen = f"SELECT run_uuid FROM runs WHERE {where}"
        found = self._rows(
            f"SELECT run_uuid, experiment_id, status, start_time, end_time, artifact_uri FROM runs WHERE {where} "
            "ORDER BY start_time, run_uuid",
            values,
        )
        tags = _by_run(self._rows(f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN ({chosen})", values))
        params = _by_run(self._rows(f"SELECT run_uuid, key, value FROM params WHERE run_uuid IN ({chosen})", values))
        figures = self._rows(
            f"SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN ({chosen})", values
        )
        metrics = _by_run((run, key, math.nan if bad else value) for run, key, value, bad in figures)
        return Page(_run(row, tags, params, metrics) for row in found)

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with closing(_connect(self._database)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise TrackingError(
                f"The store {self._database} cannot be read ({error})",
                "Restore it from a backup, or move the file away to start with an empty store.",
            ) from error


def _absent(what: str) -> TrackingError:
    error = TrackingError(f"The store has no {what}")
    error.__cause__ = Absent(what)
    return error


def _condition(filter_string: str) -> tuple[str, list[str]]:
    """A filter of terms on tags as SQL, and its values."""
    where, values = "", []
    for term in filter_string.split(" AND ") if filter_string else ():
        key, sign, value = _TERM.fullmatch(term).groups()  # type: ignore[union-attr]
        matching = f"SELECT 1 FROM tags t WHERE t.run_uuid = runs.run_uuid AND t.key = ? AND t.value {sign} ?"
        where += f" AND EXISTS ({matching})"
        values += [key, value]
    return where, values


def _experiment(experiment_id: int, name: str, stage: str, loop: str) -> Any:
    tags = {LOOP: loop}
    return SimpleNamespace(experiment_id=str(experiment_id), name=name, lifecycle_stage=stage, tags=tags)


def _by_run(rows: Iterable[tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run, key, value in rows:
        found.setdefault(run, {})[key] = value
    return found


def _run(row: tuple[Any, ...], *data: Mapping[str, Mapping[str, Any]]) -> Any:
    run_id, experiment, status, start, end, address = row
    tags, params, metrics = (dict(values.get(run_id, {})) for values in data)
    info = SimpleNamespace(
        run_id=run_id, experiment_id=str(experiment), status=status, start_time=start, end_time=end,
        artifact_uri=address,
    )  # fmt: skip
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, params=params, metrics=metrics))
