"""Label Studio's ML backend: the protocol's words around what pre-annotates tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request

from tsad.core.serving import Predicting
from tsad.service.access import token_needed
from tsad.service.bodies import json_of
from tsad.service.errors import RequestRefused
from tsad.service.gate import Gate

MODEL_CLASS = "tsad"


def backend(token: str, model: Predicting, hint: Callable[[], None], gate: Gate, most: int) -> APIRouter:
    """The protocol's endpoints; those that tell or cost something want the token.

    Args:
        most: bytes of a body.
    """
    router, needs_token = APIRouter(), [Depends(token_needed(token))]

    @router.get("/")
    @router.get("/health")
    async def health() -> dict[str, Any]:
        """Without a token, so that it says whether something is wrong, not what: that is in the log."""
        state = model.state()
        return {"status": "UP", "model_class": MODEL_CLASS, **state, "problem": bool(state.get("problem"))}

    @router.post("/setup", dependencies=needs_token)
    async def setup(request: Request) -> dict[str, Any]:
        """Label Studio sends an access token along, which is not for us: it is neither kept nor logged."""
        await json_of(request, most)
        return {"model_version": model.label()}

    @router.get("/versions", dependencies=needs_token)
    async def versions() -> dict[str, Any]:
        return {"versions": [model.label()], "message": ""}

    @router.post("/predict", dependencies=needs_token)
    async def predict(request: Request) -> dict[str, Any]:
        gate.require_room()
        asked = await json_of(request, most)
        tasks, template = _tasks(asked), str(asked.get("label_config") or "")
        results = await gate.run(lambda: model.predict(tasks, template))
        return {"results": results, "model_version": next((r["model_version"] for r in results if "result" in r), "")}

    @router.post("/webhook")
    async def webhook() -> dict[str, str]:
        """Comes without credentials: a hint, and nothing that it says is read."""
        hint()
        return {"status": "noted"}

    return router


def _tasks(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = asked.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise RequestRefused(422, "the request has no list of tasks with their data", "It comes from Label Studio.")
    return tasks
