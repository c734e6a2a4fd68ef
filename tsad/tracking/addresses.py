"""Addresses of artifacts in the embedded store: where they lie, and made right again where it was moved or copied.

MLflow writes absolute addresses into its database and makes relative ones absolute. A store that is opened in another
folder than it was made in would read, and delete, files of the folder it was copied from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from tsad.core.errors import TrackingError
from tsad.files.hashing import digest_of_text

ARTIFACTS = "artifacts"  # folder of the store's home
_COLUMNS = (
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
    ("model_versions", "source"), ("model_versions", "storage_location"),
)  # fmt: skip
_LOCATIONS = (  # an experiment that is no loop is known by its name alone; a loop also where MLflow has renamed it
    "SELECT artifact_location, name FROM experiments UNION "
    "SELECT experiments.artifact_location, experiment_tags.value FROM experiments "
    "JOIN experiment_tags USING (experiment_id) WHERE experiment_tags.key = 'tsad.loop'"
)


def folder_of(loop: str) -> str:
    """Name of a loop's folder below ``artifacts``."""
    return digest_of_text(loop)[:8]


def local_path(address: str) -> Path | None:
    """The path of a ``file:`` URI or plain absolute path; ``None`` for anything else."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        plain = not (parts.query or parts.fragment) and parts.netloc in ("", "localhost")
        return Path(url2pathname(parts.path)) if plain else None
    path = Path(address)
    return path if path.is_absolute() else None


def adopt(database: Path, home: Path) -> int:
    """Rewrite the addresses of a store that was made in another folder; the store's lock must be held.

    The earlier folders are read from the addresses themselves: a loop's artifacts lie in ``<home>/artifacts/<hash of
    its name>``. Everything is rewritten in one transaction; where nothing has moved, nothing is written.

    Returns:
        How many addresses were rewritten.

    Raises:
        TrackingError: the database cannot be written.
    """
    try:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            moves = dict(_moves(connection.execute(_LOCATIONS).fetchall(), home))
            if not moves:
                return 0
            with connection:  # one transaction
                return sum(_rewrite(connection, old, new) for old, new in moves.items())
    except sqlite3.Error as error:
        raise TrackingError(
            f"The store {home} was moved here, and its addresses cannot be rewritten ({error})",
            "Make its folder and mlflow.db writable.",
        ) from error


def _moves(locations: list[tuple[str, str]], home: Path) -> Iterator[tuple[str, str]]:
    """Old beginnings of addresses, each with the new one: as a URI as it stands there, and as plain paths."""
    for location, loop in locations:
        root, _, tail = location.rpartition(f"/{ARTIFACTS}/")
        if tail != folder_of(loop) or local_path(location) is None or root in (home.as_uri(), str(home)):
            continue
        plain = unquote(urlsplit(root).path) if root.startswith("file:") else root
        if plain[2:3] == ":":  # file:///C:/x
            plain = plain.removeprefix("/")
            yield plain.replace("/", "\\") + "\\", str(home) + "\\"
        yield f"{plain}/", f"{home.as_posix()}/"
        yield f"{root if root.startswith('file:') else 'file://' + root}/", f"{home.as_uri()}/"


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> int:
    changed = 0
    for table, column in _COLUMNS:
        done = connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ? "
            f"AND substr({column}, 1, ?) <> ?",  # here already, where a store moved into a folder below its old one
            (new, len(old) + 1, len(old), old, len(new), new),
        )
        changed += done.rowcount
    return changed
