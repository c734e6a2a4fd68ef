"""Loops over HTTP: where each stands, its iterations side by side, the versions of its model."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath

from tsad.core.errors import UnknownLoopError
from tsad.core.results import Result
from tsad.core.urls import by_http, without_login
from tsad.loop.report import IterationDone, iterations_done
from tsad.loop.status import LoopStanding, StoreStatus, store_status
from tsad.service.errors import documented
from tsad.service.site import Site

DISK_SECONDS = 60.0  # between two measurements of the disk
SECONDS = 5.0  # for which one look at the store serves everybody who asks
LoopName = Annotated[str, InPath(max_length=200, description="as GET /loops lists it")]


@dataclass(frozen=True, eq=False)
class LoopPage(Result):
    """A loop, and its completed iterations, oldest first.

    Attributes:
        experiment: its address in the MLflow UI; "" where nothing says where that is.
    """

    standing: LoopStanding
    iterations: tuple[IterationDone, ...]
    experiment: str


@dataclass(eq=False)
class Looking:
    """The store as it is, looked at once for all who ask within some seconds; safe to use from threads."""

    site: Site
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _at: float = float("-inf")
    _measure: float = float("-inf")
    _seen: StoreStatus | None = None

    def status(self) -> StoreStatus:
        """Where everything stands. Raises TsadError: the store cannot be read."""
        seen = self._seen
        if seen is not None and time.monotonic() - self._at <= SECONDS:
            return seen
        # Somebody looks already, and a slow Label Studio may keep it for minutes: what was seen before will do.
        if not self._lock.acquire(blocking=seen is None):
            assert seen is not None
            return seen
        try:
            if self._seen is None or time.monotonic() - self._at > SECONDS:
                self._seen = self._look()
                self._at = time.monotonic()
            return self._seen
        finally:
            self._lock.release()

    def _look(self) -> StoreStatus:
        """The disk is measured more seldom: a store may hold a hundred thousand files."""
        before = self._seen.disk if self._seen is not None and time.monotonic() < self._measure else None
        if before is None:
            self._measure = time.monotonic() + DISK_SECONDS
        return store_status(self.site.bench, before or None)

    def loop(self, name: str) -> LoopPage:
        """One loop with its iterations.

        Raises:
            UnknownLoopError: the store has none of that name.
        """
        standing = next((one for one in self.status().loops if one.name == name), None)
        if standing is None:
            raise UnknownLoopError(f"there is no loop {name!r}", "GET /loops lists those that there are.")
        from tsad.tracking.runs import LoopStore
        from tsad.tracking.store import open_store

        bench = self.site.bench
        loop = LoopStore(open_store(bench.tracking, bench.home), name, bench.loop.lease)
        return LoopPage(standing, iterations_done(loop), self.address(f"experiments/{loop.experiment_id}"))

    def address(self, route: str) -> str:
        """A page of the MLflow UI; "" where neither ``service.mlflow_url`` nor a server's address says where it is.

        Without the login that a server's address may hold: people have their own.
        """
        uri = self.site.bench.tracking.uri
        base = self.site.options.mlflow_url or (without_login(uri) if by_http(uri) else "")
        return f"{base}/#/{route}" if base else ""


def loops(looking: Looking) -> APIRouter:
    """``/status`` and everything below ``/loops``."""
    router = APIRouter(tags=["loops"])

    @router.get("/status", responses=documented(401, 503))
    def status() -> dict[str, Any]:
        """What is connected, where each loop stands, what waits for whom, the disk used; some seconds old at most."""
        return looking.status().to_json()

    @router.get("/loops", responses=documented(401, 503))
    def every() -> dict[str, Any]:
        """Every loop of the store, oldest first."""
        found = [one.to_json() for one in looking.status().loops]
        return {"items": found, "total": len(found)}

    @router.get("/loops/{name}", responses=documented(401, 404, 422, 503))
    def one(name: LoopName) -> dict[str, Any]:
        """One loop, and its completed iterations with their figures and verdicts."""
        return looking.loop(name).to_json()

    return router
