"""The whole service: what every part of it is given, and all parts put together, started and ended in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends

from tsad.config.workbench import Workbench
from tsad.core.options import ServiceOptions
from tsad.core.serving import Standing, Verbs
from tsad.loop.continuing import as_its_loop_has_it
from tsad.service.access import token_needed
from tsad.service.app import make_app
from tsad.service.health import health
from tsad.service.running import running

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX = "/api/v1"


@dataclass(frozen=True, eq=False)
class Site:
    """What every part of the service is given.

    Attributes:
        bench: the workbench of the call that serves; requests have their own.
        verbs: what the command line knows of its verbs.
    """

    bench: Workbench
    verbs: Verbs
    standing: Standing

    @property
    def home(self) -> Path:
        """The store's folder; what the service keeps lies in ``service/`` there."""
        return self.bench.home

    @property
    def options(self) -> ServiceOptions:
        """How the service works on this machine."""
        return self.bench.service

    def of_loop(self, name: str = "", overrides: Sequence[str] = (), verb: str = "status") -> Workbench:
        """A workbench for a question about a loop: under its own config, with ``overrides`` over it.

        Args:
            name: of the loop; "" = the one that the service's own words are about.

        Raises:
            ConfigError: an override that does not fit. TrackingError: the store cannot be reached.
        """
        own = [word for word in self.standing.overrides if not word.startswith("loop.name=")]
        named = f"loop.name={json.dumps(name or self.bench.loop.name, ensure_ascii=False)}"  # a text, whatever it says
        bench: Workbench = self.verbs.bench(verb, [*own, named, *overrides])
        return as_its_loop_has_it(bench)


@contextmanager
def whole(standing: Standing, bench: Workbench, verbs: Verbs) -> Iterator[str]:
    """Serve everything while the block runs; gives the URL.

    Raises:
        ConfigError: nothing can listen there.
    """
    site = Site(bench, verbs, standing)
    with ExitStack() as parts, running(_application(site, parts), standing.at, standing.bounds.seconds) as url:
        yield url


def _application(site: Site, parts: ExitStack) -> FastAPI:
    """All routers; parts that work beside them are entered into ``parts``, and end in the other order."""
    api = APIRouter(prefix=PREFIX, dependencies=[Depends(token_needed(site.standing.token))])
    for router in _of_api(site, parts):
        api.include_router(router)
    return make_app(health(site), api)


def _of_api(site: Site, parts: ExitStack) -> list[APIRouter]:
    """What lies under ``/api/v1`` and wants the token."""
    return []
