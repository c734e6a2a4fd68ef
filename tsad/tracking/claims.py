"""Who may work: the loop's file lock, write-once claims of steps, and heartbeats for other hosts.

A lock is freed by the kernel when its process dies; who holds it shows a token. An MLflow parameter is write-once, so
of all processes that log ``claim.<STEP>.<attempt>`` one wins. The lock settles who is alive on this host; across hosts,
which share the tracking server but no file system, a claim counts as dead once its heartbeat is older than the lease.
Host clocks may differ by less than the lease.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tsad.core.errors import ClaimError, TrackingError
from tsad.files.hashing import digest_of_text
from tsad.tracking.guard import Client

PROC = Path("/proc")
_START = 21  # of a process's start in its stat file, from 0 (proc(5), starttime)


@dataclass(frozen=True)
class Claim:
    """One attempt at one step.

    Attributes:
        place: host and lock folder; two processes of one place cannot both hold the loop's lock.
        token: unique per attempt.
        at: seconds since 1970 UTC, by the claimant's clock.
    """

    place: str
    pid: int
    token: str
    at: float

    def __str__(self) -> str:
        return f"{self.place} {self.pid} {self.token} {self.at:.3f}"

    @classmethod
    def parse(cls, text: str) -> Claim:
        place, pid, token, at = text.rsplit(" ", 3)
        return cls(place, int(pid), token, float(at))

    @property
    def host(self) -> str:
        return self.place.rpartition("/")[0]


def this_place(locks: Path) -> str:
    """``host/hash of the lock folder``: processes with other lock folders do not exclude each other."""
    return f"{socket.gethostname()}/{digest_of_text(str(locks))[:6]}"


def file_stem(name: str) -> str:
    """The loop's name as a file name of any system; names that do not fit are told apart by a hash."""
    plain = re.sub(r"[^\w. -]", "_", name).rstrip(". ")
    if plain == name and len(name.encode()) <= 100:
        return name
    return f"{plain[:30]}-{digest_of_text(name)[:8]}"


class Token:
    """What shows that the loop's lock is held: handed on by whoever took it, of no use once the lock was let go.

    Attributes:
        busy: tokens of claims and ids of runs that are being worked on under it; several threads may share a token.
    """

    def __init__(self) -> None:
        self.busy: set[str] = set()
        self._pid, self._given_back = os.getpid(), False

    @property
    def valid(self) -> bool:
        """Whether the lock is held; a forked child is not its holder."""
        return not self._given_back and self._pid == os.getpid()

    def give_back(self) -> None:
        """The lock is let go."""
        self._given_back = True

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """A claim or run counts as being worked on while the block runs."""
        self.busy.add(name)
        try:
            yield
        finally:
            self.busy.discard(name)


