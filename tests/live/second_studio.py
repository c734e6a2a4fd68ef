"""Label Studios beside the session's: to be killed, opened to the network, put on PostgreSQL, its tokens ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
from postgres import PostgresServer

from tsad.files.locate import shipped
from tsad.review.label_studio import addresses, server


def copied(home: Path, other: Path) -> None:
    """The server of ``home`` as it is, its database included, in the folder ``other``: no migration to wait for."""
    place = server.folder(other)
    place.mkdir(parents=True)
    shutil.copy(server.credentials_file(home), place)
    (place / "data").mkdir()
    for database in (server.folder(home) / "data").glob("*.sqlite3"):
        with sqlite3.connect(database) as source, sqlite3.connect(place / "data" / database.name) as target:
            source.backup(target)


def killed(home: Path) -> None:
    """``kill -9`` of the server, as a power cut would."""
    state = server.status(home)
    assert state is not None
    process = psutil.Process(state["pid"])
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs([process], timeout=10)


class Person:
    """Somebody with a browser's session at a Label Studio, as far as HTTP goes."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=120, follow_redirects=True)

    def log_in(self, email: str, password: str) -> Person:
        self._post("/user/login/", email=email, password=password)
        return self

    def sign_up(self, invitation: str, email: str, password: str) -> Person:
        """By the path of an invitation."""
        self._post(invitation, email=email, password=password)
        return self

    def _post(self, path: str, **form: str) -> None:
        self.http.get(path)
        answer = self.http.post(path, data={**form, "csrfmiddlewaretoken": self.http.cookies["csrftoken"]})
        assert answer.status_code == 200 and "/user/" not in answer.url.path, re.sub(r"\s+", " ", answer.text)[:500]

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self.http.request(method, path, **kwargs)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None

    def personal_token(self) -> str:
        """As Account & Settings > Personal Access Token makes one."""
        return str(self.call("POST", "/api/token/")["token"])

    def end_token(self, token: str) -> None:
        self.call("POST", "/api/token/blacklist/", json={"refresh": token})


class PostgresStudio:
    """A Label Studio on a PostgreSQL of its own, as shared ones are: personal tokens only. It comes up meanwhile."""

    def __init__(self, home: Path) -> None:
        self.postgres = PostgresServer().start()
        place, port = server.folder(home), addresses.free_port(addresses.HOST)
        place.mkdir(parents=True)
        self.keys = server._credentials(home)
        self.url, self._log = f"http://{addresses.HOST}:{port}", place / "server.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                server.command(port), cwd=place, env=self._environment(place, port), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _environment(self, place: Path, port: int) -> dict[str, str]:
        """What ``label_studio/compose.yaml`` gives it, with the variables of ``docs/label_studio_server.md``; apart
        from where the database and the data are, which Docker's network and volumes say there."""
        given = {
            "POSTGRES_PASSWORD": self.postgres.password, "LABEL_STUDIO_USERNAME": self.keys.user,
            "LABEL_STUDIO_PASSWORD": self.keys.password, "LABEL_STUDIO_HOST": "",
            "LABEL_STUDIO_ALLOWED_HOSTS": "localhost,127.0.0.1",
        }  # fmt: skip
        here = {
            "POSTGRE_HOST": self.postgres.host, "POSTGRE_PORT": str(self.postgres.port),
            "POSTGRE_USER": self.postgres.user, "POSTGRE_NAME": self.postgres.database,
            "LABEL_STUDIO_BASE_DATA_DIR": str(place / "data"), "CSRF_TRUSTED_ORIGINS": f"http://localhost:{port}",
        }  # fmt: skip
        mine = ("LABEL_STUDIO_", "DJANGO_", "POSTGRE", "ALLOWED_HOSTS", "CSRF_", "PYTHONPATH", "HOST")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(mine) and not k.upper().endswith("_PROXY")}
        return inherited | composed("app", given) | here

    def wait(self) -> PostgresStudio:
        """Until it answers; its first start migrates the database."""
        until(server.START_SECONDS, lambda: self._process.poll() is not None or server.answers(self.url))
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        return self

    def remove(self) -> None:
        self._process.kill()
        self._process.wait()
        self.postgres.remove()


def composed(service: str, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service of ``label_studio/compose.yaml``, ``${NAME:-default}`` filled in as Compose does.

    Raises:
        KeyError: a variable that has to be given is not.
    """
    import yaml

    def filled(match: re.Match[str]) -> str:
        name, kind, rest = match["name"], match["kind"], match["rest"]
        value = given.get(name, "")
        if not value and kind == ":?":
            raise KeyError(f"{name}: {rest}")
        return value or rest or ""

    told = yaml.safe_load((shipped("label_studio") / "compose.yaml").read_text("utf-8"))["services"][service]
    pattern = re.compile(r"\$\{(?P<name>\w+)(?P<kind>:[-?])?(?P<rest>[^}]*)\}")
    return {key: pattern.sub(filled, str(value)) for key, value in told["environment"].items()}


def payload(token: str) -> dict[str, Any]:
    """What a JWT says of itself."""
    import base64

    part = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return said


def until(seconds: float, reached: Any) -> None:
    """Wait until ``reached()`` is true."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)
