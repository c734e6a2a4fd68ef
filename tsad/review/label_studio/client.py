"""Label Studio's API through its SDK: what the review room calls, with every failure as one clear line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from tsad.core.errors import ReviewError, TsadError

CONNECT_SECONDS = 5.0
READ_SECONDS = 300.0  # importing a chunk of long windows into SQLite takes a while
PAGE = 100
FILTERS = 50  # conditions of one query
ANSWERED = {
    "conjunction": "or",
    "items": [
        {"filter": f"filter:tasks:{name}", "operator": "greater", "type": "Number", "value": 0}
        for name in ("total_annotations", "cancelled_annotations")
    ],
}
UNTOUCHED = {
    "conjunction": "and",
    "items": [
        *(
            {"filter": f"filter:tasks:{name}", "operator": "equal", "type": "Number", "value": 0}
            for name in ("total_annotations", "cancelled_annotations")
        ),
        {"filter": "filter:tasks:draft_exists", "operator": "equal", "type": "Boolean", "value": False},
    ],
}


class Client:
    """One Label Studio server and one user's token. Legacy tokens and personal access tokens both work.

    Raises:
        ReviewError: from every method: unreachable, token refused, object gone, request refused.
    """

    def __init__(self, url: str, token: str) -> None:
        import httpx

        self.url, self._token = url.rstrip("/"), token
        limits = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        # A company's proxy knows nothing of a server on this machine.
        local = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(timeout=limits, follow_redirects=True, trust_env=not local)

    @cached_property
    def _sdk(self) -> Any:
        """The SDK over the same connection, made at first use: its import takes longer than a look at the queue."""
        from label_studio_sdk import LabelStudio

        with self._calling("connect"):
            return LabelStudio(base_url=self.url, api_key=self._token, httpx_client=self._http)

    @contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        """Turn what the SDK and the network raise into a ReviewError; never with the token or a header in it."""
        import httpx

        try:
            yield
        except TsadError:
            raise
        except httpx.TimeoutException as error:
            raise ReviewError(
                f"Label Studio at {self.url} did not answer in time ({what})", "Look at its log, or try again."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ReviewError(
                f"Label Studio at {self.url} cannot be reached ({what}): {error}",
                "Start it with tsad studio, or mend review.url and the network.",
            ) from error
        except Exception as error:
            from label_studio_sdk.core.api_error import ApiError

            if not isinstance(error, ApiError):
                raise
            raise _refused(self.url, what, error.status_code or 0, error.body) from error

    def find_projects(self, title: str) -> list[dict[str, Any]]:
        """Projects with exactly this title."""
        found: list[dict[str, Any]] = []
        page, total = 1, 1
        while (page - 1) * PAGE < total:
            # The server's filter matches parts of a title, in any case.
            params = {"title": title, "page_size": PAGE, "page": page}
            with self._calling(f"find project {title}"):
                answer = self._send("GET", "/api/projects/", params=params)
            found += answer["results"]
            page, total = page + 1, int(answer["count"])
        return [project for project in found if project["title"] == title]

    def create_project(self, **fields: Any) -> dict[str, Any]:
        with self._calling("create the project"):
            return _plain(self._sdk.projects.create(**fields))

    def update_project(self, project: int, **fields: Any) -> None:
        with self._calling("change the project"):
            self._sdk.projects.update(project, **fields)

    def import_tasks(self, project: int, tasks: Sequence[Any]) -> int:
        """Create tasks with their predictions in one call; how many were created."""
        with self._calling(f"import {len(tasks)} tasks"):
            made = self._sdk.projects.import_tasks(id=project, request=list(tasks), return_task_ids=True)
        return int(made.task_count or 0)

    def replace_predictions(self, project: int, predictions: Sequence[Any]) -> None:
        """Give tasks (``task`` = id in each prediction) these predictions instead of those they have."""
        ids = [p["task"] for p in predictions]
        with self._calling(f"replace the pre-annotations of {len(ids)} tasks"):
            self._act("delete_tasks_predictions", project, ids)
            self._sdk.projects.import_predictions(id=project, request=list(predictions))

    def delete_untouched(self, project: int, ids: Sequence[int]) -> None:
        """Delete these tasks, but not those that somebody has answered or begun meanwhile: the server itself checks."""
        with self._calling(f"delete {len(ids)} tasks"):
            self._act("delete_tasks", project, ids, UNTOUCHED)

    def _act(self, action: str, project: int, ids: Sequence[int], filters: Mapping[str, Any] | None = None) -> None:
        # The SDK's typed actions.create lacks delete_tasks_predictions, so the call goes over its connection.
        body: dict[str, Any] = {"selectedItems": {"all": False, "included": list(ids)}}
        if filters:
            body["filters"] = filters
        self._send("POST", "/api/dm/actions/", params={"id": action, "project": project}, json=body)

    def tasks(
        self, project: int, filters: Mapping[str, Any] | None = None, whole: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Tasks in the order of their ids, each without its values.

        Args:
            filters: as the data manager's. whole: with annotations and predictions.
        """
        # Not tasks.list of the SDK: building its models of tasks with thousands of points doubles the time.
        params: dict[str, Any] = {"project": project, "page_size": PAGE, "resolve_uri": "false"}
        params["fields"] = "all" if whole else "task_only"
        chosen = filters or {"conjunction": "and", "items": []}
        params["query"] = json.dumps({"filters": chosen, "ordering": ["tasks:id"]})
        page, seen, total = 1, 0, 1
        while seen < total:
            with self._calling("list the tasks"):
                answer = self._send("GET", "/api/tasks/", params={**params, "page": page})
            rows, total, page = answer["tasks"], int(answer["total"]), page + 1
            if not rows:
                return
            seen += len(rows)
            for row in rows:
                row["data"].pop("series", None)
                yield row

    def find(self, project: int, key: str, values: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Tasks whose data has one of these values under the key."""
        for at in range(0, len(values), FILTERS):
            items = [
                {"filter": f"filter:tasks:data.{key}", "operator": "equal", "type": "String", "value": value}
                for value in values[at : at + FILTERS]
            ]
            yield from self.tasks(project, {"conjunction": "or", "items": items}, whole=False)

    def task(self, number: int) -> dict[str, Any]:
        """A task with its values, whole."""
        with self._calling("read a task"):
            return dict(self._send("GET", f"/api/tasks/{number}/", params={"resolve_uri": "false"}))

    def change_task(self, number: int, **fields: Any) -> None:
        with self._calling("change a task"):
            self._send("PATCH", f"/api/tasks/{number}/", json=fields)

    def annotate(self, task: int, result: Sequence[Any]) -> None:
        """Submit an annotation in the name of the token's user."""
        with self._calling("submit an annotation"):
            self._send("POST", f"/api/tasks/{task}/annotations/", json={"result": list(result)})

    def delete_annotation(self, number: int) -> None:
        """Delete an annotation; one that is gone already is as good."""
        with self._calling("delete an annotation"):
            self._send("DELETE", f"/api/annotations/{number}/", gone=True)

    def user(self) -> int:
        """Id of the user whose token this is."""
        with self._calling("ask whose token this is"):
            return int(self._send("GET", "/api/current-user/whoami")["id"])

    def count_tasks(self, project: int) -> int:
        """How many tasks the project has."""
        with self._calling("count the tasks"):
            answer = self._send("GET", f"/api/projects/{project}/", params={"include": "task_number"})
        return int(answer["task_number"])

    def views(self, project: int) -> list[dict[str, Any]]:
        """The data manager's tabs, from left to right, each with ``id`` and ``data``."""
        with self._calling("list the data manager's tabs"):
            return list(self._send("GET", "/api/dm/views/", params={"project": project}))

    def save_view(self, project: int, data: Mapping[str, Any], number: int | None = None) -> None:
        """Make a tab of the data manager, or write it in the place of number ``number``."""
        body = {"project": project, "data": dict(data)}
        with self._calling("set up the data manager's tabs"):
            if number is None:
                self._send("POST", "/api/dm/views/", json=body)
            else:
                self._send("PATCH", f"/api/dm/views/{number}/", json=body)

    def set_hotkey(self, action: str, key: str) -> None:
        """A key of the token's user, of whom alone the API sets keys; actions by the names of its settings page."""
        path = "/api/current-user/hotkeys/"
        with self._calling(f"set the hotkey {key}"):
            present = self._send("GET", path)["custom_hotkeys"]
            if present.get(action) != {"key": key}:
                self._send("PATCH", path, json={"custom_hotkeys": {**present, action: {"key": key}}})

    def _send(self, method: str, path: str, gone: bool = False, **kwargs: Any) -> Any:
        """One call over the SDK's connection; for what its models make slow or leave out.

        With ``gone`` it does not matter that there is no such thing (any more).

        A personal access token (a JWT) is changed for one that lasts minutes, which the SDK does; a legacy one is sent.
        """
        legacy = self._token.count(".") != 2
        headers = {"Authorization": f"Token {self._token}"} if legacy else self._sdk._client_wrapper.get_headers()
        answer = self._http.request(method, self.url + path, headers=headers, **kwargs)
        if gone and answer.status_code == 404:
            return None
        if answer.status_code >= 400:
            raise _refused(self.url, f"{method} {path}", answer.status_code, answer.text)
        return answer.json() if answer.content else None


def _refused(url: str, what: str, status: int, body: object) -> ReviewError:
    said = (body if isinstance(body, str) else json.dumps(body, default=str))[:300]
    if status in (401, 403):
        return ReviewError(
            f"Label Studio at {url} refused the token ({what}: {status})",
            "Copy a valid one from Account & Settings into the environment variable named by review.token_env; "
            "for the embedded one run tsad studio.",
        )
    if status == 404:
        return ReviewError(
            f"Label Studio at {url} no longer has what was asked for ({what}: 404)",
            "The project or task was deleted; push the queue again with tsad push.",
        )
    return ReviewError(f"Label Studio at {url} refused to {what}: {status} {said}", "See its log for the reason.")


def _plain(model: Any) -> dict[str, Any]:
    """A model of the SDK, which is pydantic's, as a dictionary."""
    return dict(model.model_dump()) if hasattr(model, "model_dump") else dict(model.dict())
