"""The MLflow store: SQLite under the store's folder, or a tracking server by its URI."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tsad.core.environment import set_environment
from tsad.core.errors import TrackingError
from tsad.core.masking import mask_urls
from tsad.core.options import TrackingOptions
from tsad.core.urls import by_http
from tsad.tracking.addresses import ARTIFACTS, adopt
from tsad.tracking.guard import Client, guarded
from tsad.tracking.pages import every_page

if TYPE_CHECKING:
    from sqlalchemy import Engine

DATABASE = "mlflow.db"
LOOP = "tsad.loop"  # tag of an experiment that is a loop, and of every run: the loop's name
CREATION_SECONDS = 120.0  # how long to wait for another process that creates the same store
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass(frozen=True)
class Store:
    """An open tracking store.

    Attributes:
        home: folder of locks, staging files and, for the embedded store, database and artifacts; absolute.
        tracking_uri: of runs and registry; may hold a password, so show ``uri``.
        artifact_root: file URI under which artifacts are kept; ``None`` where a tracking server decides.
        client: MLflow's client; every failure of it is a TrackingError or StorageError.
    """

    home: Path
    tracking_uri: str
    artifact_root: str | None
    client: Client
    options: TrackingOptions

    @property
    def uri(self) -> str:
        """The tracking URI without a password in it, for messages."""
        return mask_urls(self.tracking_uri)

    @property
    def is_server(self) -> bool:
        """Whether the store is reached over HTTP."""
        return by_http(self.tracking_uri)

    @property
    def embedded(self) -> bool:
        """Whether it is the SQLite file in ``home``, which nobody named by ``tracking.uri``."""
        return not self.options.uri

    def loops(self) -> list[str]:
        """Names of all loops in the store, oldest first."""
        return [experiment.tags[LOOP] for experiment in self.experiments()]

    def experiments(self) -> Iterator[Any]:
        """The experiment of each loop, as MLflow has it, oldest first."""
        return every_page(
            self.client.search_experiments, filter_string=f"tags.`{LOOP}` != ''", order_by=["creation_time ASC"]
        )


def open_store(options: TrackingOptions, home: Path) -> Store:
    """Open the store that ``tracking`` names; the embedded one is created where there is none.

    Processes that open a fresh store together wait for the one that creates it.

    Raises:
        TrackingError: unreachable within ``options.timeout_seconds``, made by another MLflow, or damaged.
    """
    set_environment(options.timeout_seconds)
    home = home.expanduser().resolve()
    try:
        (home / "locks").mkdir(parents=True, exist_ok=True)
        _private(home)
    except OSError as error:
        raise TrackingError(
            f"The store's folder {home} cannot be created ({error.strerror})", "Set TSAD_HOME to a writable folder."
        ) from error
    uri = options.uri or sqlite_uri(home / DATABASE)
    if urlsplit(uri).scheme.startswith("sqlite"):
        uri = _sqlite_absolute(uri)
    else:
        _check_reachable(uri, options.timeout_seconds)
    if by_http(uri):
        store = Store(home, uri, None, _client(uri), options)
        store.client.search_experiments(max_results=1)
        return store
    client = _open_database(uri, home, embedded=not options.uri)
    return Store(home, uri, (home / ARTIFACTS).as_uri(), client, options)


def _open_database(uri: str, home: Path, embedded: bool) -> Client:
    """Open a database in this process, created first where it is empty; an embedded one that was moved is adopted.

    The lock also orders openers: mlflow's own check-then-create is not safe across processes.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(home / "locks" / "store.lock", timeout=CREATION_SECONDS):
            path = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
            if path is not None and not (path.exists() and path.stat().st_size):
                _create(path)
            else:
                _check_schema(uri)
                if embedded:
                    adopt(home / DATABASE, home)
            return _client(uri)
    except Timeout as error:
        raise TrackingError(
            f"Another process has been opening the store {home} for {CREATION_SECONDS:.0f} s", "End it and try again."
        ) from error


