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
    """Own keys of ``tsad studio``; port 0 = the one it had last time, else 8080, else any; host "" = 127.0.0.1."""

    action: Literal["start", "stop", "status"]
    port: int = Field(ge=0, le=65535)
    host: str


keys_model = StudioKeys
OPEN = (
    "whoever reaches {0} on the network sees its log-in page, and everything goes over the network unencrypted. "
    "Invite colleagues by {0}/organization (Add People): each of them can change and delete all that is in it. "
    "It is a development server, for a few people whom you trust; docs/label_studio_server.md tells how to run another."
)


@dataclass(frozen=True, eq=False)
class StudioState(Result):
    """The embedded Label Studio after the action.

    Attributes:
        state: in words; ``stopped`` says whether it was this call that stopped it.
        url, user, password_file: where it runs, and how to get in; ``None`` unless it runs.
        warning: what letting colleagues in means; "" where nobody else gets in.
    """

    action: str
    state: str
    stopped: bool = False
    url: str | None = None
    user: str | None = None
    password_file: str | None = None
    warning: str = ""


def run(bench: Workbench, keys: StudioKeys, console: Console) -> StudioState:
    """Start the server in the background (twice makes no second one), stop it, or say whether it runs.

    Raises:
        MissingPackageError: Label Studio is not installed.
        ReviewError: the port is taken, the address is none of this machine's, or the server does not come up.
    """
    from tsad.review.label_studio import server

    def present(studio: StudioState, to: Console) -> None:
        # Where nobody but the user of this terminal reads it; never part of an answer that goes elsewhere.
        own = studio.url is not None and to.private
        _present(studio, to, server.read_credentials(bench.home).password if own else "")

    if keys.action == "status":
        state, running = server.describe(bench.label_studio(), bench.home), server.status(bench.home)
        if running is None or bench.label_studio().url:
            return console.answer(StudioState("status", state), present)
        return console.answer(_running(bench, "status", state, str(running["url"])), present)
    if keys.action == "stop":
        stopped = server.stop(bench.home)
        state = "Label Studio stopped" if stopped else "Label Studio was not running"
        return console.answer(StudioState("stop", state, stopped), present)
    url = server.start(bench.home, keys.port, context=bench.context, host=keys.host)
    return console.answer(_running(bench, "start", f"Label Studio runs at {url}", url), present)


def _running(bench: Workbench, action: str, state: str, url: str) -> StudioState:
    """The server with how to get in."""
    from tsad.review.label_studio import server

    user, password_file = server.read_credentials(bench.home).user, str(server.credentials_file(bench.home))
    warning = OPEN.format(url) if server.is_open(url) else ""
    return StudioState(action, state, url=url, user=user, password_file=password_file, warning=warning)


def _present(studio: StudioState, console: Console, password: str) -> None:
    console.say(f"Label Studio: {studio.state}" if studio.action == "status" else studio.state)
    if studio.url is not None:
        console.say(f"  user      {studio.user}")
        console.say(f"  password  {password or f'in {studio.password_file}'}")
        console.say("  stop it with tsad studio action=stop")
    if studio.warning:
        console.say(f"warning: {studio.warning}")
