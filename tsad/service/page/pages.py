"""The routes of the page; each draws what an endpoint of the API answers as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from tsad import __version__
from tsad.config import GROUPS
from tsad.core.errors import TsadError
from tsad.core.printing import decimals
from tsad.jobs.words import NO_JOBS
from tsad.service.errors import RequestRefused, status_of
from tsad.service.loops import Looking
from tsad.service.page.forms import fields_of, overrides_of
from tsad.service.site import Site

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent
ASSETS = ("page.css", "page.js", "uplot.css", "uplot.js", "htmx.js")
# Nothing from elsewhere, no script or style within the page, in nobody's frame.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
}  # fmt: skip
DAY = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
SHOWN = 20  # jobs on the first page
FORM = 64 * 1024  # bytes
FIGURES = {"interval_f1": "interval F1", "interval_precision": "precision", "interval_recall": "recall"}
JobId = Annotated[str, InPath(pattern="^[0-9a-f]{32}$")]
DONE = ("succeeded", "failed", "stopped")


class Board(Protocol):
    """The jobs of the store."""

    def list(self, state: str = "", verb: str = "", loop: str = "", limit: int = 50, offset: int = 0) -> Any: ...

    def get(self, job_id: str) -> Any: ...

    def submit(self, verb: str, overrides: Sequence[str], key: str = "") -> Any: ...

    def stop(self, job_id: str) -> Any: ...

    def pause(self, job_id: str) -> Any: ...

    def resume(self, job_id: str) -> Any: ...

    def checkpoint(self, job_id: str) -> Any: ...

    def retry(self, job_id: str) -> Any: ...


@dataclass(frozen=True, eq=False)
class Pages:
    """What the pages are drawn from."""

    site: Site
    looking: Looking
    board: Board
    templates: jinja2.Environment

    def drawn(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page, or a part of one."""
        text = self.templates.get_template(template).render(version=__version__, figures=FIGURES, **values)
        return HTMLResponse(text, status, HEADERS)

    def jobs(self, **wanted: Any) -> Sequence[Any]:
        """The newest jobs."""
        items: Sequence[Any] = self.board.list(**wanted)[0]
        return items

    def do(self, job_id: str, action: str) -> Any:
        """What a button asks for. Raises JobError: it cannot be done with this job now."""
        actions: Mapping[str, Callable[[str], Any]] = {
            "stop": self.board.stop, "pause": self.board.pause, "resume": self.board.resume,
            "checkpoint": self.board.checkpoint, "retry": self.board.retry,
        }  # fmt: skip
        if action not in actions:
            raise RequestRefused(404, f"there is no action {action}", f"There are {', '.join(actions)}.")
        return actions[action](job_id)


def page(site: Site, looking: Looking, board: Board) -> APIRouter:
    """The page; none of it is part of what programs use."""
    router = APIRouter(include_in_schema=False)
    pages = Pages(site, looking, board, _templates())
    _looks(router, pages)
    _starts(router, pages)

    @router.get("/assets/{name}")
    def asset(name: str) -> Response:
        if name not in ASSETS:
            raise RequestRefused(404, "there is no such file", "")
        return FileResponse(HERE / "assets" / name, headers=DAY)

    return router


def _looks(router: APIRouter, pages: Pages) -> None:
    @router.get("/")
    def index() -> Response:
        return pages.drawn("index.html", jobs=pages.jobs(limit=SHOWN), **_store(pages))

    @router.get("/parts/loops")
    def part_loops() -> Response:
        return pages.drawn("loops.html", **_store(pages))

    @router.get("/parts/jobs")
    def part_jobs(loop: Annotated[str, Query(max_length=200)] = "") -> Response:
        return pages.drawn("jobs.html", jobs=pages.jobs(loop=loop, limit=SHOWN))

    @router.get("/loops/{name}")
    def loop(name: str) -> Response:
        seen = pages.looking.loop(name)
        chart = {"x": [one.iteration for one in seen.iterations], "series": {}}
        for key, title in FIGURES.items():
            chart["series"][title] = [one.scores.get(key) for one in seen.iterations]  # type: ignore[index]
        return pages.drawn("loop.html", seen=seen, chart=chart, jobs=pages.jobs(loop=name, limit=SHOWN))

    @router.get("/jobs/{job_id}")
    def job(job_id: JobId) -> Response:
        return pages.drawn("job.html", job=pages.board.get(job_id))

    @router.get("/parts/jobs/{job_id}")
    def part_job(job_id: JobId) -> Response:
        return pages.drawn("about_job.html", job=pages.board.get(job_id))


def _starts(router: APIRouter, pages: Pages) -> None:
    @router.get("/start")
    def start(verb: Annotated[str, Query(max_length=40)] = "iterate") -> Response:
        return _start(pages, verb, {}, None)

    @router.post("/start")
    async def begin(request: Request) -> Response:
        form = await _form(request)
        return await run_in_threadpool(_begin, pages, form)

    @router.post("/jobs/{job_id}/{action}")
    def act(job_id: JobId, action: str) -> Response:
        pages.do(job_id, action)
        return RedirectResponse(f"/jobs/{job_id}", 303)


def _begin(pages: Pages, form: Mapping[str, str]) -> Response:
    verb = form.get("verb", "")
    try:
        fields = fields_of(pages.site.verbs.schema(verb), GROUPS)
        submitted = pages.board.submit(verb, overrides_of(fields, form))
    except TsadError as error:
        return _start(pages, verb, form, error)
    return RedirectResponse(f"/jobs/{submitted.job.id}", 303)


def _start(pages: Pages, verb: str, form: Mapping[str, str], error: TsadError | None) -> Response:
    """The form of a verb, filled as it was where it was refused."""
    verbs = [name for name in pages.site.verbs.names() if name not in NO_JOBS]
    if verb not in verbs:
        raise RequestRefused(404, f"there is no job {verb!r}", f"There are {', '.join(verbs)}.")
    schema = pages.site.verbs.schema(verb)
    return pages.drawn(
        "start.html", status_of(error) if error else 200, verb=verb, verbs=verbs, about=schema["description"],
        fields=fields_of(schema, GROUPS), form=form, error=error,
        loops=[one.name for one in pages.looking.status().loops],
    )  # fmt: skip


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, each once."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > FORM:
        raise RequestRefused(413, "the form is too large, or does not say how large it is", "")
    async with request.form(max_fields=500, max_files=0) as form:
        return {key: value for key, value in form.items() if isinstance(value, str)}


def _store(pages: Pages) -> dict[str, Any]:
    try:
        return {"store": pages.looking.status(), "down": None}
    except TsadError as error:  # the page says so, and goes on asking
        return {"store": None, "down": error}


def _templates() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    filters: dict[str, Callable[..., str]] = {"figure": _figure, "path": _path, "moment": _moment, "took": _took}
    made.filters.update(filters)
    made.globals |= {"done": DONE}
    return made


def _path(text: object) -> str:
    return quote(str(text), safe="")


def _figure(value: float | None) -> str:
    return "–" if value is None else decimals(value)


def _moment(text: str | None) -> str:
    """To the second, UTC, as people read it."""
    return "–" if not text else f"{text[:19].replace('T', ' ')} UTC"


def _took(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
