"""Options as JSON Schema: the models' bounds and choices, with defaults and descriptions from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tsad.config.comments import comments
from tsad.config.composing import CONFIG_NAME, option, options_of, yaml_text
from tsad.config.groups import BASES, OPTIONS
from tsad.config.parts import base_of, located, model_of
from tsad.config.validation import is_unset
from tsad.core.option_model import Options

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def group_schemas() -> dict[str, Any]:
    """What every group takes, by its name; all verbs take them all."""
    groups = {group: _group(group, model) for group, model in OPTIONS.items()}
    return groups | {group: {"oneOf": [_choice(group, name) for name in options_of(group)]} for group in BASES}


def schema_of(verb: str, keys: type[Options], groups: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that ``tsad <verb>`` takes: its own keys and the groups, as one JSON Schema.

    Args:
        keys: model of the verb's own keys. groups: see :func:`group_schemas`.
    """
    text = yaml_text(f"task/{verb}") or ""
    own = _described(keys, _read(text), comments(text))
    return {
        "$schema": DIALECT,
        "title": f"tsad {verb}",
        "description": _about(text),
        "type": "object",
        "properties": {**own["properties"], **groups},
        "required": own["required"],
        "additionalProperties": False,
    }


def _group(group: str, model: type[Options]) -> dict[str, Any]:
    """A group of one model, with the values that it has by default."""
    config = yaml_text(CONFIG_NAME) or ""
    said = {key.removeprefix(f"{group}."): about for key, about in comments(config).items() if f"{group}." in key}
    values = _read(config)
    if group in values:
        return _described(model, values[group], said)
    name = next(str(entry[group]) for entry in values["defaults"] if isinstance(entry, Mapping) and group in entry)
    for each in options_of(group):  # none of adapter's comments but one are in none.yaml
        said |= {key: about for key, about in comments(yaml_text(f"{group}/{each}") or "").items() if about}
    said |= {key: about for key, about in comments(yaml_text(f"{group}/{name}") or "").items() if about}
    return _described(model, option(group, name), said)


def _choice(group: str, name: str) -> dict[str, Any]:
    """One option of a group that is chosen by ``_target_``: the class's model, with this YAML's values."""
    values, text = option(group, name), yaml_text(f"{group}/{name}") or ""
    kind: type[Any] = located(str(values["_target_"]), group, base_of(group))
    made = _described(model_of(kind), values, comments(text))
    target = {"const": values["_target_"], "default": values["_target_"], "description": _about(text)}
    return made | {"title": f"{group}={name}", "properties": {"_target_": target, **made["properties"]}}


def _described(model: type[Options], values: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, Any]:
    """The model's schema; a key that has a default is not required."""
    schema = _inlined(model.model_json_schema())
    properties = schema.get("properties", {})
    for key, about in properties.items():
        about.pop("title", None)
        if key in values and not is_unset(values[key]):
            about["default"] = values[key]
        if said.get(key):
            about["description"] = said[key]
    required = [key for key in schema.get("required", []) if "default" not in properties[key]]
    return schema | {"properties": properties, "required": required}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the models inside it where they are used: it becomes a part of a larger one."""
    models = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).removeprefix("#/$defs/")
            rest = {key: whole(item) for key, item in value.items() if key != "$ref"}
            return whole(models[name]) | rest if name else rest
        return [whole(item) for item in value] if isinstance(value, list) else value

    return dict(whole(schema))


def _read(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text) or {})


def _about(text: str) -> str:
    """The first comment of a YAML file."""
    lines = (line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line)
    return next(lines, "")
