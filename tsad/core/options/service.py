"""``service``: how the HTTP service and its jobs work on this machine. Not part of an iteration's frozen config."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tsad.core.option_model import Options, Refusal
from tsad.core.urls import http_address


class Schedule(Options):
    """One of ``service.schedules``: a job that is submitted by the clock."""

    cron: str
    verb: str
    overrides: list[str] = Field(default=[])

    @field_validator("cron")
    @classmethod
    def _a_time(cls, cron: str) -> str:
        try:
            due_at(cron, datetime.now(UTC))
        except ValueError as error:
            found = "{key} is {0}, which is no time of cron: {1}"
            remedy = "Give minute, hour, day, month and weekday, e.g. '0 6 * * 1-5'."
            raise Refusal(found, remedy, cron, error) from None
        return cron


def due_at(cron: str, minute: datetime) -> bool:
    """Whether a time of cron is that minute, UTC; where both day and weekday are given, both have to fit.

    Raises:
        ValueError: it is no time of cron.
    """
    from huey import crontab

    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(f"it has {len(fields)} fields, not 5")
    minutes, hours, days, months, weekdays = fields
    return bool(crontab(minutes, hours, days, months, weekdays, strict=True)(minute))


class ServiceOptions(Options):
    """``service``: how the HTTP service and its jobs work on this machine. Not part of an iteration's frozen config."""

    queue: str  # "" = SQLite in the store; redis://HOST:PORT/NUMBER
    cpu_jobs: int = Field(ge=0)
    pending: int = Field(ge=1)
    attempts: int = Field(ge=1)
    stop_seconds: float = Field(gt=0)
    spare: bool
    schedules: list[Schedule]
    roots: list[str]
    upload_gb: float = Field(gt=0)
    models_mb: float = Field(gt=0)
    warm: bool
    stream_points: int = Field(ge=100)
    streams: int = Field(ge=1)
    history_days: float = Field(ge=0)
    history_mb: float = Field(gt=0)
    clients: int = Field(ge=1)
    log_mb: float = Field(gt=0)
    logs: int = Field(ge=0)
    mlflow_url: str

    @field_validator("mlflow_url")
    @classmethod
    def _a_page(cls, url: str) -> str:
        return http_address(url, "https://mlflow.example.org", "It is drawn on pages: people log in there themselves.")

    @field_validator("queue")
    @classmethod
    def _a_queue(cls, queue: str) -> str:
        if queue and urlsplit(queue).scheme not in ("redis", "rediss", "unix"):
            found = "{key} is no address of Redis"
            raise Refusal(found, 'Give redis://HOST:PORT/0, ${oc.env:REDIS_URL}, or "" for SQLite in the store.')
        return queue
