"""Label Studio's ML backend: the protocol's words around what pre-annotates tasks, of one loop or of any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from tsad.core.serving import Predicting
from tsad.service.access import token_needed
from tsad.service.bodies import json_of
from tsad.service.errors import RequestRefused, documented
from tsad.service.gate import Gate

MODEL_CLASS = "tsad"
Of = Callable[[str], tuple[Predicting, Callable[[], None]]]  # a loop's model, and what is hinted of it
OF_LOOP = "/backend/{loop}"  # where each loop has its own, in a service of several


def backend(token: str, model: Predicting, hint: Callable[[], None], gate: Gate, most: int) -> APIRouter:
    """The protocol's endpoints for one loop; those that tell or cost something want the token.

    Args:
        most: bytes of a body.
    """
    router = APIRouter()
    _add(router, token, gate, most, lambda loop: (model, hint))
    return router


def backends(token: str, of: Of, gate: Gate, most: int) -> APIRouter:
    """The same for every loop, each below ``/backend/<loop>``, which is the URL to give to Label Studio.

    Args:
        of: what pre-annotates the tasks of a loop, and what is hinted.
    """
    router = APIRouter(prefix=OF_LOOP, tags=["Label Studio"], dependencies=[Depends(_loop)])
    _add(router, token, gate, most, of)
    return router


async def _loop(loop: str) -> str:
    """Declares the loop in the path."""
    return loop


def _add(router: APIRouter, token: str, gate: Gate, most: int, of: Of) -> None:
    needs_token = [Depends(token_needed(token))]
    asked = documented(400, 401, 404, 408, 409, 413, 422, 429, 500, 501, 503)
    failures = documented(401, 404, 409, 422, 500, 501, 503)

    def of_request(request: Request) -> tuple[Predicting, Callable[[], None]]:
        return of(str(request.path_params.get("loop", "")))

    @router.get("/" if not router.prefix else "")
    @router.get("/health")
    async def health(request: Request) -> dict[str, Any]:
        """Without a token, so that it says whether something is wrong, not what: that is in the log."""
        state = of_request(request)[0].state()
        return {"status": "UP", "model_class": MODEL_CLASS, **_open(state, bool(router.prefix))}

    @router.post("/setup", dependencies=needs_token, responses=asked)
    async def setup(request: Request) -> dict[str, Any]:
        """Label Studio sends an access token along, which is not for us: it is neither kept nor logged."""
        await json_of(request, most, gate.reading)
        return {"model_version": await run_in_threadpool(of_request(request)[0].label)}

    @router.get("/versions", dependencies=needs_token, responses=failures)
    async def versions(request: Request) -> dict[str, Any]:
        """The version that answers now."""
        return {"versions": [await run_in_threadpool(of_request(request)[0].label)], "message": ""}

    @router.post("/predict", dependencies=needs_token, responses=asked)
    async def predict(request: Request) -> dict[str, Any]:
        """A prediction for each task."""
        with gate.admitted():
            body = await json_of(request, most, gate.reading)
            tasks, template = _tasks(body), str(body.get("label_config") or "")
            model = of_request(request)[0]
            results = await gate.work(lambda until: model.predict(tasks, template, until))
        return {"results": results, "model_version": next((r["model_version"] for r in results if "result" in r), "")}

    @router.post("/webhook")
    async def webhook(request: Request) -> dict[str, str]:
        """Comes without credentials: a hint, and nothing that it says is read."""
        of_request(request)[1]()
        return {"status": "noted"}


def _open(state: Mapping[str, Any], many: bool) -> dict[str, Any]:
    """What anybody may know of a model; of a service of ``many`` loops not even which version answers."""
    return {**({} if many else state), "problem": bool(state.get("problem"))}


def _tasks(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = asked.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise RequestRefused(422, "the request has no list of tasks with their data", "It comes from Label Studio.")
    return tasks