def _sqlite_absolute(uri: str) -> str:
    """The same SQLite file by its absolute path: steps may run in another working directory."""
    if not uri.startswith("sqlite:///") or any(mark in uri for mark in "?#"):
        raise TrackingError(
            f"The store's address {uri} is not of the form sqlite:///path/to/file.db, or has a ? or # in its path",
            "Use another path in tracking.uri or TSAD_HOME.",
        )
    return sqlite_uri(Path(uri.removeprefix("sqlite:///")).resolve())


def sqlite_uri(path: Path) -> str:
    """SQLAlchemy's URI of an SQLite file; three slashes and a drive letter on Windows."""
    return f"sqlite:///{path.as_posix()}"


def _client(uri: str) -> Client:
    from mlflow import MlflowClient

    with guarded("opening the store", uri):
        return Client(MlflowClient(tracking_uri=uri, registry_uri=uri), uri)


def _private(home: Path) -> None:
    """Let nobody but its owner into a store, whatever the umask was: what is below is out of reach with it."""
    mode = home.stat()
    if mode.st_mode & 0o077 and hasattr(os, "getuid") and mode.st_uid == os.getuid():
        home.chmod(0o700)


def _create(path: Path) -> None:
    """Create the schema beside its place and move it there: a kill in between leaves no half-made database."""
    from mlflow.store.db import utils

    draft = path.with_suffix(".creating")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    with guarded("creating the store", str(path)):
        engine = utils.create_sqlalchemy_engine(sqlite_uri(draft))
        try:
            utils._initialize_tables(engine)  # what a fresh mlflow client does, minus its race
        finally:
            engine.dispose()
        draft.replace(path)


def _check_schema(uri: str) -> None:
    """Refuse a database of another MLflow before mlflow touches it (it would migrate some of them unasked)."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        found = _revision(engine, uri)
    finally:
        engine.dispose()
    if found is None:
        return
    from alembic.script import ScriptDirectory
    from mlflow import __version__
    from mlflow.store.db import utils

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    known, head = {script.revision for script in scripts.walk_revisions()}, scripts.get_current_head()
    if found == head:
        return
    if found not in known:
        raise TrackingError(
            f"The store {mask_urls(uri)} was made by a newer MLflow than the installed {__version__} (schema {found})",
            "Install that version: pip install --upgrade mlflow.",
        )
    raise TrackingError(
        f"The store {mask_urls(uri)} was made by an older MLflow (schema {found}, MLflow {__version__} needs {head})",
        f'Copy the database aside as a backup, then run: mlflow db upgrade "{mask_urls(uri)}"',
    )


def _revision(engine: Engine, uri: str) -> str | None:
    """Alembic's revision of the database, ``None`` for an empty one."""
    import sqlalchemy

    try:
        with engine.connect() as connection:
            tables = sqlalchemy.inspect(connection).get_table_names()
            if "alembic_version" not in tables:
                if tables:
                    raise TrackingError(
                        f"The database {mask_urls(uri)} holds tables that are not MLflow's ({', '.join(tables[:3])})",
                        "Name another one in tracking.uri.",
                    )
                return None
            return connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
    except sqlalchemy.exc.DatabaseError as error:
        raise TrackingError(
            f"The store {mask_urls(uri)} cannot be read ({error.orig})",
            "Restore it from a backup, or move the file away to start with an empty store.",
        ) from error


def _check_reachable(uri: str, timeout_seconds: float) -> None:
    """Ask for a TCP connection first: an unreachable host answers at once, not after all retries."""
    from requests.utils import get_environ_proxies

    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme not in _PORTS:
        raise TrackingError(
            f"tracking.uri={mask_urls(uri)} is no store that tsad can use",
            'Give http(s)://host:port, postgresql://..., sqlite:///absolute/path.db, or "" for the embedded store.',
        )
    if scheme in ("http", "https") and get_environ_proxies(uri):
        return  # reached through a proxy, if at all; the first request will tell
    try:
        address = (parts.hostname or "", parts.port or _PORTS[scheme])
        socket.create_connection(address, timeout=min(10.0, timeout_seconds)).close()
    except (OSError, ValueError) as error:  # ValueError: a port that is no number
        raise TrackingError(
            f"The tracking server {mask_urls(uri)} cannot be reached ({error})",
            "Start it, mend tracking.uri, or leave tracking.uri empty for the embedded store.",
        ) from error
