"""The whole service: all its parts put together, started and ended in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends

from tsad.config.workbench import Workbench
from tsad.core.serving import Standing, Verbs
from tsad.jobs.folder import JobFolder
from tsad.service.access import token_needed
from tsad.service.app import make_app
from tsad.service.counts import counted
from tsad.service.data import data
from tsad.service.exports import exports
from tsad.service.fanout import Fanout
from tsad.service.health import health
from tsad.service.jobs import dispatching, jobs
from tsad.service.live import Training, live
from tsad.service.logs import logging_to_file
from tsad.service.loops import Looking, loops
from tsad.service.page.pages import page
from tsad.service.prediction import label_studio_backends, of_predictions, predictions_counted, working
from tsad.service.predictor import Predictor, predicting
from tsad.service.prometheus import Figures, prometheus
from tsad.service.queue import queue
from tsad.service.requests import PREFIX, log_access
from tsad.service.results import results
from tsad.service.running import running
from tsad.service.schemas import schemas
from tsad.service.series import series
from tsad.service.site import Site
from tsad.service.sockets import sockets
from tsad.service.system import system
from tsad.service.uploads import uploads

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tsad.jobs.board import JobBoard



@contextmanager
def whole_service(standing: Standing, bench: Workbench, verbs: Verbs) -> Iterator[str]:
    """Serve everything while the block runs; gives the URL.

    Raises:
        ConfigError: nothing can listen there.
    """
    site = Site(bench, verbs, standing)
    with logging_to_file(site.home, site.options, standing.token), ExitStack() as parts:
        board = parts.enter_context(dispatching(bench, verbs))
        fanout = Fanout(site.home, lambda job: board.get(job).state)
        application = _application(site, board, fanout, parts.enter_context(predicting(site)))
        grace = standing.bounds.seconds
        # Streams end before the server waits for what it is still answering.
        with running(application, standing.at, grace, site.options.clients) as url, fanout.reading():
            yield url


def _application(site: Site, board: JobBoard, fanout: Fanout, predictor: Predictor) -> FastAPI:
    """All routers, what wants the token apart from what does not."""
    needs_token, token = [Depends(token_needed(site.standing.token))], site.standing.token
    looking = Looking(site)
    figures = Figures({**counted(board, fanout), "predictions": lambda: predictions_counted(predictor)})
    training = Training(board, fanout, lambda job: JobFolder(site.home, job))
    api = APIRouter(prefix=PREFIX, dependencies=needs_token)
    work = (loops(looking), jobs(board), results(board), live(training), *of_predictions(site, predictor))
    for router in (*work, *_of_data(site), schemas(site), system(site)):
        api.include_router(router)
    others = APIRouter(dependencies=needs_token)
    for router in (prometheus(figures), page(site, looking, board)):
        others.include_router(router)
    heard = (log_access, figures.answered)
    socket = sockets(training, token, f"{PREFIX}/ws")
    well, backends = health(site, working(predictor)), label_studio_backends(site, predictor)
    return make_app(well, api, others, backends, socket, heard=heard)


def _of_data(site: Site) -> list[APIRouter]:
    """What lies in the store and in its sources."""
    return [data(site), uploads(site), series(site), queue(site), exports(site)]
