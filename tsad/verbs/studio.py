"""``tsad studio``: start, stop or look at the embedded Label Studio."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.loop.common import say

ACTIONS = ("start", "stop", "status")


def run(bench: Workbench, *, action: str = "start", port: int = 0) -> None:
    """Start the server in the background (twice makes no second one), stop it, or say whether it runs.

    Args:
        action: ``start``, ``stop`` or ``status``.
        port: on 127.0.0.1; 0 = the one it had last time, else 8080, else any free one.

    Raises:
        ConfigError: another action, a port outside 0..65535.
        MissingPackageError: Label Studio is not installed.
        ReviewError: the port is taken, or the server does not come up.
    """
    from tsad.review import server

    if action not in ACTIONS:
        raise ConfigError(f"action={action} is not one of {', '.join(ACTIONS)}", "Choose one of them.")
    if not 0 <= port <= 65535:
        raise ConfigError(f"port={port} is no port", "Use 1..65535, or 0 for any free one.")
    if action == "status":
        say(f"Label Studio: {server.describe(bench.label_studio(), bench.home)}")
    elif action == "stop":
        say("Label Studio stopped" if server.stop(bench.home) else "Label Studio was not running")
    else:
        _start(bench, port)


def _start(bench: Workbench, port: int) -> None:
    from rich.console import Console

    from tsad.review import server

    with Console(stderr=True).status("starting Label Studio") as line:
        url = server.start(bench.home, port, tick=line.update)
    say(f"Label Studio runs at {url}")
    say(f"  user {server.read_credentials(bench.home).user}, password in {server.credentials_file(bench.home)}")
    say("  stop it with tsad studio action=stop")
