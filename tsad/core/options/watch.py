"""``watch``: when a loop begins its next turn by itself. Not part of an iteration's frozen config."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from tsad.core.option_model import Options, Refusal
from tsad.core.options.duration import Duration
from tsad.core.urls import http_address


class WatchOptions(Options):
    """``watch``: when a loop begins its next turn by itself. Not part of an iteration's frozen config."""

    poll_seconds: float = Field(gt=0)
    windows: int = Field(ge=0)  # newly judged ones to learn from; 0 = review.min_reviewed
    acceptance_fall: float = Field(ge=0, le=1)  # of the share accepted since the last turn; 0 = never
    judged: int = Field(ge=1)  # proposals in either turn before the shares are compared
    agreement: float = Field(ge=0, le=1)  # least interval F1 between people
    pause: Duration | None  # least time between two turns
    new_data: bool  # only once the source has changed
    webhook: bool  # Label Studio tells of answers
    host: str
    port: int = Field(ge=0, le=65535)  # 0 = any free one
    url: str  # how Label Studio reaches it; "" = http://HOST:PORT
    secret_env: str  # name of the environment variable that holds the webhook's secret

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return http_address(url, "https://tsad.example.org", "The webhook's secret travels in a header: leave it out.")

    @model_validator(mode="after")
    def _heard_somewhere(self) -> WatchOptions:
        if self.url and not self.webhook:
            raise Refusal("{url} is set but {webhook} is false: nobody listens there", "Set {webhook}=true.")
        if self.webhook and not self.url and self.host in ("0.0.0.0", "::"):
            found = "{host} is {0}, which nobody can call"
            raise Refusal(found, "Say how Label Studio reaches it: {url}=http://...", self.host)
        return self
