"""``tsad studio``: start, stop or look at the embedded Label Studio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.verbs.console import Console


class StudioKeys(Options):
    """Own keys of ``tsad studio``; port 0 = the one it had last time, else 8080, else any free one."""

    action: Literal["start", "stop", "status"]
    port: int = Field(ge=0, le=65535)


keys_model = StudioKeys


@dataclass(frozen=True, eq=False)
class StudioState(Result):
    """The embedded Label Studio after the action.

    Attributes:
        state: in words; ``stopped`` says whether it was this call that stopped it.
        url, user, password_file: where it runs, and how to get in; ``None`` unless it was started.
    """

    action: str
    state: str
    stopped: bool = False
    url: str | None = None
    user: str | None = None
    password_file: str | None = None


def run(bench: Workbench, keys: StudioKeys, console: Console) -> StudioState:
    """Start the server in the background (twice makes no second one), stop it, or say whether it runs.

    Raises:
        MissingPackageError: Label Studio is not installed.
        ReviewError: the port is taken, or the server does not come up.
    """
    from tsad.review import server

    if keys.action == "status":
        return console.answer(StudioState("status", server.describe(bench.label_studio(), bench.home)), _present)
    if keys.action == "stop":
        stopped = server.stop(bench.home)
        state = "Label Studio stopped" if stopped else "Label Studio was not running"
        return console.answer(StudioState("stop", state, stopped), _present)
    with console.status("starting Label Studio") as line:
        url = server.start(bench.home, keys.port, tick=line)
    user, password = server.read_credentials(bench.home).user, str(server.credentials_file(bench.home))
    state = f"Label Studio runs at {url}"
    return console.answer(StudioState("start", state, url=url, user=user, password_file=password), _present)


def _present(studio: StudioState, console: Console) -> None:
    console.say(f"Label Studio: {studio.state}" if studio.action == "status" else studio.state)
    if studio.url is not None:
        console.say(f"  user {studio.user}, password in {studio.password_file}")
        console.say("  stop it with tsad studio action=stop")
