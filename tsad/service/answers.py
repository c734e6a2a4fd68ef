"""Answers: typed results as JSON, and lists in pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query
from fastapi.responses import JSONResponse, Response

from tsad.config.validation import validated
from tsad.config.workbench import Workbench
from tsad.core.errors import UnknownLoopError
from tsad.core.options import LoopOptions
from tsad.core.results import Result
from tsad.service.errors import RequestRefused
from tsad.steps.assets import Inventory

if TYPE_CHECKING:
    from tsad.service.site import Site

MOST_ITEMS = 500
Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="Items of a page.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="Items before it.")]
Sort = Annotated[str | None, Query(description="Field to sort by; with - in front the largest first.", max_length=40)]
LoopName = Annotated[
    str, Query(description="Name of the loop; empty = the service's own.", max_length=100, pattern=r"^[\w .\-]*$")
]
SVG = "image/svg+xml"
# A picture of what strangers call their points: nothing in it runs, should somebody open it by itself.
STILL = {"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}


def of_loop(site: Site, name: str) -> Workbench:
    """The service's own workbench for a loop; "" = its own. The loop's config counts for nothing here.

    Raises:
        ConfigError: no loop can be called so.
    """
    if not name:
        return site.bench
    loop = validated(LoopOptions, {**dict(site.bench.loop), "name": name}, "loop")
    return site.bench.named(loop.name)


def asked_loop(site: Site, name: str) -> Workbench:
    """A workbench for a question about a loop, under its own config; "" = the service's own.

    Raises:
        UnknownLoopError: the store has none of that name.
    """
    if name and name not in Inventory(site.bench).loop_names:
        raise UnknownLoopError(f"there is no loop {name}", "`tsad` lists the loops of the store.")
    return site.of_loop(name)


def answer(result: Result, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A typed result."""
    return JSONResponse(result.to_json(), status, dict(headers or {}))


def page(items: Sequence[Result], limit: int, offset: int) -> JSONResponse:
    """One page of a list."""
    shown = [item.to_json() for item in items[offset : offset + limit]]
    return JSONResponse({"items": shown, "total": len(items), "limit": limit, "offset": offset})


def picture(svg: str) -> Response:
    """A drawing."""
    return Response(svg, media_type=SVG, headers=STILL)


def in_order(items: Sequence[Result], by: str | None, fields: Sequence[str]) -> list[Result]:
    """The items by one of their fields; those without a value last. As they are where none is asked for.

    Raises:
        RequestRefused: 422: it is none of the fields.
    """
    if by is None:
        return list(items)
    name, reverse = by.removeprefix("-"), by.startswith("-")
    if name not in fields:
        raise RequestRefused(422, f"sort={by!r} is none of the fields", f"Take one of {', '.join(fields)}.")
    known = [item for item in items if getattr(item, name) is not None]
    key: Callable[[Any], Any] = lambda item: getattr(item, name)  # noqa: E731
    return sorted(known, key=key, reverse=reverse) + [item for item in items if getattr(item, name) is None]
