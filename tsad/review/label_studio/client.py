"""Label Studio's API, by its SDK and, where its models are slow or lack a call, over the same connection; every failure
is one clear line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tsad.core.context import Context
from tsad.core.errors import ReviewError, TsadError
from tsad.review.label_studio.addresses import is_own

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
READ_SECONDS = 300.0  # importing a chunk of long windows into SQLite takes a while
PAGE = 100  # tasks per page: the server's time per task grows with longer ones
NAMES, IDS = 100, 500  # window ids, task ids in one query: a reverse proxy takes addresses of 8 kB
AWAY = (502, 503, 504)  # what a reverse proxy answers while the server behind it restarts
POLL = 0.5
Filter = dict[str, Any]
ONCE: dict[str, Any] = {"request_options": {"max_retries": 0}}  # of the SDK: what is made again is decided here


def where(name: str, operator: str, value: Any, kind: str = "Number") -> Filter:
    """A condition of the data manager on a column of tasks."""
    return {"filter": f"filter:tasks:{name}", "operator": operator, "type": kind, "value": value}


ANSWERED = ([where("total_annotations", "greater", 0)], [where("cancelled_annotations", "greater", 0)])  # either
UNTOUCHED = [
    where("total_annotations", "equal", 0), where("cancelled_annotations", "equal", 0),
    where("draft_exists", "equal", False, "Boolean"),
]
EVALUATED = {"annotations", "predictions", "draft_exists"}  # columns that the server adds only where all are asked for


class LostCallError(ReviewError):
    """The server went away in the middle of a call and is back: whether it did what was asked is not known."""


class Client:
    """One Label Studio server and one user's token. Legacy tokens and personal access tokens both work.

    A server that has answered once and then goes away (it restarts, a proxy does) is waited for, and calls that may be
    made twice are made again.

    Args:
        patience: seconds to wait for it; 0 = not at all. context: who watches the wait, and who may stop it.

    Raises:
        ReviewError: from every method: unreachable, token refused, object gone, request refused.
        LostCallError: from the methods that name it.
    """

    def __init__(self, url: str, token: str, patience: float = 0.0, context: Context | None = None) -> None:
        self.url, self._token, self._patience = url.rstrip("/"), token, patience
        self._context, self._met = context or Context(), False

    @cached_property
    def _http(self) -> httpx.Client:
        """The connection, made at first use."""
        import httpx

        from tsad.review.label_studio.tokens import TokenAuth

        # A company's proxy knows nothing of a server on this machine.
        local = is_own(urlsplit(self.url).hostname or "")
        return httpx.Client(
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS), follow_redirects=True, trust_env=not local,
            auth=TokenAuth(self.url, self._token),
        )

    @cached_property
    def _sdk(self) -> Any:
        """The SDK over the same connection, imported where something is made: the import takes longer than a look."""
        from label_studio_sdk import LabelStudio

        # Not the token: the connection adds it, and renews it; the SDK would renew by this machine's clock.
        return LabelStudio(base_url=self.url, api_key="set by the connection", httpx_client=self._http)

    def find_projects(self, title: str) -> list[dict[str, Any]]:
        """Projects with exactly this title."""
        projects: list[dict[str, Any]] = []
        page, total = 1, 1
        while (page - 1) * PAGE < total:
            # The server's filter matches parts of a title, in any case.
            params = {"title": title, "page_size": PAGE, "page": page}
            answer = self._send("GET", "/api/projects/", f"find project {title}", params=params)
            projects += answer["results"]
            page, total = page + 1, int(answer["count"])
        return [project for project in projects if project["title"] == title]

    def create_project(self, **fields: Any) -> dict[str, Any]:
        """Raises LostCallError."""
        made = self._by_sdk("create the project", lambda sdk: sdk.projects.create(**fields, **ONCE))
        return dict(made.model_dump(exclude_unset=True))

    def delete_project(self, project: int) -> None:
        """Delete a project; one that is gone already is as good."""
        self._send("DELETE", f"/api/projects/{project}/", "delete a project made twice", gone=True)

    def update_project(self, project: int, **fields: Any) -> None:
        self._by_sdk("change the project", lambda sdk: sdk.projects.update(project, **fields, **ONCE), again=True)

    def import_tasks(self, project: int, tasks: Sequence[Any]) -> list[int]:
        """Create tasks with their predictions in one call, all or none; their ids in the same order.

        Raises:
            LostCallError: look for them before importing them once more.
        """
        made = self._by_sdk(
            f"import {len(tasks)} tasks",
            lambda sdk: sdk.projects.import_tasks(id=project, request=list(tasks), return_task_ids=True, **ONCE),
        )
        given = sum(len(task.get("predictions") or ()) for task in tasks)
        numbers = [int(number) for number in made.task_ids]
        if getattr(made, "prediction_count", given) < given:  # a busy database loses them; what never fits is named
            pairs = zip(numbers, tasks, strict=True)
            self.replace_predictions(
                project, [{"task": number, **one} for number, task in pairs for one in task.get("predictions") or ()]
            )
        return numbers

    def replace_predictions(self, project: int, predictions: Sequence[Any]) -> None:
        """Give tasks (``task`` = id in each prediction) these predictions instead of those they have."""
        what = f"replace the pre-annotations of {len(predictions)} tasks"
        for last in (False, True):
            self._act("delete_tasks_predictions", project, [p["task"] for p in predictions], what)
            try:
                made = self._by_sdk(
                    what, lambda sdk: sdk.projects.import_predictions(id=project, request=list(predictions), **ONCE)
                )
            except LostCallError:  # those that arrived are deleted once more
                if last:
                    raise
            else:
                self._all_taken(len(predictions), len(predictions) if made.created is None else made.created)
                return

    def _all_taken(self, given: int, taken: int) -> None:
        """Label Studio leaves out pre-annotations that its template does not know, and answers that all is well."""
        if taken < given:
            raise ReviewError(
                f"Label Studio at {self.url} took {taken} of {given} pre-annotations",
                "Some do not fit the project's template (its labels and controls), or its database was busy: see its "
                "log, then push again with tsad push.",
            )

    def delete_untouched(self, project: int, ids: Sequence[int]) -> None:
        """Delete these tasks, but not those that somebody has answered or begun meanwhile: the server itself checks."""
        self._act("delete_tasks", project, ids, f"delete {len(ids)} tasks", UNTOUCHED)

    def _act(
        self, action: str, project: int, ids: Sequence[int], what: str, conditions: Sequence[Filter] = ()
    ) -> None:
        """An action of the data manager on these tasks; done twice it does what it does once."""
        body: dict[str, Any] = {"selectedItems": {"all": False, "included": list(ids)}}
        if conditions:
            body["filters"] = {"conjunction": "and", "items": list(conditions)}
        params = {"id": action, "project": project}
        self._send("POST", "/api/dm/actions/", what, repeatable=True, params=params, json=body)

    def tasks(
        self, project: int, columns: Sequence[str], conditions: Sequence[Filter] = (), ids: Sequence[int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Tasks in the order of their ids, with these columns and ``id`` alone; asking for ``data`` costs most.

        Tasks that come or go meanwhile shift none of the others: each page begins after the last id of the one before.

        Args:
            conditions: of :func:`where`; all of them have to hold. ids: only these tasks; ``None`` = all.
        """
        params: dict[str, Any] = {
            "project": project, "page_size": PAGE, "resolve_uri": "false", "include": ",".join(("id", *columns)),
            "fields": "all" if EVALUATED & set(columns) else "task_only",
        }
        for batch in [None] if ids is None else _batches(ids):
            last = 0
            while True:
                asked = [*conditions, where("id", "greater", last)]
                answer = self._send("GET", "/api/tasks/", "list the tasks", params={**params, **_query(asked, batch)})
                rows = answer["tasks"]
                yield from rows
                if len(rows) >= int(answer["total"]) or not rows:
                    break
                last = rows[-1]["id"]

    def count_tasks(self, project: int, ids: Sequence[int]) -> int:
        """How many of these tasks the project has."""
        params = {"project": project, "page_size": 1, "include": "id", "resolve_uri": "false"}
        answers = (
            self._send("GET", "/api/tasks/", "count the tasks", params={**params, **_query((), batch)})
            for batch in _batches(ids)
        )
        return sum(int(answer["total"]) for answer in answers)

    def newest(self, project: int, column: str) -> Any:
        """The largest value of a column over all tasks; ``None`` without a task."""
        params = {"project": project, "page_size": 1, "include": f"id,{column}", "resolve_uri": "false"}
        query = _query((), None, f"-tasks:{column}")
        rows = self._send("GET", "/api/tasks/", "list the tasks", params={**params, **query})["tasks"]
        return rows[0][column] if rows else None

    def find(self, project: int, key: str, values: Sequence[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Tasks whose data has one of these values under the key, with these columns."""
        for at in range(0, len(values), NAMES):
            one_of = where(f"data.{key}", "in_list", list(values[at : at + NAMES]), "List")
            yield from self.tasks(project, columns, [one_of])

    def task(self, number: int) -> dict[str, Any]:
        """A task with its values, whole."""
        return dict(self._send("GET", f"/api/tasks/{number}/", "read a task", params={"resolve_uri": "false"}))

    def change_task(self, number: int, **fields: Any) -> None:
        self._send("PATCH", f"/api/tasks/{number}/", "change a task", json=fields)

    def annotate(self, task: int, result: Sequence[Any]) -> None:
        """Submit an annotation in the name of the token's user.

        Raises:
            LostCallError: look for it before submitting it once more.
        """
        self._send("POST", f"/api/tasks/{task}/annotations/", "submit an annotation", json={"result": list(result)})

    def delete_annotation(self, number: int) -> None:
        """Delete an annotation; one that is gone already is as good."""
        self._send("DELETE", f"/api/annotations/{number}/", "delete an annotation", gone=True)

    def user(self) -> int:
        """Id of the user whose token this is."""
        return int(self._send("GET", "/api/current-user/whoami", "ask whose token this is")["id"])

    def views(self, project: int) -> list[dict[str, Any]]:
        """The data manager's tabs, from left to right, each with ``id`` and ``data``."""
        return list(self._send("GET", "/api/dm/views/", "list the data manager's tabs", params={"project": project}))

    def save_view(self, project: int, data: Mapping[str, Any], number: int | None = None) -> None:
        """Make a tab of the data manager, or write it in the place of number ``number``."""
        body, what = {"project": project, "data": dict(data)}, "set up the data manager's tabs"
        if number is None:
            self._send("POST", "/api/dm/views/", what, json=body)
        else:
            self._send("PATCH", f"/api/dm/views/{number}/", what, json=body)

    def set_hotkey(self, action: str, key: str) -> None:
        """A key of the token's user, of whom alone the API sets keys; actions by the names of its settings page."""
        path, what = "/api/current-user/hotkeys/", f"set the hotkey {key}"
        present = self._send("GET", path, what)["custom_hotkeys"]
        if present.get(action) != {"key": key}:
            self._send("PATCH", path, what, json={"custom_hotkeys": {**present, action: {"key": key}}})

    def connections(self, kind: str, project: int) -> list[dict[str, Any]]:
        """What the project is connected to: ``webhooks``, or ``ml`` (backends)."""
        return list(self._send("GET", f"/api/{kind}/", f"list the project's {kind}", params={"project": project}))

    def connect(self, kind: str, fields: Mapping[str, Any], number: int | None, forbidden: TsadError) -> None:
        """Make a connection, or write it in the place of number ``number``; ``forbidden`` = what a 403 means."""
        method, path = ("POST", f"/api/{kind}/") if number is None else ("PATCH", _connection(kind, number))
        self._send(method, path, f"connect the project ({kind})", forbidden=forbidden, json=dict(fields))

    def disconnect(self, kind: str, number: int) -> None:
        """Delete a connection; one that is gone already is as good."""
        self._send("DELETE", _connection(kind, number), f"disconnect the project ({kind})", gone=True)

    def _send(
        self, method: str, path: str, what: str, *, repeatable: bool = False, gone: bool = False,
        forbidden: TsadError | None = None, **kwargs: Any,
    ) -> Any:
        """One call; its answer from JSON.

        Args:
            what: in words, for messages. repeatable: it may be made twice though it posts.
            gone: it does not matter that there is no such thing (any more). forbidden: what a 403 means here.
        """
        again = repeatable or method != "POST"
        answer = self._waited_for(lambda: self._once(method, path, what, **kwargs), again)
        if gone and answer.status_code == 404:
            return None
        if forbidden is not None and answer.status_code == 403:
            raise forbidden
        if answer.status_code >= 400:
            raise _refused(self.url, what, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def _by_sdk(self, what: str, call: Callable[[Any], Any], again: bool = False) -> Any:
        """One call by the SDK; its answer as the SDK's model."""
        from label_studio_sdk.core.api_error import ApiError

        def once() -> Any:
            try:
                with self._named(what):
                    return call(self._sdk)
            except ApiError as error:
                status = error.status_code or 0
                if status in AWAY:
                    raise self._away(what, status) from error
                body = error.body if isinstance(error.body, str) else json.dumps(error.body, default=str)
                raise _refused(self.url, what, status, body) from error

        return self._waited_for(once, again)

    def _waited_for(self, once: Callable[[], Any], again: bool) -> Any:
        """A call whose server may go away meanwhile; ``again`` = it may be made twice."""
        until: float | None = None
        while True:
            try:
                answer = once()
            except LostCallError as error:
                if not self._met or not self._patience:
                    raise ReviewError(error.found, error.remedy) from error
                until = until or time.monotonic() + self._patience
                self._wait(error, until)
                if not again:
                    raise
                continue
            self._met = True
            return answer

    def _once(self, method: str, path: str, what: str, **kwargs: Any) -> httpx.Response:
        with self._named(what):
            answer = self._http.request(method, self.url + path, **kwargs)
        if answer.status_code in AWAY:
            raise self._away(what, answer.status_code)
        return answer

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """What the network raises, in our words."""
        import httpx

        try:
            yield
        except httpx.ReadTimeout as error:
            raise ReviewError(
                f"Label Studio at {self.url} did not answer in time ({what})", "Look at its log, or try again."
            ) from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise LostCallError(
                f"Label Studio at {self.url} cannot be reached ({what}): {error}",
                "Start it with tsad studio, or mend review.url and the network.",
            ) from error
        except httpx.HTTPError as error:
            raise ReviewError(
                f"Label Studio at {self.url} cannot be understood ({what}): {error}", "Mend review.url."
            ) from error
        finally:
            self._http.cookies.clear()  # it sends a session with every answer; the token alone is what counts

    def _away(self, what: str, status: int) -> LostCallError:
        return LostCallError(f"Label Studio at {self.url} is away ({what}: {status})", "Look at it and its proxy.")

    def _wait(self, lost: LostCallError, until: float) -> None:
        """Until the server answers again, or for this call it has been away too long."""
        self._context.progress.note(f"{lost.found}; waiting up to {self._patience:.0f} s for it")
        while time.monotonic() < until:
            self._context.control.safe_point()
            time.sleep(POLL)
            try:
                self._once("GET", "/health", "wait for it", auth=None)
            except LostCallError:
                continue
            return
        raise ReviewError(f"{lost.found}, for {self._patience:.0f} s", lost.remedy)


def _connection(kind: str, number: int) -> str:
    return f"/api/{kind}/{number}{'' if kind == 'ml' else '/'}"


def _batches(values: Sequence[int]) -> Iterator[Sequence[int]]:
    return (values[at : at + IDS] for at in range(0, len(values), IDS))


def _query(conditions: Sequence[Filter], ids: Sequence[int] | None, order: str = "tasks:id") -> dict[str, str]:
    query: dict[str, Any] = {"filters": {"conjunction": "and", "items": list(conditions)}, "ordering": [order]}
    if ids is not None:
        query["selectedItems"] = {"all": False, "included": list(ids)}
    return {"query": json.dumps(query, separators=(",", ":"))}


def _refused(url: str, what: str, status: int, body: str) -> ReviewError:
    if status in (401, 403):
        return ReviewError(
            f"Label Studio at {url} refused the token ({what}: {status})",
            "Copy a valid one from Account & Settings (a Personal Access Token, unless the organization allows legacy "
            "ones) into the environment variable named by review.token_env; for the embedded one run tsad studio.",
        )
    if status == 404:
        return ReviewError(
            f"Label Studio at {url} no longer has what was asked for ({what}: 404)",
            "The project or task was deleted; push the queue again with tsad push.",
        )
    return ReviewError(f"Label Studio at {url} refused to {what}: {status} {body[:300]}", "See its log for the reason.")
