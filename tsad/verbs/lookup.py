"""Which function is behind a verb."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from tsad.command.naming import nearest
from tsad.config import options_of
from tsad.core.errors import ConfigError

IN_LOOP = ("detect", "push", "pull", "train", "evaluate", "promote", "report")


def verb_function(verb: str) -> Callable[..., float | None]:
    """The function behind a verb: ``tsad.verbs.<verb>.run``, or the loop's.

    Raises:
        ConfigError: no such verb.
    """
    if verb == "iterate":
        return importlib.import_module("tsad.loop.iteration").iterate
    room = "loop" if verb in IN_LOOP else "verbs"
    try:
        return importlib.import_module(f"tsad.{room}.{verb}").run
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != f"tsad.{room}.{verb}":
            raise
        raise ConfigError(f"unknown verb {verb}", nearest(verb, options_of("task"))) from error
