"""Who gets in: whoever has the token, as the password of HTTP Basic or as a bearer's."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import Request

from tsad.service.errors import RequestRefused

SAFE = ("GET", "HEAD", "OPTIONS")


def token_needed(token: str) -> Callable[[Request], Awaitable[None]]:
    """What an endpoint depends on that wants the token.

    A browser sends a password that it knows along with whatever any page asks of us: what changes something is taken
    from our own page alone where the token came so.

    Raises:
        RequestRefused: (of what is returned) 401: there is none in the request, or another; 403: another page asks.
    """

    async def check(request: Request) -> None:  # at once, never on a thread that waits for a slow store
        if not same(given_token(request.headers.get("authorization", "")), token):
            raise RequestRefused(
                401, "the token is missing or wrong",
                "Send it as the password of HTTP Basic (any user), or as Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": 'Basic realm="tsad"'},
            )  # fmt: skip
        if request.method not in SAFE and _of_another_page(request):
            found = "another page than the service's own asks for a change"
            raise RequestRefused(403, found, "Send the token as Authorization: Bearer TOKEN.")

    return check


def _of_another_page(request: Request) -> bool:
    """Whether a browser sends this for a page of somebody else's, with a password that it has kept."""
    if request.headers.get("authorization", "").partition(" ")[0].lower() == "bearer":
        return False
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return bool(expected) and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


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
