"""The verbs as those see them that start them otherwise than by the command line: a service's requests and jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tsad.command.overrides import is_override
from tsad.command.secrets import refuse_secrets
from tsad.config import Settings, compose, options_of, settings, workbench
from tsad.config.schemas import group_schemas, schema_of
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.verbs.lookup import verb_module


class Asking:
    """See :class:`~tsad.core.serving.Verbs`."""

    def __init__(self) -> None:
        self._groups: Mapping[str, Any] = {}

    def names(self) -> list[str]:
        """See :class:`~tsad.core.serving.Verbs`."""
        return options_of("task")

    def schema(self, verb: str) -> Mapping[str, Any]:
        """See :class:`~tsad.core.serving.Verbs`."""
        keys = verb_module(verb).keys_model
        self._groups = self._groups or group_schemas()
        plain: dict[str, Any] = json.loads(json.dumps(schema_of(verb, keys, self._groups), default=str))
        return plain

    def check(self, verb: str, overrides: Sequence[str]) -> Settings:
        """See :class:`~tsad.core.serving.Verbs`."""
        module = verb_module(verb)
        stray = [word for word in overrides if not is_override(word) or word.lstrip("+~").startswith("task=")]
        if stray:
            raise ConfigError(f"{stray[0]!r} is no override of {verb}", "Give KEY=VALUE, and the verb by itself.")
        refuse_secrets(overrides)
        return settings(compose([f"task={verb}", *overrides]), list(overrides), module.keys_model, verb)

    def bench(self, verb: str, overrides: Sequence[str]) -> Workbench:
        """See :class:`~tsad.core.serving.Verbs`."""
        return workbench(self.check(verb, overrides))
