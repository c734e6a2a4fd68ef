"""A watcher that is told of answers by a webhook: heard while its block runs, and only ever a hint."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, TsadError
from tsad.core.serving import Address, Serving
from tsad.files.secret import secret_in
from tsad.loop.hints import Hints

if TYPE_CHECKING:
    from tsad.review.base import Reviewer

SECRET_BYTES = 32


@contextmanager
def heard(bench: Workbench) -> Iterator[Callable[[Reviewer], None] | None]:
    """Listens where ``watch.webhook`` says so; gives what connects a reviewer's own system, ``None`` = nobody listens.

    The connection is taken away at the end where that can be done; a call to where nobody listens does no harm.

    Raises:
        ConfigError: nothing can listen there, or the secret's variable is not set.
        MissingPackageError: what answers HTTP is not installed.
    """
    watch = bench.watch
    if not watch.webhook:
        yield None
        return
    secret = _secret(watch.secret_env)
    connected: list[Reviewer] = []
    with serving(bench).hooks(Address(watch.host, watch.port), secret, Hints(bench.home, bench.loop.name).give) as own:
        url = watch.url or own

        def connect(reviewer: Reviewer) -> None:
            reviewer.connect("webhook", url, secret)
            connected[:] = [reviewer]
            bench.context.progress.note(f"loop {bench.loop.name}: told of answers at {url}")

        try:
            yield connect
        finally:
            for reviewer in connected:
                with suppress(TsadError):
                    reviewer.disconnect("webhook", url)


def serving(bench: Workbench) -> Serving:
    """What answers HTTP for this call.

    Raises:
        ConfigError: nothing does.
    """
    if bench.context.serving is None:
        raise ConfigError("nothing answers HTTP for this call", "Start it with the tsad command.")
    return bench.context.serving


def _secret(variable: str) -> str:
    if not variable:
        return secrets.token_urlsafe(SECRET_BYTES)
    return secret_in(variable, "watch.secret_env", " for a new secret at each start")
