"""A loop goes on under its own config: what was typed is compared with it, and what nobody typed comes from it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tsad.config.freeze import differences, laid_over
from tsad.config.typed import TypedKeys
from tsad.config.workbench import Workbench
from tsad.core.advice import give_up, named_loop
from tsad.core.errors import LoopError
from tsad.loop.opening import open_loop

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration

# When a loop stops and what its runs keep: they may change from one iteration to the next.
BETWEEN_ITERATIONS = ("loop", "tracking")
CONNECTIONS = ("tracking", "review.url", "loop.name")


def under_own_config(asked: Workbench, newest: Iteration | None, new: bool) -> Workbench:
    """The workbench that a loop goes on with: an open iteration's, else the newest one's with what was typed over it.

    Args:
        asked: named as the loop.
        newest: the loop's newest iteration; ``None`` = the loop is new, and ``asked`` is its config.
        new: the open iteration is given up.
    """
    if newest is None:
        return asked
    if newest.open and not new:
        return asked.thaw(newest.config_yaml)
    merged = laid_over(asked.config_yaml, newest.config_yaml, TypedKeys.of(asked.overrides))
    return asked.thaw(merged).named(asked.loop.name)


def as_its_loop_has_it(asked: Workbench) -> Workbench:
    """The workbench for a question about a loop: the config of its newest iteration with what was typed over it.

    So that who asks need not repeat which source, detector and windows the loop has.
    """
    loop = open_loop(asked)
    newest = loop.open_iteration() or next(reversed(loop.iterations()), None)
    return under_own_config(asked, newest, new=True)


def connections_alone(bench: Workbench, asked: Sequence[str] = ()) -> Workbench:
    """The workbench of a service for a question about a loop.

    What the service was started with is not typed over that loop's config, or its series would be read from another
    loop's source; how store and Label Studio are reached is, and what is ``asked`` for.
    """
    typed = [w for w in bench.overrides if w in asked or w.partition("=")[0].startswith(CONNECTIONS)]
    return replace(bench, overrides=tuple(typed))


def refuse_another_config(asked: Workbench, newest: Iteration) -> None:
    """Refuse what was typed where it differs from the config of the loop that it names.

    Raises:
        LoopError: names every difference, and what to type; what would lose reviews says so.
    """
    loop, typed = newest.loop.name, TypedKeys.of(asked.overrides)
    if not newest.open:
        typed = TypedKeys(frozenset(key for key in typed.keys if key.partition(".")[0] not in BETWEEN_ITERATIONS))
    refused = ", ".join(differences(asked.config_yaml, newest.config_yaml, typed))
    if not refused:
        return
    beside = f"Leave it out; or try it in a loop of its own, {named_loop(f'{loop}-2')}"
    if newest.open:
        raise LoopError(
            f"iteration {newest.number} of loop {loop} is open and its config is frozen; it differs in {refused}",
            f"{beside}; or: {give_up(loop)}",
        )
    raise LoopError(
        f"loop {loop} was made with another config; it differs in {refused}",
        f"{beside}; or let this loop go on with it from iteration {newest.number + 1} on: new=true "
        f"loop.iterations={newest.number + 1} (nothing is lost).",
    )


def how_to_go_on(asked: Workbench, loop: str) -> str:
    """The command that takes an open iteration up again; where the store is, is typed once more."""
    where = [shlex.quote(word) for word in asked.overrides if word.partition("=")[0] in ("tracking", "tracking.uri")]
    return " ".join(["tsad iterate", *where, named_loop(loop)])
