"""Where Label Studio's webhooks arrive: they say that there is something to look at, and nothing more is believed."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from tsad.core.callbacks import SECRET_HEADER, WEBHOOK_PATH
from tsad.service.access import same
from tsad.service.errors import RequestRefused


def hooks(secret: str, hint: Callable[[], None]) -> APIRouter:
    """The endpoint: with the right secret it passes a hint on; its body is not even read.

    Label Studio posts in the middle of an annotator's submit, so it is answered at once.
    """
    router = APIRouter()

    @router.post(WEBHOOK_PATH, status_code=204, responses={401: {"description": "no secret, or another"}})
    async def answered(request: Request) -> Response:
        if not same(request.headers.get(SECRET_HEADER, ""), secret):
            found = "the webhook's secret is missing or wrong"
            raise RequestRefused(401, found, f"It belongs into the header {SECRET_HEADER}.")
        hint()
        return Response(status_code=204)

    return router
