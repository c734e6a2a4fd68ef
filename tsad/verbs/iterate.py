"""``tsad iterate``: all of the loop in order, stopping where people have to act, resuming where it stopped."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.advice import named_loop
from tsad.core.option_model import Options
from tsad.loop.iteration import LoopState, iterate
from tsad.verbs.console import Console
from tsad.verbs.iterations import show_iterations


class IterateKeys(Options):
    """Own keys of ``tsad iterate``."""

    new: bool


keys_model = IterateKeys
MAKES_LOOPS = True  # a job of a sweep gets one of its own


def run(bench: Workbench, keys: IterateKeys, console: Console) -> LoopState:
    """Go on with the open iteration, or begin one, until people have to act or the loop reaches its end.

    Raises:
        LoopError: several loops are open and none is named, or what was typed differs from the config the loop has.
        ClaimError: another process works on this loop.
    """
    return console.answer(iterate(bench, keys.new), _present)


def _present(state: LoopState, console: Console) -> None:
    """The table at the end: one row per iteration, then where it stands."""
    show_iterations(state.iterations, state.loop, console)
    for outage in state.outages:
        console.say(f"iteration {outage.iteration}: {outage.text}")
    for gap in (state.learning, state.evidence):
        if gap is not None:
            console.say(f"what is missing: {gap}")
    if state.waiting is not None:
        console.say(f"iteration {state.waiting.iteration} waits for reviews at {state.waiting.url}")
        console.say("run tsad iterate again when they are done")
    elif state.exhausted:
        console.say("nothing is left to review or to learn from: bring more series or longer ones, then tsad iterate")
    elif state.ended:
        console.say(f"the loop has reached its end; to go on: tsad iterate {named_loop(state.loop)} {_further(state)}")
    if state.score is not None:
        console.say("compare the iterations: tsad ui")


def _further(state: LoopState) -> str:
    """The key that ended the loop, with a value that lets it go on."""
    done = len(state.iterations)
    return f"loop.iterations={done + state.limit}" if done >= state.limit else "loop.until_f1=0"
