"""One server that speaks OpenAI's API: questions to it, every fault one clear line, waits and retries bounded."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

import httpx

from tsad.core.errors import EngineError
from tsad.core.hosts import is_loopback
from tsad.core.option_model import Refusal
from tsad.core.options.engine import EXAMPLE, EngineOptions
from tsad.core.urls import http_address

log = logging.getLogger("tsad")
CONNECT_SECONDS = 5.0
LARGEST = 16 << 20  # bytes of an answer
PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before a question is put again, doubled each time
SHOWN = 200  # signs of an answer that a message quotes
URL_VARIABLE, TOKEN_VARIABLE = "TSAD_ENGINE_URL", "TSAD_ENGINE_TOKEN"  # where no config says: a version by itself
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)  # what may be answered otherwise the next time


class PassingError(EngineError):
    """A fault that may be over when the question is put again."""


class AbsentError(EngineError):
    """A part of the API that this server does not have."""


class Server:
    """A connection to a server; closed at the end of a ``with``. Used by several threads at once.

    Args:
        asked: name of the model that is asked; of an adapter that of its own.

    Raises:
        EngineError: from every method: no address, nobody there, refused, no answer, an answer that is none.
    """

    def __init__(self, engine: EngineOptions, asked: str) -> None:
        self.engine, self.asked = engine, asked
        self.url = engine.url or _url_of_environment()
        if not self.url:
            raise EngineError(
                f"nobody says where the server is that has the model {engine.model}",
                f"Give engine=openai engine.url=http://HOST:PORT/v1, or set {URL_VARIABLE}.",
            )
        timeout = httpx.Timeout(engine.timeout, connect=min(CONNECT_SECONDS, engine.timeout))
        self._http = httpx.Client(
            base_url=self.url, timeout=timeout, headers=self._headers(),
            trust_env=not is_loopback(httpx.URL(self.url).host),  # a company's proxy knows nothing of this machine
        )

    def _headers(self) -> dict[str, str]:
        """The token, where there is one. A version that says nothing of its server takes both from the environment."""
        name = self.engine.token_env or ("" if self.engine.url else TOKEN_VARIABLE)
        token = os.environ.get(name, "").strip() if name else ""
        if self.engine.token_env and not token:
            raise EngineError(
                f"the environment variable {name} (engine.token_env) is not set",
                "Put the server's token into it, or set engine.token_env= where it asks for none.",
            )
        return {"Authorization": f"Bearer {token}"} if token else {}

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def check(self) -> None:
        """Make sure that it has the model; one that lists none is taken at its word."""
        try:
            told = self._again("GET", "models", None)
        except AbsentError:
            return
        names = [str(one.get("id")) for one in told.get("data") or () if isinstance(one, Mapping)]
        if names and self.asked not in names:
            raise self._unknown(f"it has {', '.join(names[:5])}")

    def chat(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The first choice of an answer: ``message``, ``logprobs``, ``finish_reason``."""
        told = self._again("POST", "chat/completions", {"model": self.asked, **body})
        choices = told.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        message = first.get("message") if isinstance(first, Mapping) else None
        if not isinstance(first, Mapping) or not isinstance(message, Mapping) or not isinstance(
            message.get("content"), str
        ):  # fmt: skip
            raise EngineError(
                f"the server at {self.url} answered JSON without an answer in it: {_short(json.dumps(told))}",
                "See whether engine.url leads to a server that speaks OpenAI's API.",
            )
        answering = told.get("model")
        if answering is not None and answering != self.asked:
            raise EngineError(
                f"the server at {self.url} answered with the model {answering}, asked was {self.asked}",
                "Set engine.model to the name of the model that is meant, as the server lists it.",
            )
        return first

    # ---- one question

    def _again(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """An answer, asked for as often as the options allow."""
        pause = PAUSE
        for left in range(self.engine.retries, -1, -1):
            try:
                return self._once(method, path, body)
            except PassingError as error:
                if not left:
                    tried = self.engine.retries + 1
                    often = f"{error.found} ({tried} times)" if tried > 1 else error.found
                    raise EngineError(often, error.remedy) from error
                log.info("%s; once more in %.1f s", error.found, pause)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        try:
            status, text = self._received(method, path, body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise PassingError(
                f"no server answers at {self.url} ({error})", "Start it, or set engine.url to where it is."
            ) from error
        except httpx.TimeoutException as error:
            raise self._slow() from error
        except httpx.HTTPError as error:
            raise PassingError(
                f"the server at {self.url} broke off in the middle of its answer ({error})", "See its log."
            ) from error
        if status == 200:
            return self._content(text)
        raise self._refusal(status, text, path)

    def _received(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, str]:
        """Status and text; however slowly they drip, not for longer than the options allow, nor more than fits."""
        end, received = time.monotonic() + self.engine.timeout, b""
        with self._http.stream(method, path, json=body) as answer:
            for part in answer.iter_bytes():
                received += part
                if len(received) > LARGEST:
                    raise EngineError(f"the server at {self.url} answers without an end", "See its log.")
                if time.monotonic() > end:
                    raise self._slow()
            return answer.status_code, received.decode("utf-8", "replace")

    def _content(self, text: str) -> Mapping[str, Any]:
        try:
            content = json.loads(text)
        except ValueError as error:
            what = _nature(text)
            raise PassingError(
                f"the server at {self.url} answered {what}: {_short(text)}",
                "See whether engine.url leads to a server that speaks OpenAI's API, and past no proxy's page.",
            ) from error
        if not isinstance(content, Mapping):
            raise EngineError(f"the server at {self.url} answered no JSON object: {_short(text)}", "See engine.url.")
        return content

    def _refusal(self, status: int, text: str, path: str) -> EngineError:
        told = _message(text)
        if status in (401, 403):
            return EngineError(
                f"the server at {self.url} refused the token ({status}{told})",
                "Put a valid one into the environment variable that engine.token_env names.",
            )
        if status == 404 and path == "models":
            return AbsentError(f"the server at {self.url} lists no models")
        if status == 404:
            return self._unknown(f"404{told}")
        if status in PASSING:
            return PassingError(f"the server at {self.url} answered {status}{told}", "See its log.")
        return EngineError(
            f"the server at {self.url} does not take the question ({status}{told})",
            "Where it is too long for the model: lower detector.length or detector.most_points. Where the schema is "
            "not taken: detector.decoding=free; where probabilities are not: engine.logprobs=false.",
        )

    def _unknown(self, told: str) -> EngineError:
        adapter = "" if self.asked == self.engine.model else (
            f" For the adapter of a version start vLLM with --enable-lora --lora-modules {self.asked}=FOLDER (FOLDER: "
            "the version's artifacts/adapter)."
        )  # fmt: skip
        return EngineError(
            f"the server at {self.url} does not have the model {self.asked}: {told}",
            f"Set engine.model to one that it has, or serve this one under that name.{adapter}",
        )

    def _slow(self) -> PassingError:
        return PassingError(
            f"the server at {self.url} gave no answer within {self.engine.timeout:g} s",
            "Raise engine.timeout, lower detector.batch_size or detector.length, or see what keeps it.",
        )


def _url_of_environment() -> str:
    """The address for versions that no config goes with; "" for none."""
    try:
        return http_address(os.environ.get(URL_VARIABLE, ""), EXAMPLE, f"Put the token into {TOKEN_VARIABLE}.")
    except Refusal as error:
        raise EngineError(*error.in_words({"key": f"the environment variable {URL_VARIABLE}"})) from error


def _nature(text: str) -> str:
    start = text.lstrip()[:1]
    if not start:
        return "nothing"
    if start == "<":
        return "HTML instead of JSON"
    return "half a JSON" if start in "{[" else "text instead of JSON"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN else flat[:SHOWN] + "..."


def _message(text: str) -> str:
    """What an answer that refuses says, after a colon; "" for nothing."""
    try:
        content = json.loads(text)
        error = content.get("error", content)
        told = error.get("message", "") if isinstance(error, Mapping) else str(error)
    except (ValueError, AttributeError):
        told = "an HTML page" if text.lstrip().startswith("<") else text
    return f": {_short(str(told))}" if told else ""
