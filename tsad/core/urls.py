"""Addresses of HTTP servers: as an option, one that can be called and holds no secret; and as people open it."""

from __future__ import annotations

from urllib.parse import urlsplit

from tsad.core.masking import mask_urls
from tsad.core.option_model import Refusal


def http_address(url: str, example: str, instead: str) -> str:
    """The address without a slash at its end; "" stays.

    Args:
        example: of such an address. instead: where a login belongs, in words.

    Raises:
        Refusal: it holds a login or a query, which are never repeated; no HTTP, no host, no port.
    """
    if "@" in url or "?" in url:  # before anything is said of it: it may hold a password
        raise Refusal("{key} holds a login or a query", instead)
    try:
        parts = urlsplit(url)
        called = not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError as error:  # a port beyond 65535 or of letters, half an IPv6 address
        raise Refusal(f"{{key}} is {{0}}: {error}", f"It is an address such as {example}.", repr(url)) from error
    if not called:
        raise Refusal("{key} is {0}", f"It is an address such as {example}.", repr(url))
    return url.rstrip("/")


def by_http(uri: str) -> bool:
    """Whether an address is reached over HTTP, however its scheme is written."""
    return urlsplit(uri).scheme in ("http", "https")


def without_login(url: str) -> str:
    """A server's address for people to open: user, password, query and a slash at its end left out."""
    parts = urlsplit(mask_urls(url))  # a password may hold a slash, which would end the host
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
