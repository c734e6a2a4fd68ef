"""``/predictions``: what was predicted, with its origin, page by page; and its removal."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from tsad.service.errors import documented
from tsad.service.history import PredictionFilter, PredictionHistory

ShortText = Annotated[str, Query(max_length=300)]


def _which(
    loop: ShortText = "", point_id: ShortText = "", model_version: ShortText = "", since: date | None = None,
    until: date | None = None,
) -> PredictionFilter:  # fmt: skip
    """Of which predictions; ``since`` and ``until`` are days (UTC), both included."""
    return PredictionFilter(loop, point_id, model_version, since, until)


def predictions(history: PredictionHistory) -> APIRouter:
    """``GET`` and ``DELETE /predictions``."""
    router = APIRouter(tags=["predict"])

    @router.get("/predictions", responses=documented(401, 422, 500, 507))
    def listed(
        which: Annotated[PredictionFilter, Depends(_which)],
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    ) -> dict[str, Any]:
        """Predictions, the newest first, with their origin; ``since`` and ``until`` are days (UTC), both included.

        Where not all could be searched at once ``searched_since`` is the day from which on that was done.
        """
        items, total, searched = history.page(which, limit, offset)
        since = None if searched is None else searched.isoformat()
        state = {"problem": history.problem, "lost": history.lost, "searched_since": since}
        return {"items": items, "total": total, "limit": limit, "offset": offset, **state}

    @router.delete("/predictions", responses=documented(401, 422, 500, 507))
    def pruned(before: date) -> dict[str, int]:
        """Delete the predictions of all days (UTC) before that one."""
        days, size = history.prune(before)
        return {"days": days, "bytes": size}

    return router
