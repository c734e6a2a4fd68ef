"""The embedded Label Studio: started and stopped in the background, for one machine and one person or a few.

Everything of it lies in ``<home>/label_studio``: its SQLite database, its log, ``server.json`` (process and address)
and ``credentials.json`` (user, password, token; readable by the owner alone). It is Django's development server, bound
to 127.0.0.1 unless colleagues are let in at another of this machine's addresses, and it opens no connection to other
machines. A shared server is started as ``docs/label_studio_server.md`` says and named by ``review.url``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tsad.core.context import Context
from tsad.core.errors import MissingPackageError, ReviewError, StorageError
from tsad.core.hosts import is_loopback
from tsad.files.locate import install_extra
from tsad.review.label_studio.addresses import (
    HOST,
    is_own,
    own_address,
    reserved_port,
)
from tsad.review.label_studio.options import LabelStudioOptions

USER = "tsad@localhost.localdomain"
START_SECONDS = 600.0  # the first start migrates the database: 30-60 s on 2 idle cores, minutes on busy ones


# Not everything in Label Studio that asks the internet can be switched off (its tips come from GitHub, whenever a
# page is opened), so its process is kept from leaving this machine: names are not looked up, connections not opened.
GUARD = """
import sys

def guard(event, args):
    if event in ("socket.connect", "socket.sendto"):
        host = args[1][0] if isinstance(args[1], tuple) else ""
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host or ""
    if host in ("", "localhost", "::1", "0.0.0.0", "::") or host.startswith("127."):
        return
    sys.stderr.write(f"tsad: refused to leave this machine for {host}\\n")
    raise OSError(f"the embedded Label Studio may not leave this machine (for {host})")

