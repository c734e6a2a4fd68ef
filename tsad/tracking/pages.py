"""Searches that MLflow answers page by page, as one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def every_page(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """All that a search of MLflow's client finds, in its order; each page is asked for when it is reached."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
