"""The application: routers put together, one body for every error, no page that loads anything from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from tsad import __version__
from tsad.service.errors import install
from tsad.service.requests import RequestDone, Requests

Heard = tuple[Callable[[RequestDone], None], ...]

TEXT = {"type": "string"}
ERROR = {
    "type": "object", "title": "Error", "required": ["code", "message", "remedy", "request_id"],
    "properties": {"code": TEXT, "message": TEXT, "remedy": TEXT, "request_id": TEXT},
}  # fmt: skip


def make_app(*routers: APIRouter, heard: Heard = ()) -> FastAPI:
    """An application of these routers; ``/openapi.json`` describes it, and needs no token.

    Args:
        heard: each is told of every answered request.
    """
    app = Application(
        title="tsad", version=__version__, docs_url=None, redoc_url=None,  # their pages come from a CDN
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )  # fmt: skip
    app.state.heard = heard
    install(app)
    for router in routers:
        app.include_router(router)
    return app


class Application(FastAPI):
    """FastAPI whose requests have ids, and whose description has our one body of every error instead of its own."""

    def build_middleware_stack(self) -> ASGIApp:
        """See :class:`starlette.applications.Starlette`; around all of it, so that no answer is without its id."""
        return Requests(super().build_middleware_stack(), self.state.heard)

    def openapi(self) -> dict[str, Any]:
        """See :class:`fastapi.FastAPI`."""
        if not self.openapi_schema:
            schema = get_openapi(title=self.title, version=self.version, routes=self.routes)
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for own in ("HTTPValidationError", "ValidationError"):
                schemas.pop(own, None)
            schemas["Error"] = ERROR
            _replace_references(schema)
            self.openapi_schema = schema
        return self.openapi_schema


def _replace_references(node: Any) -> None:
    """Every mention of FastAPI's own body of errors becomes one of ours."""
    if isinstance(node, dict):
        if node.get("$ref") == "#/components/schemas/HTTPValidationError":
            node["$ref"] = "#/components/schemas/Error"
        for value in node.values():
            _replace_references(value)
    elif isinstance(node, list):
        for value in node:
            _replace_references(value)
