"""The whole service: all its parts put together, started and ended in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends

from tsad.config.workbench import Workbench
from tsad.core.serving import Standing, Verbs
from tsad.service.access import token_needed
from tsad.service.app import make_app
from tsad.service.health import health
from tsad.service.jobs import dispatching, jobs
from tsad.service.loops import Looking, loops
from tsad.service.page.pages import page
from tsad.service.running import running
from tsad.service.site import Site

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX = "/api/v1"


@contextmanager
def whole_service(standing: Standing, bench: Workbench, verbs: Verbs) -> Iterator[str]:
    """Serve everything while the block runs; gives the URL.

    Raises:
        ConfigError: nothing can listen there.
    """
    site = Site(bench, verbs, standing)
    with ExitStack() as parts, running(_application(site, parts), standing.at, standing.bounds.seconds) as url:
        yield url


def _application(site: Site, parts: ExitStack) -> FastAPI:
    """All routers; parts that work beside them are entered into ``parts``, and end in the other order."""
    board, looking = parts.enter_context(dispatching(site.bench, site.verbs)), Looking(site)
    needs_token = [Depends(token_needed(site.standing.token))]
    api = APIRouter(prefix=PREFIX, dependencies=needs_token)
    for router in (loops(looking), jobs(board)):
        api.include_router(router)
    pages = APIRouter(dependencies=needs_token)
    pages.include_router(page(site, looking, board))
    return make_app(health(site), api, pages)
