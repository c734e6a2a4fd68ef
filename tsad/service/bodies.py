"""Bodies of requests, read within a limit and as JSON that is JSON; long ones are read beside the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from tsad.service.errors import RequestRefused

T = TypeVar("T")
SECONDS = 60  # for a body to arrive
SHORT = 65_536  # bytes that are read sooner than a thread could be handed them
LONG = 1_000_000  # bytes; numbers take ten times as much once they are read, so few bodies so long are read at once


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request.

    Args:
        most: bytes; not one more is kept.

    Raises:
        RequestRefused: 413: it is larger; 408: it does not come.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise RequestRefused(413, f"the body is larger than {most} bytes", "Send less at a time.")
    except TimeoutError:
        raise RequestRefused(408, f"the body was not there within {SECONDS} s", "Send it in one go.") from None
    return bytes(body)


async def read_aside(body: bytes, read: Callable[[bytes], T], turns: asyncio.Semaphore | None = None) -> T:
    """What ``read`` makes of a body: at once where that is short, else on a thread, while others are answered.

    Args:
        turns: that long bodies take.
    """
    if len(body) <= SHORT:
        return read(body)
    async with turns if turns is not None and len(body) > LONG else nullcontext():
        return await run_in_threadpool(read, body)


async def json_of(request: Request, most: int, turns: asyncio.Semaphore | None = None) -> dict[str, Any]:
    """The object that a request carries.

    Args:
        most: bytes; not one more is kept. turns: that long bodies take to be read.

    Raises:
        RequestRefused: 413: it is larger; 408: it does not come; 400: it is no JSON, or no object, or holds NaN.
    """
    return await read_aside(await body_of(request, most), _object, turns)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        found = f"the body is no JSON ({type(error).__name__})"
        raise RequestRefused(400, found, "Send an object as UTF-8 JSON.") from None
    if not isinstance(value, dict):
        raise RequestRefused(400, "the body is no JSON object", "Send an object as UTF-8 JSON.")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
