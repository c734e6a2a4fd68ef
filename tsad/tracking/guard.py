"""MLflow's failures turned into named errors that say what was being done."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

from tsad.core.errors import StorageError, TrackingError, TsadError
from tsad.core.masking import mask_urls

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCKED_RETRIES = 3  # SQLite: a rolled-back transaction may be tried again


class Unreachable(TrackingError):
    """A tracking server that does not answer: nothing more can be written, so nobody tries to tidy up."""


_DOING = {
    "create_experiment": "creating the loop's experiment",
    "create_model_version": "registering a model version",
    "create_run": "creating a run",
    "download_artifacts": "fetching artifacts",
    "get_run": "reading a run",
    "log_artifact": "storing an artifact",
    "log_artifacts": "storing artifacts",
    "log_batch": "logging metrics or parameters",
    "log_figure": "storing a figure",
    "log_inputs": "logging a dataset",
    "log_param": "claiming a step",
    "log_text": "storing an artifact",
    "search_model_versions": "listing model versions",
    "search_runs": "listing runs",
    "set_tag": "tagging a run",
    "set_terminated": "closing a run",
}


def error_code(error: BaseException) -> str:
    """MLflow's code of the failure behind a TrackingError, e.g. ``RESOURCE_DOES_NOT_EXIST``; "" where there is none."""
    return str(getattr(error.__cause__, "error_code", ""))


def translated(error: Exception, doing: str, uri: str) -> TsadError | None:
    """The named error for a failure of MLflow, its database or its artifact store; ``None`` for anything else."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    text = str(error).strip().split("\n")[0][:300]
    remote = isinstance(error, MlflowException) and "API request to" in text
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "database or disk is full" in text:
        where = getattr(error, "filename", None) or mask_urls(uri)
        return StorageError(f"The disk is full ({where}) while {doing}", "Free some space and go on.")
    # requests' errors are OSErrors too, so they come first
    if remote and re.search(r"error code 40[13]\b", text):
        return TrackingError(
            f"The tracking server {mask_urls(uri)} refused these credentials while {doing}",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
        )
    if isinstance(error, requests.RequestException) or (remote and "exception" in text):
        return Unreachable(
            f"The tracking server {mask_urls(uri)} does not answer while {doing} ({text})",
            "Start it again, then go on with `tsad iterate`: nothing finished is lost.",
        )
    if isinstance(error, OSError):
        return StorageError(f"Artifacts cannot be read or written while {doing} ({text})", "Check the folder's rights.")
    if isinstance(error, MlflowException | sqlalchemy.exc.SQLAlchemyError):
        return TrackingError(f"MLflow refused while {doing}: {text} (store {mask_urls(uri)})")
    return None


@contextmanager
def guarded(doing: str, uri: str) -> Iterator[None]:
    """Turn MLflow's failures inside the block into TrackingError or StorageError that say what was being done."""
    try:
        yield
    except TsadError:
        raise
    except Exception as error:
        named = translated(error, doing, uri)
        if named is None:
            raise
        raise named from error


class Client:
    """An ``MlflowClient`` of which every failure is a named error.

    All methods of MlflowClient are there under their own names; the original exception is the ``__cause__``.
    """

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method: Callable[..., Any] = getattr(self._client, name)
        doing = _DOING.get(name, name.replace("_", " "))

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in range(LOCKED_RETRIES + 1):
                try:
                    with guarded(doing, self._uri):
                        return method(*args, **kwargs)
                except TrackingError as error:
                    if attempt == LOCKED_RETRIES or "database is locked" not in str(error):
                        raise
                    time.sleep(0.2 * 2**attempt)
            raise AssertionError("unreachable")

        return call
