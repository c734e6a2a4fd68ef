"""The service's data endpoints over one store, asked in this process; series to hand in."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter
from starlette.testclient import TestClient

from tsad.config.workbench import Workbench
from tsad.core.serving import Address, Bounds, Standing
from tsad.service.app import make_app
from tsad.service.site import Site
from tsad.verbs.asking import Asking

START = 1_767_225_600  # 2026-01-01 00:00:00 UTC


def csv_text(rows: int = 300, jump: int = 100, labels: bool = False) -> str:
    """A wave of one value a minute with a jump of ten points."""
    lines = ["timestamp,value,label" if labels else "timestamp,value"]
    for k in range(rows):
        hit = jump <= k < jump + 10
        lines.append(f"{START + 60 * k},{k % 7 + 5 * hit}" + (f",{int(hit)}" if labels else ""))
    return "\n".join(lines) + "\n"


def zip_of(files: Mapping[str, str | bytes]) -> bytes:
    """A zip archive of these files."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


@dataclass
class Service:
    """An application of some routers, and a client of it."""

    site: Any
    client: TestClient

    def refused(self, answer: Any, status: int) -> dict[str, Any]:
        """The one body of every error."""
        assert answer.status_code == status, answer.text
        body = answer.json()
        assert set(body) == {"code", "message", "remedy", "request_id"} and body["message"]
        return dict(body)


def served(bench: Workbench, *makers: Any, upload_gb: float = 0.001) -> Service:
    """A client of these routers' makers."""
    bench = replace(bench, service=bench.service.model_copy(update={"upload_gb": upload_gb}))
    standing = Standing(Address("127.0.0.1", 0), "token", Bounds(1, 1, 10.0, 10**6), ())
    site = Site(bench, Asking(), standing)
    routers: list[APIRouter] = [maker(site) for maker in makers]
    return Service(site, TestClient(make_app(*routers), raise_server_exceptions=False))
