"""One database: its URL, short statements that are tried again, and errors by name. No message holds a password."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from tsad.core.errors import AccessError, ConfigError, MissingPackageError, SourceError, SourceUnavailableError
from tsad.core.masking import MASK, mask_urls
from tsad.files.locate import install_extra

T = TypeVar("T")
log = logging.getLogger(__name__)
# What servers say while connecting, before there is an error code.
_REFUSED = (
    "authentication failed", "no password supplied", "access denied", "login failed", "permission denied",
    "pg_hba.conf", "not permitted to log in", "does not exist", "not authorized",
)  # fmt: skip
_WRONG = ("no such table", "no such column", "syntax error", "not a database", "no such function")


def url_of(url: str | None, variable: str) -> URL:
    """The URL of a database: as given, else from an environment variable.

    Raises:
        ConfigError: none at all, one that cannot be read, or a password in ``source.url``.
    """
    text = url or os.environ.get(variable, "")
    if not text:
        raise ConfigError(
            f"source.url is not set and the environment variable {variable} is empty",
            f"export {variable}='postgresql+psycopg://user:password@host/database', or give source.url without "
            "a password.",
        )
    try:
        made = make_url(text)
    except (exc.ArgumentError, ValueError):  # a port that is no number, an open bracket
        raise ConfigError(
            f"{'source.url' if url else variable} is no SQLAlchemy URL",
            "It looks like postgresql+psycopg://user:password@host/database or sqlite:////data/plant.db; "
            "characters such as @ in a password are written as %40.",
        ) from None  # the error would quote the URL, password and all
    if url and (made.password or mask_urls(url) != url):
        raise ConfigError("source.url holds a password", f"Put the URL into the environment variable {variable}.")
    return made.set(drivername="postgresql+psycopg") if made.drivername == "postgresql" else made


def place_of(url: URL) -> str:
    """Where a database is: kind, host, port and name; never user, password or options."""
    kind = url.get_backend_name()
    if kind == "sqlite":
        return f"sqlite:{Path(url.database).absolute().as_posix() if url.database else ''}"
    port = f":{url.port}" if url.port else ""
    return f"{kind}://{url.host or 'localhost'}{port}/{url.database or ''}"


class Database:
    """Runs short statements, each on a connection of its own; nothing is written.

    Args:
        retries: how often a statement is tried again while the server cannot be reached.
        retry_seconds: wait before the first of them; it doubles each time.
        timeout_seconds: how long connecting may take.
    """

    def __init__(self, url: URL, *, retries: int, retry_seconds: float, timeout_seconds: float) -> None:
        self.url, self.place = url, place_of(url)
        self.retries, self.retry_seconds, self.timeout_seconds = retries, retry_seconds, timeout_seconds

    @cached_property
    def engine(self) -> sa.Engine:
        """Made at first use; connects to nothing yet.

        Raises:
            MissingPackageError: the driver is not installed.
            ConfigError: no such kind of database.
        """
        kind = self.url.get_backend_name()
        try:
            engine = sa.create_engine(
                self.url, poolclass=NullPool, hide_parameters=True, connect_args=self._arguments(kind)
            )
        except exc.NoSuchModuleError as error:
            raise ConfigError(
                f"{self.url.drivername} is no database that SQLAlchemy knows", "Take e.g. postgresql+psycopg or sqlite."
            ) from error
        except ModuleNotFoundError as error:
            ours = "psycopg" in self.url.drivername
            raise MissingPackageError(
                f"{self.url.drivername} needs the package {error.name}, which is not installed",
                f"Run: {install_extra('postgres') if ours else f'pip install {error.name}'}",
            ) from error
        return engine.execution_options(postgresql_readonly=True) if kind == "postgresql" else engine

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """The result of ``work``, which may run more than once: it has to begin from nothing each time.

        Raises:
            SourceUnavailableError: the server cannot be reached, or was lost each time.
            AccessError: wrong user or password, or rights missing.
            SourceError: anything else the database refuses.
        """
        self._exists()
        for attempt in range(self.retries + 1):
            try:
                with self.engine.connect() as connection:
                    return work(connection)
            except exc.DBAPIError as error:
                named = self._named(error)
                if not isinstance(named, SourceUnavailableError) or attempt == self.retries:
                    raise named from error
            wait = self.retry_seconds * 2**attempt
            log.warning("%s Trying again in %g s (%d of %d).", named.found, wait, attempt + 1, self.retries)
            time.sleep(wait)
        raise AssertionError("unreachable")

    def _arguments(self, kind: str) -> dict[str, Any]:
        if kind == "postgresql":  # keepalives: a cable that is pulled in mid-read is noticed within a minute
            return {"connect_timeout": max(1, round(self.timeout_seconds)), "keepalives_idle": 30,
                    "keepalives_interval": 10, "keepalives_count": 3}
        return {"timeout": self.timeout_seconds} if kind == "sqlite" else {}

    def _exists(self) -> None:
        """SQLite would make an empty database where there is none."""
        name = self.url.database or ""
        if self.url.get_backend_name() == "sqlite" and not name.startswith("file:") and not Path(name).is_file():
            raise SourceUnavailableError(f"there is no file {self.place}", "Check the path, or mount its folder.")

    def _without_secrets(self, text: str) -> str:
        """What a driver says, without the password and the options of the URL that it may repeat."""
        options = [v for value in self.url.query.values() for v in ((value,) if isinstance(value, str) else value)]
        for secret in (self.url.password, *options):
            text = text.replace(str(secret), MASK) if secret and len(str(secret)) > 3 else text
        return text

    def _named(self, error: exc.DBAPIError) -> SourceError:
        text = self._without_secrets(" ".join(str(error.orig).split()))[:300]
        state = str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")
        low = text.lower()
        if state.startswith("28") or state == "42501" or (not state and any(w in low for w in _REFUSED)):
            return AccessError(
                f"{self.place} refuses access ({text})",
                "Check user and password in the URL; the user needs the right to connect and SELECT on the tables.",
            )
        lost = error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
        if lost and not any(w in low for w in _WRONG):
            return SourceUnavailableError(f"{self.place} cannot be reached ({text})", "Start it, or check its URL.")
        return SourceError(f"{self.place} cannot answer ({text})", "Check table and columns of the source.")
