"""``tsad schema``: what verbs take, as JSON Schema."""

from __future__ import annotations

import json

from tsad.config import keys_of, options_of
from tsad.config.schemas import group_schemas, schema_of
from tsad.config.workbench import Workbench
from tsad.loop.common import say
from tsad.verbs.lookup import verb_function


def run(bench: Workbench, *, of: str | None = None) -> None:
    """Print the JSON Schema of a verb's keys and groups.

    Args:
        of: the verb; ``None`` = all of them, as one object by verb.

    Raises:
        ConfigError: no such verb.
    """
    keys = {verb: keys_of(verb_function(verb)) for verb in ([of] if of else options_of("task"))}
    groups = group_schemas()
    schemas = {verb: schema_of(verb, model, groups) for verb, model in keys.items()}
    say(json.dumps(schemas[of] if of else schemas, indent=1, ensure_ascii=False, default=str))
