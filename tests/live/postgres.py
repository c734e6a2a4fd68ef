"""A real PostgreSQL for tests and benchmarks: own port, own data, started, killed and started again."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

PATIENCE = 60.0  # seconds until the server answers


def find_home() -> Path | None:
    """The folder of PostgreSQL's programs: ``POSTGRES_HOME``, else Debian's newest, else what PATH has."""
    given = os.environ.get("POSTGRES_HOME")
    places = [Path(given), Path(given) / "bin"] if given else sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1]
    if not given and (found := shutil.which("initdb")):
        places.append(Path(found).parent)
    return next((p for p in places if (p / "initdb").exists()), None)


class PostgresServer:
    """One server on a free port of 127.0.0.1 with a superuser ``tsad``; passwords are asked for (SCRAM).

    PostgreSQL refuses to run as root: then it runs as the user ``postgres`` of the Debian package.

    Args:
        settings: lines of ``postgresql.conf``, e.g. ``{"timezone": "Asia/Shanghai"}``.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
    """

    host, user, password, database = "127.0.0.1", "tsad", "p@ss:w/rd", "postgres"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        home = find_home()
        if home is None:
            raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql, or name POSTGRES_HOME")
        self.home = home
        self.root = os.geteuid() == 0
        # not pytest's folders: those of root are closed to everybody else
        self.folder = Path(tempfile.mkdtemp(prefix="tsad-postgres-"))
        with socket.socket() as free:
            free.bind((self.host, 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self.root:
            owner = pwd.getpwnam("postgres")
            for path in (self.folder, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._call(
            "initdb", "-D", str(self.folder / "data"), "-U", self.user, "--pwfile", str(secret), "-A", "scram-sha-256",
            "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        lines = {"fsync": "off", "listen_addresses": f"'{self.host}'", "port": str(self.port),
                 "unix_socket_directories": f"'{self.folder}'", **(settings or {})}  # fmt: skip
        with (self.folder / "data" / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{key} = {value}\n" for key, value in lines.items())

    def url(self, user: str | None = None, password: str | None = None, database: str | None = None) -> str:
        """SQLAlchemy's URL of a database here, with the password."""
        return sa.URL.create(
            "postgresql+psycopg", user or self.user, password or self.password, self.host, self.port,
            database or self.database,
        ).render_as_string(hide_password=False)  # fmt: skip

    def start(self) -> PostgresServer:
        """Start it, with the data it had, and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.home / "postgres", "-D", self.folder / "data"], stdout=log, stderr=log, start_new_session=True,
                **self._owner(),
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        ready = [self.home / "pg_isready", "-q", "-h", self.host, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.1)
        return self

    def kill(self) -> None:
        """``kill -9`` of the server with all of its children, as a power cut would."""
        assert self.process is not None
        everybody = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for one in reversed(everybody):  # the parent first: it would restart the others
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()
        psutil.wait_procs(everybody, timeout=PATIENCE)

    def stop(self) -> None:
        """Stop it, cutting connections; the data stay."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(PATIENCE)

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.home / program, *arguments], capture_output=True, text=True, check=False, **self._owner()
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr[-2000:]}")

    def _owner(self) -> dict[str, Any]:
        return {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": self.folder} if self.root else {}
