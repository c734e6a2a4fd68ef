"""``tsad ui``: the MLflow UI on the configured store."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.loop.common import say


def run(bench: Workbench, *, port: int = 0) -> None:
    """Serve the MLflow UI on this machine until Ctrl-C; a tracking server has its own, and its URL is printed.

    Args:
        port: on 127.0.0.1; 0 = 5000, or any free one where that is taken.

    Raises:
        ConfigError: a port outside 0..65535.
        TrackingError: the store cannot be opened, the port is taken, or the server does not come up.
    """
    from tsad.tracking.store import open_store
    from tsad.tracking.ui import served

    if not 0 <= port <= 65535:
        raise ConfigError(f"port={port} is no port", "Use 1..65535, or 0 for any free one.")
    store = open_store(bench.tracking, bench.home)
    if store.is_server:
        say(f"the tracking server shows its own UI: {store.uri}")
        return
    try:
        with served(store, port) as (url, server):
            say(f"MLflow UI on {store.uri}")
            say(f"  {url}   (Ctrl-C ends it)")
            server.wait()
    except KeyboardInterrupt:
        say("MLflow UI stopped")
