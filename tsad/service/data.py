"""What there is, over HTTP: series, uploads, dataset versions, exports listed, told of, and deleted where nobody needs
them.
"""

from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import Field

from tsad.service.answers import Limit, Offset, Sort, answer, asked_loop, in_order, page
from tsad.service.errors import documented
from tsad.service.json_bodies import Asked, asked, described
from tsad.steps.about import DatasetAbout, ExportAbout, SeriesAbout, UploadAbout
from tsad.steps.assets import DATASETS, EXPORTS, SERIES, UPLOADS, Asset, Inventory
from tsad.steps.catalogue import TITLES, Deletion, Wanted, delete_assets
from tsad.steps.showing import tell_asset

if TYPE_CHECKING:
    from tsad.service.site import Site

ABOUT = {SERIES: SeriesAbout, UPLOADS: UploadAbout, DATASETS: DatasetAbout, EXPORTS: ExportAbout}
Name = Annotated[str | None, Query(description="Name, or a pattern such as U1.*", max_length=300)]
FromSource = Annotated[
    str | None, Query(description="Part of, or a pattern for, what it was read from.", max_length=1000)
]
OfLoop = Annotated[
    str | None,
    Query(description="Only those of this loop; series: of its source.", max_length=100, pattern=r"^[\w .\-]+$"),
]
Force = Annotated[bool, Query(description="Also what is in use, apart from what somebody cannot do without.")]
DryRun = Annotated[bool, Query(description="Only say what would go.")]


class ToDelete(Asked):
    """A batch: all of it goes, or nothing where one of it is in use."""

    names: list[str] = Field(min_length=1, max_length=1000)
    source: str | None = Field(default=None, description="Series: part of what they were read from.", max_length=1000)
    force: bool = False
    dry_run: bool = False


def data(site: Site) -> APIRouter:
    """``/series``, ``/uploads``, ``/datasets``, ``/exports``."""
    router = APIRouter(tags=["data"])
    for kind in ABOUT:
        _lists(router, site, kind)
        _deletes(router, site, kind)
    for kind in (UPLOADS, DATASETS, EXPORTS):
        _tells(router, site, kind)
    return router


def _lists(router: APIRouter, site: Site, kind: str) -> None:
    fields = [field.name for field in dataclasses.fields(ABOUT[kind])]

    def listed(
        name: Name = None, source: FromSource = None, loop: OfLoop = None, sort: Sort = None, limit: Limit = 50,
        offset: Offset = 0,
    ) -> JSONResponse:  # fmt: skip
        def meant(asset: Asset) -> bool:
            called = name is None or any(name in (n,) or fnmatchcase(n, name) for n in (asset.name, *asset.also))
            if kind == SERIES:
                return called and asset.comes_from(source) and own in (None, asset.source)
            return called and asset.comes_from(source) and loop in (None, asset.loop.name if asset.loop else None)

        own = _source_of(site, loop) if kind == SERIES and loop is not None else None
        there = [asset.about for asset in Inventory(site.bench).assets(kind) if meant(asset)]
        return page(in_order(there, sort, fields), limit, offset)

    router.add_api_route(
        f"/{kind}", listed, methods=["GET"], name=f"list {kind}", responses=documented(401, 404, 422, 503),
        description=f"All {TITLES[kind]} that the store holds, in pages. Fields to sort by: {', '.join(fields)}.",
    )  # fmt: skip


def _source_of(site: Site, loop: str) -> str:
    """What a loop reads its series from, in words.

    Raises:
        UnknownLoopError: there is none of that name.
    """
    return asked_loop(site, loop).make_source().describe()


def _tells(router: APIRouter, site: Site, kind: str) -> None:
    def told(name: str) -> JSONResponse:
        return answer(tell_asset(site.bench, Wanted(kind, [name], None, exact=True)))

    router.add_api_route(
        f"/{kind}/{{name}}", told, methods=["GET"], name=f"tell {kind}", responses=documented(401, 404, 422, 503),
        description=f"All that is known of one of the {TITLES[kind]}.",
    )  # fmt: skip


def _deletes(router: APIRouter, site: Site, kind: str) -> None:
    def deleted(name: str, source: FromSource = None, force: Force = False, dry_run: DryRun = False) -> JSONResponse:
        return answer(_delete(site, kind, ToDelete(names=[name], source=source, force=force, dry_run=dry_run)))

    def batch(wanted: Annotated[Any, Depends(asked(ToDelete))]) -> JSONResponse:
        return answer(_delete(site, kind, wanted))

    where = f"/{kind}/{{name:path}}" if kind == SERIES else f"/{kind}/{{name}}"
    refusals = documented(401, 404, 409, 422, 503, 507)
    router.add_api_route(
        where, deleted, methods=["DELETE"], name=f"delete {kind}", responses=refusals,
        description=f"Delete one of the {TITLES[kind]}; 409 where somebody uses it.",
    )  # fmt: skip
    router.add_api_route(
        f"/{kind}/delete", batch, methods=["POST"], name=f"delete many {kind}", openapi_extra=described(ToDelete),
        responses=refusals | documented(400, 408, 413),
        description=f"Delete several {TITLES[kind]}: all, or none where one is in use (409).",
    )  # fmt: skip


def _delete(site: Site, kind: str, wanted: ToDelete) -> Deletion:
    deletion = delete_assets(
        site.bench, Wanted(kind, wanted.names, wanted.source, exact=True), wanted.force, wanted.dry_run
    )
    refusal = deletion.refusal()
    if refusal is not None:
        raise refusal
    return deletion
