"""Who gets in: whoever has the token, as the password of HTTP Basic or as a bearer's."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

from fastapi import Request

from tsad.service.errors import RequestRefused


def token_needed(token: str) -> Callable[[Request], None]:
    """What an endpoint depends on that wants the token.

    Raises:
        RequestRefused: (of what is returned) 401: there is none in the request, or another.
    """

    def check(request: Request) -> None:
        if not same(given_token(request.headers.get("authorization", "")), token):
            raise RequestRefused(
                401, "the token is missing or wrong",
                "Send it as the password of HTTP Basic (any user), or as Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": 'Basic realm="tsad"'},
            )  # fmt: skip

    return check


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def given_token(header: str) -> str:
    """The token of an ``Authorization`` header; "" where it cannot be read."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
