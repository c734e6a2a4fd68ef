"""Exports over HTTP: approved data of a dataset version, written for somebody else and downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from tsad.core.errors import DatasetError, UnknownNameError
from tsad.core.names import safe_name
from tsad.core.reviews import Purpose
from tsad.loop.datasets import latest_training
from tsad.loop.opening import open_loop
from tsad.service.answers import LoopName, answer, asked_loop
from tsad.service.downloads import EITHER, At, archive, download, lying
from tsad.service.errors import RequestRefused, documented
from tsad.service.json_bodies import Asked, asked, described
from tsad.steps.assets import EXPORTS, Inventory, state_of_export
from tsad.steps.export import export_dataset

if TYPE_CHECKING:
    from tsad.config.workbench import Workbench
    from tsad.service.site import Site
    from tsad.tracking.assets import AssetRecord

ENDS = {"csv": "csv", "label_studio": "json"}  # of file names; rows of other trainers are JSONL
LATEST = "latest"


class ExportWanted(Asked):
    """What is to be written; only what people have reviewed is in a dataset version."""

    format: Literal["csv", "label_studio", "chatts", "llamafactory", "qwen_vl", "swift"]
    dataset: str = Field(default=LATEST, pattern=r"^(latest|[0-9a-f]{4,64})$", description="Its hash, or latest.")


def exports(site: Site) -> APIRouter:
    """``POST /exports`` and ``/exports/{name}/file``."""
    router = APIRouter(tags=["data"])
    folder = site.home / "service" / "exports"

    @router.post(
        "/exports", status_code=201, openapi_extra=described(ExportWanted),
        responses=documented(400, 401, 404, 408, 409, 413, 422, 501, 503, 507),
    )  # fmt: skip
    def write(wanted: Annotated[Any, Depends(asked(ExportWanted))], loop: LoopName = "") -> JSONResponse:
        """Write a dataset version, the newest one for training where none is named; the same twice is one export."""
        bench = asked_loop(site, loop)
        digest = _digest(bench, wanted.dataset, rows=wanted.format not in ENDS)
        name = f"{safe_name(bench.loop.name)}-{digest[:8]}-{wanted.format}"
        path = folder / name / f"{name}.{ENDS.get(wanted.format, 'jsonl')}"
        written = export_dataset(bench, str(path), wanted.format, digest)
        return answer(written, 201, {"Location": f"/api/v1/exports/{written.export}/file"})

    @router.get(
        "/exports/{name}/file", response_class=StreamingResponse,
        responses=EITHER | documented(401, 404, 409, 422, 503),
    )  # fmt: skip
    def file(name: str) -> StreamingResponse:
        """The file; where pictures lie beside it, a zip archive of all."""
        path = _served(Inventory(site.bench), name, folder)
        beside = [file for file in sorted(path.parent.rglob("*")) if file.is_file()]
        if len(beside) == 1:
            return download(lying(path), path.name)
        return archive(_members(path.parent, beside), f"{path.stem}.zip")

    return router


def _members(folder: Path, files: list[Path]) -> Iterator[tuple[str, At]]:
    for file in files:
        yield file.relative_to(folder).as_posix(), lying(file)


def _digest(bench: Workbench, dataset: str, rows: bool) -> str:
    """The version's hash in full.

    Args:
        rows: it becomes rows to train on.

    Raises:
        DatasetError: it is a gold set, which nobody trains on.
        UnknownNameError: the loop has no such version. DatasetError: it has none for training yet.
    """
    loop = open_loop(bench)
    if dataset == LATEST:
        version = latest_training(loop)
        if version is None:
            raise DatasetError(f"loop {loop.name} has no dataset version", "People review windows first.")
        return version.digest
    found = [record for record in loop.datasets() if record.digest.startswith(dataset)]
    if len(found) != 1:
        raise UnknownNameError(f"loop {loop.name} has {len(found)} dataset versions {dataset}", "GET /api/v1/datasets.")
    if rows and found[0].purpose == Purpose.GOLD:
        found_gold = f"{dataset} is a gold set: it scores models and trains none"
        raise DatasetError(found_gold, "Export a version for training.")
    return found[0].digest


def _served(inventory: Inventory, name: str, folder: Path) -> Path:
    """The file of an export that this service has written, as it was written.

    Raises:
        UnknownNameError: there is none of that name. RequestRefused: 409: it lies elsewhere, or is not the same.
    """
    record: AssetRecord | None = next((a.record for a in inventory.assets(EXPORTS) if a.name == name), None)
    if record is None:
        raise UnknownNameError(f"there is no export {name!r}", "GET /api/v1/exports lists them.")
    path = Path(record.about["path"])
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RequestRefused(409, f"export {name} was written elsewhere", "Write it again: POST /api/v1/exports.")
    state = state_of_export(record)
    if state != "there":
        raise RequestRefused(409, f"the file of export {name} is {state}", "Write it again: POST /api/v1/exports.")
    return path
