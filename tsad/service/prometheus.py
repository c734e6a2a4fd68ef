"""Figures of the service for Prometheus: requests, latencies, memory, and what its parts count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tsad.core.errors import TsadError
from tsad.service.errors import documented
from tsad.service.requests import RequestDone

SECONDS = 10.0  # that what a part counted stands: its counting may ask the store
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Gauge:
    """Something that a part of the service counts.

    Attributes:
        name: in Prometheus' way, e.g. ``tsad_jobs``. label: what its values are told apart by; "" = there is one.
    """

    name: str
    about: str
    label: str
    values: Mapping[str, float]


@dataclass(eq=False)
class Counting:
    """What a part counts, asked for at most every few seconds."""

    part: str
    count: Callable[[], Iterable[Gauge]]
    known: tuple[Gauge, ...] = ()
    up: bool = False
    at: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)

    def gauges(self) -> tuple[Gauge, ...]:
        """The newest counts; none while the part cannot count."""
        with self.lock:
            if time.monotonic() - self.at >= SECONDS:
                try:
                    self.known, self.up = tuple(self.count()), True
                except TsadError:
                    self.known, self.up = (), False
                self.at = time.monotonic()
            return self.known


class Figures:
    """All figures of one service.

    Args:
        parts: by the name of a part what counts its things; it may block and may fail.
    """

    def __init__(self, parts: Mapping[str, Callable[[], Iterable[Gauge]]]) -> None:
        self._parts = [Counting(name, count) for name, count in parts.items()]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tsad_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "tsad_request_seconds", "Seconds until a request was answered", ["route"], buckets=BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def answered(self, request: RequestDone) -> None:
        """Count a request."""
        self._requests.labels(request.method, request.route, str(request.status)).inc()
        self._seconds.labels(request.route).observe(request.seconds)

    def describe(self) -> list[Metric]:
        """See prometheus_client: nothing is counted only to learn its name."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        gauges = [gauge for part in self._parts for gauge in part.gauges()]
        up = {part.part: float(part.up) for part in self._parts}
        for gauge in (*gauges, Gauge("tsad_up", "Whether a part of the service can count", "part", up)):
            family = GaugeMetricFamily(gauge.name, gauge.about, labels=[gauge.label] if gauge.label else [])
            for name, value in gauge.values.items():
                family.add_metric([name] if gauge.label else [], value)
            yield family

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


def prometheus(figures: Figures) -> APIRouter:
    """The endpoint that Prometheus asks."""
    router = APIRouter(tags=["operation"])

    text = {"description": "In Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}

    @router.get("/metrics", response_class=Response, responses={200: text, **documented(401)})
    def metrics() -> Response:
        """Requests by route and status, latencies, jobs by state, memory of the process."""
        return Response(figures.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
