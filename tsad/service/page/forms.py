"""The start form: a verb's own keys as fields of a form, and a filled form as overrides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsad.core.errors import ConfigError

TYPES = {"integer": "number", "number": "number"}
PREFIX = "key."  # of a field's name, so that no key is taken for a field of the form's own


@dataclass(frozen=True)
class Field:
    """One key of a verb as a field.

    Attributes:
        kind: ``select``, ``number`` or ``text``. default: as it is typed on the command line; "" = none.
        choices: of a select. step: of a number, ``1`` or ``any``.
    """

    name: str
    kind: str
    about: str
    default: str
    required: bool
    choices: tuple[str, ...] = ()
    step: str = "any"


def fields_of(schema: Mapping[str, Any], groups: Sequence[str]) -> list[Field]:
    """The verb's own keys, in the order of its YAML; groups are given as overrides."""
    own = {key: value for key, value in schema["properties"].items() if key not in groups}
    return [_field(key, value, key in schema.get("required", ())) for key, value in own.items()]


def overrides_of(fields: Sequence[Field], form: Mapping[str, str]) -> list[str]:
    """What a filled form says beyond the defaults, then the lines of its free part.

    Raises:
        ConfigError: a key that has to be given is not.
    """
    words = []
    for field in fields:
        given = form.get(PREFIX + field.name, "").strip()
        if field.required and not given:
            raise ConfigError(f"{field.name} is not set", field.about)
        if given and given != field.default:
            words.append(f"{field.name}={given}")
    if loop := form.get("loop", "").strip():
        words.append(f"loop.name={loop}")
    return words + [line.strip() for line in form.get("overrides", "").splitlines() if line.strip()]


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Field:
    options = [schema, *schema.get("anyOf", ())]
    choices = next(([str(c) for c in one["enum"]] for one in options if "enum" in one), [])
    types = {one.get("type") for one in options}
    if "boolean" in types:
        choices = ["false", "true"]
    number = next((one for one in ("integer", "number") if one in types), "")
    kind = "select" if choices else TYPES.get(number, "text") if len(types - {None, "null"}) <= 1 else "text"
    return Field(
        name, kind, str(schema.get("description", "")), _typed(schema.get("default")), required, tuple(choices),
        "1" if number == "integer" else "any",
    )  # fmt: skip


def _typed(value: Any) -> str:
    """A default as it is typed; what is not set is an empty field."""
    if value is None or value == "???":
        return ""
    return value if isinstance(value, str) else json.dumps(value)
