"""``tsad serve``: answers over HTTP until Ctrl-C."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tsad.config.workbench import Workbench
from tsad.core.control import StopRequested
from tsad.core.errors import TsadError
from tsad.core.hosts import is_loopback
from tsad.core.masking import mask_urls
from tsad.core.option_model import Options, Refusal
from tsad.core.results import Result
from tsad.core.serving import Address, Bounds, Standing
from tsad.core.urls import http_address
from tsad.files.secret import kept_secret, secret_in
from tsad.jobs.board import JobBoard
from tsad.jobs.dispatch import Dispatcher
from tsad.loop.hearing import serving
from tsad.loop.hints import Hints
from tsad.loop.live_champion import LiveChampion
from tsad.loop.on_the_spot import OnTheSpot
from tsad.loop.watching import named_for_watching
from tsad.verbs.asking import Asking
from tsad.verbs.console import Console

WAITS = True  # no line now and then
POLL = 0.25  # seconds between two looks at whether to stop
MB = 10**6


class ServeKeys(Options):
    """Own keys of ``tsad serve``."""

    only: Literal["", "backend", "worker"]
    host: str
    port: int = Field(ge=0, le=65535)
    token_env: str
    connect: bool
    url: str
    preload: bool
    poll_seconds: float = Field(gt=0)
    running: int = Field(ge=1)
    waiting: int = Field(ge=0)
    seconds: float = Field(gt=0)
    body_mb: float = Field(gt=0)

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        return http_address(url, "https://tsad.example.org", "The token goes by itself.") if url else url

    @model_validator(mode="after")
    def _reachable(self) -> ServeKeys:
        if (self.connect or self.preload) and self.only != "backend":
            found = "{connect} and {preload} are about one loop's backend"
            raise Refusal(found, "Leave them out, or set {only}=backend.")
        if self.connect and not self.url and self.host in ("0.0.0.0", "::"):
            found = "{host} is {0}, which nobody can call"
            raise Refusal(found, "Say how Label Studio reaches it: {url}=http://...", self.host)
        return self

    @property
    def bounds(self) -> Bounds:
        """How much is done at once."""
        return Bounds(self.running, self.waiting, self.seconds, int(self.body_mb * MB))


keys_model = ServeKeys


@dataclass(frozen=True, eq=False)
class ServeUp(Result):
    """What is served, and where.

    Attributes:
        model_version: of the champion; "" where there is none yet.
        token: where it is to be had; never the token itself.
        open: whether others on the network reach it.
    """

    loop: str
    url: str
    model_version: str
    token: str
    open: bool


@dataclass(frozen=True, eq=False)
class SiteUp(Result):
    """The whole service, and where it is; ``token`` is where that is to be had, ``open`` whether others reach it."""

    url: str
    token: str
    open: bool


@dataclass(frozen=True, eq=False)
class WorkerUp(Result):
    """A host that works on jobs and answers nothing; the queues that it takes them from, one entry for each place."""

    queue: str
    slots: tuple[str, ...]


def run(bench: Workbench, keys: ServeKeys, console: Console) -> ServeUp | SiteUp | WorkerUp:
    """Serve until Ctrl-C or SIGTERM; what is being answered then is answered.

    Raises:
        ConfigError: nothing can listen there, the token's variable is not set, or Label Studio refuses to call there.
        LoopError: several loops are open and none is named.
        MissingPackageError: what answers HTTP is not installed.
    """
    if not keys.only:
        return _whole(bench, keys, console)
    if keys.only == "worker":
        return _worker(bench, console)
    bench = named_for_watching(bench)
    token, place = _token(bench, keys.token_env)
    champion, hints = LiveChampion(bench, keys.poll_seconds), Hints(bench.home, bench.loop.name)
    with champion.followed():
        if keys.preload:
            champion.current()
        at, model = Address(keys.host, keys.port), OnTheSpot(champion)
        with serving(bench).backend(at, token, model, hints.give, keys.bounds) as url:
            reviewer, own = champion.own.make_reviewer() if keys.connect else None, keys.url or url
            if reviewer is not None:
                reviewer.connect("backend", own, token)
            up = ServeUp(bench.loop.name, url, champion.label, place, not is_loopback(keys.host))
            console.answer(up, _present)
            try:
                _until_stopped(bench, console)
            finally:
                if reviewer is not None:
                    with suppress(TsadError, StopRequested):
                        reviewer.disconnect("backend", own)
    return up


def _whole(bench: Workbench, keys: ServeKeys, console: Console) -> SiteUp:
    token, place = _token(bench, keys.token_env)
    standing = Standing(Address(keys.host, keys.port), token, keys.bounds, bench.overrides)
    with serving(bench).whole(standing, bench) as url:
        up = SiteUp(url, place, not is_loopback(keys.host))
        console.answer(up, _present_site)
        _until_stopped(bench, console)
    return up


def _worker(bench: Workbench, console: Console) -> WorkerUp:
    board = JobBoard(bench, Asking())
    board.queues.check()
    dispatcher = Dispatcher(board)
    with dispatcher.dispatching():
        up = WorkerUp(mask_urls(bench.service.queue) or "the store's own", tuple(s.name for s in dispatcher.slots))
        console.answer(up, _present_worker)
        _until_stopped(bench, console)
    board.close()
    return up


def _until_stopped(bench: Workbench, console: Console) -> None:
    try:
        while True:
            bench.context.control.safe_point()
            time.sleep(POLL)
    except StopRequested:
        console.say("stopping: what is being answered is answered first")


def _token(bench: Workbench, variable: str) -> tuple[str, str]:
    """The token, and where it is to be had."""
    if not variable:
        path = bench.home / "service" / "token"
        return kept_secret(path), str(path)
    return secret_in(variable, "token_env", ": one is made and kept in the store"), f"${variable}"


def _present_worker(up: WorkerUp, console: Console) -> None:
    console.say(f"works on jobs of the queue {up.queue}: {', '.join(up.slots) or 'none'}   (Ctrl-C ends it)")


def _present_site(up: SiteUp, console: Console) -> None:
    console.say(f"tsad's service: {up.url}   (Ctrl-C ends it)")
    console.say(f"  the page asks for a token; it is in {up.token}")
    console.say(f"  what programs use: {up.url}/api/v1, described in {up.url}/openapi.json")
    if up.open:
        console.say("warning: whoever reaches it on the network can try; everything goes over it unencrypted")


def _present(up: ServeUp, console: Console) -> None:
    answers = f"{up.model_version} answers" if up.model_version else "no champion yet; the first one will answer"
    console.say(f"Label Studio's ML backend of loop {up.loop}: {up.url}   (Ctrl-C ends it)")
    console.say(f"  {answers}")
    console.say(f"  HTTP Basic, any user, the password is in {up.token}")
    if up.open:
        console.say("warning: whoever reaches it on the network can try; everything goes over it unencrypted")
