"""``tsad ui``: the MLflow UI on the configured store."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import dataclass

from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.verbs.console import Console

POLL = 0.3  # seconds between two looks at whether to stop


class UiKeys(Options):
    """Own keys of ``tsad ui``; port 0 = 5000, or any free one where that is taken."""

    port: int = Field(ge=0, le=65535)
    token: bool
    browser: bool


keys_model = UiKeys


@dataclass(frozen=True, eq=False)
class UiUp(Result):
    """Where the UI answers.

    Attributes:
        url: what a browser is to open: it leads to the loop, and carries the token.
        own: a tracking server shows its own, and none was started.
        opened: whether a browser was told to open it.
        loop: "" where the store has none yet.
    """

    store: str
    url: str
    own: bool
    loop: str = ""
    opened: bool = False


def run(bench: Workbench, keys: UiKeys, console: Console) -> UiUp:
    """Serve the MLflow UI on this machine until Ctrl-C, opened at the loop that ``loop.name`` names, else at the one
    begun last; a tracking server has its own, and the loop's address there is said.

    Raises:
        TrackingError: the store cannot be opened, the port is taken, or the server does not come up.
    """
    from tsad.loop.showing import shown
    from tsad.tracking.store import open_store
    from tsad.tracking.ui import open_browser, served, server_link

    def answer(link: str) -> UiUp:
        opened = keys.browser and console.private and open_browser(link)
        return console.answer(UiUp(store.uri, link, store.is_server, loop.loop, opened), _present)

    store = open_store(bench.tracking, bench.home)
    up = None
    try:
        loop = shown(store, bench)
        if store.is_server:
            return answer(server_link(store, loop.route))
        with served(store, keys.port, loop.route, keys.token) as server:
            up = answer(server.link)
            while server.process.poll() is None:
                bench.context.control.safe_point()
                with suppress(subprocess.TimeoutExpired):
                    server.process.wait(POLL)
    except KeyboardInterrupt:
        if up is None:
            raise
        console.say("MLflow UI stopped")
    return up


def _present(up: UiUp, console: Console) -> None:
    shows = "the tracking server shows its own UI:" if up.own else "MLflow UI on"
    console.say(f"{shows} {up.store}{f', loop {up.loop}' if up.loop else ''}")
    console.say(f"  {up.url}{'' if up.own else '   (Ctrl-C ends it)'}")
    if up.opened:
        console.say("  a browser was told to open it")
