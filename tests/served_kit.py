"""A stub of a server that speaks OpenAI's API, for faults: a real one is asked in ``live/test_served.py``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, str]  # status and text


def answer(text: str, *, model: str = "m", sure: float = 0.9, **more: Any) -> Reply:
    """A well-formed answer: one token per sign, each as sure."""
    import math

    tokens = [{"token": ch, "logprob": math.log(sure), "bytes": list(ch.encode())} for ch in text]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text},
              "logprobs": {"content": tokens}}  # fmt: skip
    return 200, json.dumps({"model": model, "choices": [choice | more]})


@dataclass
class Stub:
    """What was asked of it, and where it is."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


@contextmanager
def stub(
    reply: Callable[[dict[str, Any], int], Reply], models: Reply = (200, '{"data": [{"id": "m"}]}'), wait: float = 0.0,
) -> Iterator[Stub]:  # fmt: skip
    """A server that answers each question by ``reply(body, number)``."""
    told, lock = Stub(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(models if self.path == "/v1/models" else (404, "no such page"))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                told.bodies.append(body)
                told.tokens.append(self.headers.get("Authorization"))
                number = len(told.bodies)
            time.sleep(wait)
            self.send(reply(body, number))

        def send(self, given: Reply) -> None:
            status, text = given
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:  # nobody waited for it
                return

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
