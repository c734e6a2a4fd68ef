"""Verbs called as the command line calls them: keys from the task's YAML and those given, presented as text."""

from __future__ import annotations

from typing import Any

import yaml

from tsad.config.validation import validated
from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.files.locate import shipped
from tsad.verbs.console import Console
from tsad.verbs.lookup import verb_module


def keys(verb: str, /, **given: Any) -> Options:
    """The verb's own keys: those of ``conf/task/<verb>.yaml``, and what is given instead."""
    values = yaml.safe_load((shipped("conf") / "task" / f"{verb}.yaml").read_text("utf-8")) or {}
    return validated(verb_module(verb).keys_model, values | given, owner=verb)


def call(verb: str, bench: Workbench, /, **given: Any) -> Any:
    """Run a verb with these keys; what it says goes to standard output, its result is given back."""
    result = verb_module(verb).run(bench, keys(verb, **given), Console())
    assert isinstance(result, Result)
    return result
