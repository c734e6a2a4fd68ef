"""The parts of the service that predict, put together: what they share, and their routers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter

from tsad.service.backend import backends
from tsad.service.loop_models import models_of
from tsad.service.predict import predict
from tsad.service.predict_lines import predict_lines
from tsad.service.predictions import predictions
from tsad.service.prometheus import Gauge
from tsad.service.streaming import streaming

if TYPE_CHECKING:
    from tsad.service.predictor import Predictor
    from tsad.service.site import Site


def of_predictions(site: Site, predictor: Predictor) -> list[APIRouter]:
    """What lies under ``/api/v1``, and wants the token."""
    return [
        predict(site, predictor), predict_lines(site, predictor), streaming(site, predictor),
        predictions(predictor.history),
    ]  # fmt: skip


def working(predictor: Predictor) -> dict[str, Callable[[], bool]]:
    """The parts that predictions depend on, for ``/ready``."""
    return {"models": lambda: predictor.process.pid is not None, "history": lambda: not predictor.history.problem}


def predictions_counted(predictor: Predictor) -> Iterator[Gauge]:
    """What Prometheus is told of predictions."""
    inside, process = predictor.gate.inside, predictor.process
    yield Gauge("tsad_predict_inside", "Requests for predictions that wait or are worked on", "", {"": inside})
    about = "Times that the process with the models was started again"
    yield Gauge("tsad_predict_restarts", about, "", {"": process.restarts})
    yield Gauge("tsad_predictions_lost", "Predictions that could not be kept", "", {"": predictor.history.lost})


def label_studio_backends(site: Site, predictor: Predictor) -> APIRouter:
    """Label Studio's ML backend of each loop, below ``/backend``; it checks the token itself, where it wants one."""
    bounds = site.standing.bounds
    of = models_of(predictor.process, site.home, bounds.seconds)
    return backends(site.standing.token, of, predictor.gate, bounds.body)
