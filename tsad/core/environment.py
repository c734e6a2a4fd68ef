"""The process's environment variables: the one place that writes them.

They are the only switches that MLflow, the hubs and Hydra offer. Every entrance calls :func:`set_environment` before a
heavy import: the command line, the file that is copied into every registered model, worker processes, the tests.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

# Nothing phones home.
SILENCED = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "COLLECT_ANALYTICS": "false",
    "HF_UPDATE_DOWNLOAD_COUNTS": "false",
}
# A hub is asked only where the user says HF_HUB_OFFLINE=0.
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
QUIET = {
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # transformers asks the hub's switch for its own bars
}
ATTEMPTS = 3  # per HTTP request to a tracking server: the first and two more
BACKOFF_SECONDS = 3  # what urllib3 waits between three attempts at factor 1, jitter included


def set_environment(timeout_seconds: float | None = None, home: Path | None = None, line: str | None = None) -> None:
    """Switch telemetry, hubs and chatter off; child processes inherit it on purpose.

    Args:
        timeout_seconds: within which a request to a tracking server ends, retries included; ``None`` = as it was.
        home: the store's folder, for Hydra's folders in it; given by the command line alone, to which errors then come
            instead of being printed by Hydra.
        line: the command line that Hydra is to complete, instead of the shell's.
    """
    os.environ.update(SILENCED | QUIET)
    # Threads that spin while they wait stall each other tenfold where another process wants the same cores.
    for name, value in {"OMP_WAIT_POLICY": "PASSIVE", **dict.fromkeys(OFFLINE, "1")}.items():
        os.environ.setdefault(name, value)
    if timeout_seconds is not None:
        os.environ.update(
            MLFLOW_HTTP_REQUEST_TIMEOUT=str(max(1, int((timeout_seconds - BACKOFF_SECONDS) / ATTEMPTS))),
            MLFLOW_HTTP_REQUEST_MAX_RETRIES=str(ATTEMPTS - 1),
            MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="1",
        )
    if home is not None:
        os.environ.update(TSAD_HOME=str(home), HYDRA_FULL_ERROR="1")
    if line is not None:
        os.environ["COMP_LINE"] = line
    for name in ("mlflow", "alembic", "bitsandbytes"):  # the last one misses kernels that nobody needs
        logging.getLogger(name).setLevel(logging.ERROR)


def set_devices(visible: str) -> None:
    """Which GPUs CUDA shows to this process, before anything has asked for one."""
    os.environ["CUDA_VISIBLE_DEVICES"] = visible


def taken(name: str) -> str:
    """The value of a variable that is for this process alone: processes that it starts do not get it; "" = not set."""
    return os.environ.pop(name, "")