class LoopLock:
    """The loop's OS file lock: whoever holds its token alone works on the loop, of all threads and processes here.

    Beside ``<loop>.lock`` lies ``<loop>.json`` with host, pid and time of the holder, for messages only.
    """

    def __init__(self, folder: Path, name: str) -> None:
        stem = file_stem(name)
        self._path, self._info, self._loop = folder / f"{stem}.lock", folder / f"{stem}.json", name

    @contextmanager
    def hold(self, timeout: float = 0) -> Iterator[Token]:
        """Hold the lock while the block runs; yields the token that shows it.

        Raises:
            ClaimError: another thread or process holds it after ``timeout`` seconds; the message names it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self._path, thread_local=False)
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            raise ClaimError(
                f"Loop {self._loop} is being worked on by {self._holder()}",
                "Wait until it stops, or end that process: its lock is freed with it.",
            ) from error
        token = Token()
        try:
            self._announce()
            yield token
        finally:
            token.give_back()
            lock.release()

    def _announce(self) -> None:
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        draft = self._info.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": since}))
        draft.replace(self._info)

    def _holder(self) -> str:
        try:
            info = json.loads(self._info.read_text())
            return f"process {info['pid']} on {info['host']} since {info['since']}"
        except (OSError, ValueError, KeyError):  # it has the lock but has not said its name yet
            return "another process"


def claims_of(params: Mapping[str, str], step: str) -> list[tuple[int, Claim]]:
    """(attempt, claim) pairs of a step from the parameters of the run that holds them, first attempt first."""
    prefix = f"claim.{step}."
    found = {int(k.removeprefix(prefix)): Claim.parse(v) for k, v in params.items() if k.startswith(prefix)}
    return sorted(found.items())


def check_dead(
    step: str, claim: Claim, tags: Mapping[str, str], place: str, lease: float, busy: Collection[str] = ()
) -> None:
    """Make sure that nobody works under an open claim any more; the loop's lock must be held.

    Args:
        busy: tokens of the claims that are being worked on under that lock.

    Raises:
        ClaimError: this process works on it already, or another host does and its heartbeat is fresh.
    """
    if claim.token in busy:
        raise ClaimError(f"Step {step} is already being worked on by this process ({claim.pid})")
    if claim.place == place:
        return  # its process held the lock that we hold now, so it is gone
    token, _, beat = tags.get(f"heartbeat.{step}", "").partition(" ")
    last = max(claim.at, float(beat)) if token == claim.token else claim.at
    left = lease - (time.time() - last)
    if left > 0:
        raise ClaimError(
            f"Step {step} is being worked on by process {claim.pid} on {claim.host}",
            f"Wait for it; if that host is gone, its claim opens in {left:.0f} s (loop.lease={lease:g}).",
        )


@contextmanager
def claimed(client: Client, run_id: str, step: str, attempt: int, place: str, lease: float) -> Iterator[Claim]:
    """Claim attempt number ``attempt`` of a step and keep its heartbeat going while the block runs.

    Raises:
        ClaimError: another process claimed the attempt first.
    """
    claim = Claim(place, os.getpid(), uuid.uuid4().hex[:12], time.time())
    key = f"claim.{step}.{attempt}"
    try:
        client.log_param(run_id, key, str(claim))
    except TrackingError as error:
        # whatever the store's words for "write-once": what counts is who is written there now
        winner = client.get_run(run_id).data.params.get(key)
        if winner is None:
            raise
        if winner != str(claim):
            other = Claim.parse(winner)
            raise ClaimError(f"Step {step} was just claimed by process {other.pid} on {other.host}") from error
    with Heartbeat(lambda: client.set_tag(run_id, f"heartbeat.{step}", f"{claim.token} {time.time():.3f}"), lease):
        yield claim


def this_process() -> str:
    """Pid and start of this process: a pid is used again, the two together are not."""
    return process_name(os.getpid())


def process_name(pid: int) -> str:
    """Pid and start of a process of this host. Raises psutil.NoSuchProcess: there is none."""
    return f"{pid} {_start(pid)}"


def process_lives(name: str) -> bool:
    """Whether the process of this host that :func:`this_process` named is there still."""
    import psutil

    pid, _, since = name.partition(" ")
    try:
        return _start(int(pid)) == since
    except (psutil.NoSuchProcess, ValueError):
        return False


def _start(pid: int) -> str:
    """When a process began: where there is ``/proc``, by the clock ticks of this boot, which no one sets; else by the
    time of day."""
    import psutil

    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (PROC / "sys" / "kernel" / "random" / "boot_id").read_text()[:8]
    except OSError:
        return f"{psutil.Process(pid).create_time():.2f}"
    return f"{boot}-{fields[_START - 2]}"  # those behind the name, which may hold anything


class Heartbeat:
    """A thread that says "still alive" every third of the lease; an outage of the store is waited out.

    A worker that could not beat for a whole lease may have lost its claim: it asks before it finishes its step.
    """

    def __init__(self, beat: Callable[[], object], lease: float) -> None:
        self._beat, self._pause = beat, lease / 3
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tsad-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                self._beat()
            except TrackingError:
                continue  # the step's own next call to the store reports the outage