sys.addaudithook(guard)
"""


@dataclass(frozen=True)
class Credentials:
    """How to log in (browser: user and password) and to call the API (token). Never printed whole."""

    user: str
    password: str
    token: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


def folder(home: Path) -> Path:
    """Where the embedded server keeps everything."""
    return home / "label_studio"


def credentials_file(home: Path) -> Path:
    """The file with user, password and token; mode 0600."""
    return folder(home) / "credentials.json"


def start(
    home: Path, port: int = 0, wait: float = START_SECONDS, context: Context | None = None, host: str = ""
) -> str:
    """Start the server unless it runs, and wait until it answers.

    Args:
        port: 0 = the port it had last time, else 8080, else any free one.
        host: a name or address of this machine where colleagues reach it; "" = 127.0.0.1, or wherever it runs.
        wait: seconds before giving up. context: who watches, and who may stop the wait; the server starts all the same.

    Returns:
        Its URL.

    Raises:
        MissingPackageError: Label Studio is not installed.
        ReviewError: the port is taken, no such address, or the server died or did not answer; names its log. It runs
            at another address already.
        StorageError: its folder cannot be written.
    """
    from filelock import FileLock

    require_package()
    place, address = folder(home), own_address(host or HOST)
    with ExitStack() as held:
        try:
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o700)
            with FileLock(place / "start.lock"):  # two starts at once must not make two servers
                state = status(home)
                if state is None:
                    number = held.enter_context(reserved_port(address, _ports(home, port)))
                    if port and number != port:
                        raise ReviewError(
                            f"Port {port} on {address} is taken",
                            "Choose another with port=<number>, or port=0 for any.",
                        )
                    state = _spawn(home, number, address, host)
        except OSError as error:
            raise StorageError(
                f"{place} cannot be written: {error}", "Name another store: TSAD_HOME=<folder>."
            ) from error
        if host and state.get("address", HOST) != address:
            raise ReviewError(
                f"Label Studio runs at {state['url']}, which is not {host}", "Stop it first: tsad studio action=stop."
            )
        _wait(state, place / "server.log", wait, context or Context())
    return str(state["url"])


def _spawn(home: Path, port: int, address: str, name: str) -> dict[str, Any]:
    """Start the process and note it in ``server.json``."""
    place, keys = folder(home), _credentials(home)
    names = [name, address] if name else [address]
    with (place / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command(port, address), cwd=place, env=environment(place, keys, port, names),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
    state = {"pid": process.pid, "created": _created(process.pid), "port": port, "address": address,
             "url": f"http://{names[0]}:{port}"}  # fmt: skip
    _write(place / "server.json", state)
    return state


def stop(home: Path) -> bool:
    """Stop the server and its children; whether one was running."""
    import psutil

    state = status(home)
    if state is not None:
        process = psutil.Process(state["pid"])
        family = [process, *process.children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        _, alive = psutil.wait_procs(family, timeout=10)
        for one in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    return state is not None


def status(home: Path) -> dict[str, Any] | None:
    """Process, port and URL of the running server; ``None`` where it does not run (any more)."""
    try:
        state = json.loads((folder(home) / "server.json").read_text())
    except (OSError, ValueError):
        return None
    # A process number is used again after a restart of the machine; the start time tells whose it is.
    return state if state.get("created") and _created(state["pid"]) == state["created"] else None


def is_open(url: str) -> bool:
    """Whether others on the network reach the server at this URL."""
    return not is_loopback(urlsplit(url).hostname or "")


def service_url(options: LabelStudioOptions, home: Path) -> str:
    """The URL of the server that the config means.

    Raises:
        ReviewError: the embedded one is meant and does not run.
    """
    if options.url:
        return options.url.rstrip("/")
    state = status(home)
    if state is None:
        raise ReviewError("The embedded Label Studio is not running", "Start it with tsad studio, then try again.")
    return str(state["url"])


def token(options: LabelStudioOptions, home: Path) -> str:
    """The token: the embedded server keeps its own, a shared server's comes from the environment.

    Raises:
        ReviewError: it is not there.
    """
    if not options.url:
        return read_token(home)
    value = os.environ.get(options.token_env, "") if options.token_env else ""
    if not value:
        name = options.token_env or "review.token_env="
        remedy = f"export {name}=...; {options.url} shows it under Account & Settings."
        raise ReviewError(f"no token for {options.url}: environment variable {name} is not set", remedy)
    return value


def read_token(home: Path) -> str:
    """The token of the embedded server's user.

    Raises:
        ReviewError: the server was never started, or its file is damaged.
    """
    return read_credentials(home).token


def read_credentials(home: Path) -> Credentials:
    """User, password and token of the embedded server. Raises ReviewError as :func:`read_token`."""
    path = credentials_file(home)
    try:
        return Credentials(**json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise ReviewError(
            f"The embedded Label Studio has no token yet: {path} does not exist", "Start it once with tsad studio."
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise ReviewError(
            f"{path} cannot be read ({type(error).__name__})",
            "Restore it from a backup; or move the whole folder away and run tsad studio for a new, empty server.",
        ) from error


def describe(options: LabelStudioOptions, home: Path) -> str:
    """One phrase on the server: where it runs, or why it cannot be reached. Takes at most three seconds."""
    if not options.url:
        state = status(home)
        if state is None:
            return "embedded, not running (tsad studio starts it)"
        return f"embedded, {'running' if answers(state['url']) else 'starting'} at {state['url']}"
    url = options.url.rstrip("/")
    return f"{url} answers" if answers(url, 3.0) else f"{url} does not answer"


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether a Label Studio says at this URL that it is up."""
    try:
        # Never through a proxy: the embedded server is on this machine.
        here = is_own(urlsplit(url).hostname or "")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({} if here else None))
        with opener.open(f"{url}/health", timeout=timeout) as answer:
            return b"UP" in answer.read(200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def require_package() -> None:
    """Refuse where Label Studio is not installed.

    Asked of the installed packages, not by importing: a checkout's folder ``label_studio/`` would import.

    Raises:
        MissingPackageError: it is not.
    """
    try:
        importlib.metadata.version("label-studio")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingPackageError(
            "The embedded Label Studio is not installed",
            f"Run: {install_extra('studio')}; or name a running server: review.url=https://...",
        ) from error


def command(port: int, address: str = HOST) -> list[str]:
    """How the server is started; nothing secret in it, since every user of the machine can list it."""
    run = f"{GUARD}\nfrom label_studio.server import main\nsys.exit(main())"
    return [
        sys.executable, "-c", run, "start", "--no-browser", "--internal-host", address, "--port", str(port),
        "--log-level", "WARNING",
    ]


def environment(place: Path, keys: Credentials, port: int, names: Sequence[str] = (HOST,)) -> dict[str, str]:
    """The server's environment: its data, its user, who may ask; everything that would phone home is switched off.

    Args:
        names: what it is reached at; the first one is written into the links it hands out.
    """
    private = all(map(is_loopback, names))
    own = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(place / "data"),
        "LABEL_STUDIO_USERNAME": keys.user,
        "LABEL_STUDIO_PASSWORD": keys.password,
        "LABEL_STUDIO_USER_TOKEN": keys.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        # Answers to no other name: a page elsewhere could point one of its own at this machine.
        "LABEL_STUDIO_ALLOWED_HOSTS": ",".join(dict.fromkeys((*names, HOST, "localhost"))),
        "LABEL_STUDIO_CSRF_TRUSTED_ORIGINS": ",".join(f"http://{name}:{port}" for name in dict.fromkeys(names)),
        # Who is alone with it may connect it to what else runs here; colleagues shall not reach that through it.
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": str(not private).lower(),
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": str(not private).lower(),
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_FEATURE_FLAGS_OFFLINE": "true",
        "LABEL_STUDIO_DEBUG": "false",
        "DEBUG": "false",
    }
    if not private:
        own["LABEL_STUDIO_HOST"] = f"http://{names[0]}:{port}"
    # Somebody else's settings, a PostgreSQL for instance, must not leak into the embedded server.
    foreign = ("LABEL_STUDIO_", "HEARTEX_", "DJANGO_", "POSTGRE_", "DATABASE_")
    inherited = {
        k: v for k, v in os.environ.items()
        if not k.startswith(foreign) and not k.upper().endswith("_PROXY") and k not in ("HOST", "PYTHONPATH")
    }
    return {**inherited, **own}


