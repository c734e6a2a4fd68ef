"""Which module is behind a verb."""

from __future__ import annotations

import importlib
from types import ModuleType

from tsad.command.naming import nearest
from tsad.config import options_of
from tsad.core.errors import ConfigError


def verb_module(verb: str) -> ModuleType:
    """The module behind a verb, ``tsad.verbs.<verb>``: its ``keys_model`` and ``run``.

    Raises:
        ConfigError: no such verb.
    """
    if verb not in options_of("task"):  # what verbs share lies beside them
        raise ConfigError(f"unknown verb {verb}", nearest(verb, options_of("task")))
    return importlib.import_module(f"tsad.verbs.{verb}")


def makes_loops(verb: ModuleType) -> bool:
    """Whether each call of the verb is about a loop's own numbers, so that no two jobs of a sweep may share a loop."""
    return bool(getattr(verb, "MAKES_LOOPS", False))


def waits(verb: ModuleType) -> bool:
    """Whether the verb goes on for days, mostly waiting: a journal is to hold what happens, not that nothing does."""
    return bool(getattr(verb, "WAITS", False))
