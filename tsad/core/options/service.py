"""``service``: how the HTTP service and its jobs work on this machine. Not part of an iteration's frozen config."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tsad.core.option_model import Options, Refusal


class ServiceOptions(Options):
    """``service``: how the HTTP service and its jobs work on this machine. Not part of an iteration's frozen config."""

    queue: str  # "" = SQLite in the store; redis://HOST:PORT/NUMBER
    cpu_jobs: int = Field(ge=0)
    pending: int = Field(ge=1)
    attempts: int = Field(ge=1)
    stop_seconds: float = Field(gt=0)
    spare: bool
    roots: list[str]
    upload_gb: float = Field(gt=0)
    models_mb: float = Field(gt=0)
    warm: bool
    stream_points: int = Field(ge=100)
    history_days: float = Field(ge=0)
    clients: int = Field(ge=1)
    log_mb: float = Field(gt=0)
    logs: int = Field(ge=0)
    mlflow_url: str

    @field_validator("mlflow_url")
    @classmethod
    def _a_page(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise Refusal("{key} is {0}", "It starts with http:// or https://.", repr(url))
        return url

    @field_validator("queue")
    @classmethod
    def _a_queue(cls, queue: str) -> str:
        if queue and urlsplit(queue).scheme not in ("redis", "rediss", "unix"):
            found = "{key} is no address of Redis"
            raise Refusal(found, 'Give redis://HOST:PORT/0, ${oc.env:REDIS_URL}, or "" for SQLite in the store.')
        return queue
