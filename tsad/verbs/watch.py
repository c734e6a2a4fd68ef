"""``tsad watch``: begins a loop's next iteration by itself, once its conditions hold."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.advice import named_loop
from tsad.core.option_model import Options
from tsad.loop.readiness import Readiness
from tsad.loop.watching import WatchDone, readiness_of, watch
from tsad.verbs.console import Console


class WatchKeys(Options):
    """Own keys of ``tsad watch``."""

    dry_run: bool


keys_model = WatchKeys
WAITS = True  # no line now and then


def run(bench: Workbench, keys: WatchKeys, console: Console) -> WatchDone | Readiness:
    """Look at the loop every now and then and go on with it when it is ready, until it ends or Ctrl-C.

    Raises:
        LoopError: several loops are open and none is named, or what was typed differs from the config the loop has.
        ConfigError: the webhook can be heard nowhere, or Label Studio refuses to call there.
    """
    if keys.dry_run:
        return console.answer(readiness_of(bench), _present_readiness)
    return console.answer(watch(bench), _present)


def _present_readiness(readiness: Readiness, console: Console) -> None:
    console.table(
        [{"condition": c.name, "holds": c.met, "as it stands": c.text} for c in readiness.conditions],
        f"loop {readiness.loop}" + (f", iteration {readiness.iteration}" if readiness.iteration else ""),
    )
    verdict = "would begin now" if readiness.ready else "ended" if readiness.ended else "not yet"
    console.say(f"loop {readiness.loop}: {verdict}: {readiness.why}")


def _present(watched: WatchDone, console: Console) -> None:
    done = ", ".join(map(str, watched.completed)) or "none"
    console.say(f"loop {watched.loop}: iterations completed meanwhile: {done}")
    if watched.readiness is not None and not watched.readiness.ended:
        console.say(f"it is watched no more; again: tsad watch {named_loop(watched.loop)}")
