"""``engine``: what runs a language model: this process, or a server that is asked over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tsad.core.option_model import Options, Refusal

# What versions and configs stand for that are older than the group.
IN_PROCESS: dict[str, Any] = {
    "kind": "transformers", "url": "", "model": "", "token_env": "", "timeout": 60.0, "retries": 2, "logprobs": True,
}  # fmt: skip
ADDRESS: dict[str, Any] = {"url": "", "token_env": ""}  # of a version that is kept: where the server is, is not its own


class EngineOptions(Options):
    """``engine``: what runs a language model.

    Attributes:
        kind: ``transformers`` = this process; ``openai`` = a server that speaks OpenAI's API (vLLM, llama.cpp, ...).
        url: of the server, up to and with ``/v1``.
        model: name under which it serves the model.
        token_env: name of the environment variable that holds its token; "" = none is asked for.
        timeout: seconds that one answer may take.
        retries: how often a question is put again after a fault that may pass.
        logprobs: whether the server is to give the probabilities of its tokens, from which confidences are made.
    """

    kind: Literal["transformers", "openai"]
    url: str
    model: str
    token_env: str
    timeout: float = Field(gt=0, le=3600)
    retries: int = Field(ge=0, le=10)
    logprobs: bool

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if "@" in url or parts.query:  # before anything is said of it: it may hold a password
            raise Refusal("{key} holds a login or a query", "Put the token into the variable that token_env names.")
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise Refusal("{key} is {0}", "It is an address such as http://127.0.0.1:8000/v1.", url)
        return url.rstrip("/")


def without_address(engine: Mapping[str, Any]) -> dict[str, Any]:
    """What a registered version keeps of its engine: which model answered, not where.

    Who can write to a store must not choose where a token is sent; and servers move.
    """
    return {**engine, **ADDRESS}
