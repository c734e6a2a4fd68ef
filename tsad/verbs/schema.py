"""``tsad schema``: what verbs take, as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tsad.config import options_of
from tsad.config.schemas import group_schemas, schema_of
from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.verbs.console import Console
from tsad.verbs.lookup import verb_module


class SchemaKeys(Options):
    """Own keys of ``tsad schema``; ``of``: the verb, ``None`` = all of them."""

    of: str | None


keys_model = SchemaKeys


@dataclass(frozen=True, eq=False)
class Schemas(Result):
    """JSON Schema by verb."""

    schemas: Mapping[str, Any]


def run(bench: Workbench, keys: SchemaKeys, console: Console) -> Schemas:
    """Print the JSON Schema of a verb's keys and groups; of all verbs as one object.

    Raises:
        ConfigError: no such verb.
    """
    groups = group_schemas()
    verbs = [keys.of] if keys.of else options_of("task")
    schemas = {verb: schema_of(verb, verb_module(verb).keys_model, groups) for verb in verbs}
    plain = json.loads(json.dumps(schemas, default=str))
    return console.answer(Schemas(plain), lambda answer, shown: _present(answer, shown, keys.of))


def _present(answer: Schemas, console: Console, verb: str | None) -> None:
    asked = answer.schemas[verb] if verb else answer.schemas
    console.say(json.dumps(asked, indent=1, ensure_ascii=False))
