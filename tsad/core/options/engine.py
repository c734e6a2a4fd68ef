"""``engine``: what runs a language model: this process, or a server that is asked over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from tsad.core.option_model import Options
from tsad.core.urls import http_address

EXAMPLE = "http://127.0.0.1:8000/v1"  # of an address
# What versions and configs stand for that are older than the group.
IN_PROCESS: dict[str, Any] = {
    "kind": "transformers", "url": "", "model": "", "token_env": "", "timeout": 60.0, "retries": 2, "logprobs": True,
}  # fmt: skip
# How a server is reached, which is no part of a version: where it is, and how patiently it is asked.
REACHED: dict[str, Any] = {key: IN_PROCESS[key] for key in ("url", "token_env", "timeout", "retries")}


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
        return http_address(url, EXAMPLE, "Put the token into the variable that token_env names.")


def without_address(engine: Mapping[str, Any]) -> dict[str, Any]:
    """What a registered version keeps of its engine: which model answered, not where, nor how long it was waited for.

    Who can write to a store must not choose where a token is sent; and servers move. Its answers are the same however
    often they were asked for, so what is kept of them and the version's hash do not depend on it.
    """
    return {**engine, **REACHED}
