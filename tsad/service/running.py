"""uvicorn in a thread of the call that serves: started when it listens, stopped when what it answers is answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from tsad.core.errors import ConfigError
from tsad.core.serving import Address

if TYPE_CHECKING:
    from fastapi import FastAPI

CONNECTIONS = 256
START_SECONDS = 30.0
MESSAGE = 1 << 16  # bytes of one message of a WebSocket
BACKLOG = 2048


@contextmanager
def running(app: FastAPI, at: Address, grace: float = 30.0, connections: int = CONNECTIONS) -> Iterator[str]:
    """Serve while the block runs; gives the URL.

    Args:
        grace: seconds in which requests that are being answered may end.
        connections: open ones at a time; the next is told 503.

    Raises:
        ConfigError: the address is taken, or none of this machine's.
    """
    listener = _listener(at)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off",
        ws="auto", ws_max_size=MESSAGE, ws_per_message_deflate=False, timeout_graceful_shutdown=round(grace),
        limit_concurrency=connections, timeout_keep_alive=30, backlog=BACKLOG,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="tsad-service", daemon=True)
    thread.start()
    try:
        _await(server, thread)
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        app.state.stopping = True  # answers without an end look at it, and end
        server.should_exit = True
        thread.join(grace + 5)
        listener.close()


def _listener(at: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0]
        # With the protocol: asyncio sends small answers at once only on sockets that say they are TCP's, else each
        # waits for the client's acknowledgement of its headers, 40 ms.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"nothing can listen at {at.host}:{at.port} ({error.strerror or error})",
            "Choose another port (0 = any free one), and an address of this machine.",
        ) from error
    return listener


def _await(server: uvicorn.Server, thread: threading.Thread) -> None:
    until = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise ConfigError("the service did not come up", "See its log.")
        time.sleep(0.01)
