"""The application: routers put together, one body for every error, no page that loads anything from elsewhere."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from tsad import __version__
from tsad.service.errors import install


def make_app(*routers: APIRouter) -> FastAPI:
    """An application of these routers; ``/openapi.json`` describes it, and needs no token."""
    app = FastAPI(title="tsad", version=__version__, docs_url=None, redoc_url=None)  # their pages come from a CDN
    install(app)
    for router in routers:
        app.include_router(router)
    return app