def _credentials(home: Path) -> Credentials:
    path = credentials_file(home)
    if path.exists():
        return read_credentials(home)
    made = Credentials(USER, secrets.token_urlsafe(16), secrets.token_hex(20))
    _write(path, {"user": made.user, "password": made.password, "token": made.token})
    return made


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON for the owner's eyes alone, whole or not at all."""
    scratch = path.with_suffix(".tmp")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(value, file)
    scratch.replace(path)


def _ports(home: Path, wanted: int) -> tuple[int, ...]:
    """The port asked for, or those to try before any free one."""
    if wanted:
        return (wanted,)
    with contextlib.suppress(OSError, ValueError, KeyError):
        return int(json.loads((folder(home) / "server.json").read_text())["port"]), 8080
    return (8080,)


def _created(pid: int) -> float | None:
    """When a process was started; ``None`` where it has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def _wait(state: Mapping[str, Any], log: Path, seconds: float, context: Context) -> None:
    begun = time.monotonic()
    with context.progress.task("waiting for Label Studio (its first start takes a minute or two)"):
        while not answers(str(state["url"])):
            context.control.safe_point()
            if _created(int(state["pid"])) is None:
                raise ReviewError(f"Label Studio ended while starting: {_last_line(log)}", f"See its log: {log}")
            if time.monotonic() - begun > seconds:
                raise ReviewError(f"Label Studio did not answer within {seconds:.0f} s", f"See its log: {log}")
            time.sleep(0.5)


def _last_line(log: Path) -> str:
    lines = [x for x in log.read_text(errors="replace").splitlines() if x.strip()] if log.exists() else []
    return lines[-1][:200] if lines else "no message"
