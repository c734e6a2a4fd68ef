"""What the service runs on: versions of packages, devices, disk, memory; nothing heavy is imported to tell."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tsad import __version__
from tsad.core.results import Result
from tsad.core.times import format_time
from tsad.service.answers import answer
from tsad.service.errors import documented

if TYPE_CHECKING:
    from pathlib import Path

    from tsad.service.site import Site

PACKAGES = (
    "mlflow", "label-studio", "label-studio-sdk", "torch", "transformers", "peft", "accelerate", "bitsandbytes",
    "numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "numba", "hydra-core", "pydantic", "fastapi", "starlette",
    "uvicorn", "huey", "redis", "python-multipart", "apache-iotdb", "sqlalchemy",
)  # fmt: skip
SECONDS = 5.0  # for which one look at the devices serves everybody who asks; and nvidia-smi may take
MIB = 1 << 20
ASKED = ("index", "name", "memory.total", "memory.used", "utilization.gpu", "driver_version")


@dataclass(frozen=True, eq=False)
class Gpu(Result):
    """A GPU as nvidia-smi tells of it; ``None`` for what it does not tell.

    Attributes:
        memory, used: bytes. busy: share of the time, 0..1.
    """

    index: int | None
    name: str
    memory: int | None
    used: int | None
    busy: float | None
    driver: str


@dataclass(frozen=True, eq=False)
class SystemInfo(Result):
    """What the service runs on.

    Attributes:
        packages: version of each; ``None`` = not installed.
        load: processes that ran or waited, in the mean of 1, 5 and 15 minutes.
        memory, memory_free, process_memory: bytes; ``process_memory`` of the service's own process.
        disk, disk_free: bytes, where the store lies; ``store`` its folder.
        started: of the process, ISO 8601 in UTC.
    """

    version: str
    python: str
    platform: str
    host: str
    pid: int
    started: str
    cpus: int
    load: tuple[float, ...]
    memory: int
    memory_free: int
    process_memory: int
    store: str
    disk: int
    disk_free: int
    packages: Mapping[str, str | None]
    devices: tuple[Gpu, ...]


class Devices:
    """The GPUs, looked at once in a while; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock, self._at = threading.Lock(), float("-inf")
        self._found: tuple[Gpu, ...] = ()

    def now(self) -> tuple[Gpu, ...]:
        """As they were a moment ago."""
        with self._lock:
            if time.monotonic() - self._at > SECONDS:
                self._found, self._at = devices(), time.monotonic()
            return self._found


def system(site: Site) -> APIRouter:
    """``/system/info``."""
    router, found = APIRouter(tags=["operation"]), Devices()

    @router.get("/system/info", responses=documented(401))
    def info() -> JSONResponse:
        """Versions, devices, disk and memory."""
        return answer(system_info(site.home, found.now()))

    return router


def system_info(home: Path, found: tuple[Gpu, ...]) -> SystemInfo:
    """What this process runs on."""
    import psutil

    process, memory = psutil.Process(), psutil.virtual_memory()
    place = next(folder for folder in (home, *home.parents) if folder.is_dir())
    disk = shutil.disk_usage(place)
    return SystemInfo(
        __version__, platform.python_version(), platform.platform(), socket.gethostname(), os.getpid(),
        format_time(int(process.create_time()) * 10**9), os.cpu_count() or 1, tuple(os.getloadavg()), memory.total,
        memory.available, process.memory_info().rss, str(home), disk.total, disk.free, versions(), found,
    )  # fmt: skip


def versions() -> dict[str, str | None]:
    """Installed versions by name, read from what was installed and not from what is imported."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def devices() -> tuple[Gpu, ...]:
    """The GPUs as nvidia-smi tells of them; none where it is not there, or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    words = [program, f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in told.stdout.splitlines()]
    return tuple(_gpu(row) for row in rows if told.returncode == 0 and len(row) == len(ASKED))


def _gpu(row: list[str]) -> Gpu:
    index, name, total, used, busy, driver = row
    memory, taken, share = (_number(text) for text in (total, used, busy))
    return Gpu(
        _number(index), name, None if memory is None else memory * MIB, None if taken is None else taken * MIB,
        None if share is None else share / 100, driver,
    )  # fmt: skip


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
