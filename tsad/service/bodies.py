"""Bodies of requests, read within a limit and as JSON that is JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn

from fastapi import Request

from tsad.service.errors import RequestRefused

SECONDS = 60  # for a body to arrive


async def json_of(request: Request, most: int) -> dict[str, Any]:
    """The object that a request carries.

    Args:
        most: bytes; not one more is kept.

    Raises:
        RequestRefused: 413: it is larger; 408: it does not come; 400: it is no JSON, or no object, or holds NaN.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise RequestRefused(413, f"the body is larger than {most} bytes", "Send fewer tasks at a time.")
    except TimeoutError:
        raise RequestRefused(408, f"the body was not there within {SECONDS} s", "Send it in one go.") from None
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
