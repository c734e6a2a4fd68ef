"""Secrets: recognised by name, refused on the command line, masked in everything that is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tsad.command.quoting import OVERRIDE
from tsad.core.errors import ConfigError
from tsad.core.masking import MASK, mask_urls

_SECRET = re.compile(
    r"(^|[_.-])(token|password|passwd|passphrase|pwd|secret|credentials?|(api|access|private|secret)_?key)$", re.I
)
_ENVIRONMENT = re.compile(r"^\$\{oc\.env:[^}]*\}$")
_NESTED = re.compile(r"[{,]\s*['\"]?(?P<key>[A-Za-z_]\w*)['\"]?\s*:\s*(?P<value>\$\{[^}]*\}|[^,}\s]+)")
_OPENING = re.compile(r"(?P<slashes>\\*)\$\{")
_SECRET_VARIABLE = re.compile(r"\$\{oc\.env:(?P<name>\w+)")


def is_secret_key(key: str) -> bool:
    """Whether a key by its last part names a secret itself (``token``), not where one is kept (``token_env``)."""
    return bool(_SECRET.search(key.rsplit(".", 1)[-1].rsplit("/", 1)[-1]))


def refuse_secrets(words: Iterable[str]) -> None:
    """Refuse passwords and tokens on the command line: shells and process lists keep them.

    Raises:
        ConfigError: names the key, never the value.
    """
    for word in words:
        match = OVERRIDE.match(word)
        if not match:
            continue
        key, value = match["key"].lstrip("+~"), match["value"].strip("'\" ")
        pairs = [(key, value), *((f"{key}.{m['key']}", m["value"]) for m in _NESTED.finditer(value))]
        for name, text in pairs:
            if is_secret_key(name) and text not in ("", "null", "???") and not _ENVIRONMENT.match(text):
                raise _refused(name)
            if mask_urls(text) != text:
                raise _refused(name)


def _refused(key: str) -> ConfigError:
    variable = re.sub(r"\W+", "_", key).upper()
    return ConfigError(
        f"{key} holds a secret, and the command line is no place for one",
        f"Put it into an environment variable and give {key}='${{oc.env:{variable}}}', or write that into "
        "conf/local/default.yaml.",
    )


def masked(values: Mapping[str, Any], raw: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The values with secrets masked, nested mappings and lists included.

    Args:
        values: plain values, interpolations resolved.
        raw: the same before resolution; what reads a secret environment variable stays as it was written
            (``${oc.env:DB_PASSWORD}``), so that the result can be resolved again.
    """
    raw = raw or {}
    return {str(key): _masked_value(str(key), value, raw.get(key)) for key, value in values.items()}


def _masked_value(key: str, value: Any, raw: Any) -> Any:
    if isinstance(raw, str) and any(is_secret_key(m["name"]) for m in _SECRET_VARIABLE.finditer(raw)):
        return raw
    if isinstance(value, Mapping):
        return masked(value, raw if isinstance(raw, Mapping) else None)
    if isinstance(value, list | tuple):
        raws = raw if isinstance(raw, list) and len(raw) == len(value) else [None] * len(value)
        return [_masked_value(key, item, item_raw) for item, item_raw in zip(value, raws, strict=True)]
    if is_secret_key(key) and value not in (None, "", "???"):
        return MASK
    return mask_urls(value) if isinstance(value, str) else value


def unmasked(
    values: Mapping[str, Any], current: Mapping[str, Any], written: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """A frozen config made ready to be composed again: masked values are filled in from the config in use now.

    What was frozen is text, whoever wrote it: an interpolation in it is kept as one only where the user's own config
    has the very same at that key.

    Args:
        current: the values of the config in use, interpolations resolved.
        written: the same as it would be frozen, i.e. with what reads a secret environment variable as it was written.

    Raises:
        ConfigError: the config in use has no secret at that key either, or does not read that variable there.
    """
    return {
        key: _unmasked(value, current.get(key), written.get(key), f"{prefix}.{key}" if prefix else str(key))
        for key, value in values.items()
    }


def _unmasked(value: Any, now: Any, written: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        now, written = (v if isinstance(v, Mapping) else {} for v in (now, written))
        return unmasked(value, now, written, name)
    if isinstance(value, list):
        nows, writtens = (v if isinstance(v, list) and len(v) == len(value) else [None] * len(value)
                          for v in (now, written))  # fmt: skip
        return [_unmasked(v, n, w, name) for v, n, w in zip(value, nows, writtens, strict=True)]
    if isinstance(value, str) and "${" in value:
        if value != written:
            raise ConfigError(
                f"the frozen config reads {value} at {name}, which the config in use does not",
                "Give it as when the loop began.",
            )
        return value
    if isinstance(value, str) and MASK in value:
        if not isinstance(now, str) or not now or MASK in now:
            raise ConfigError(f"the frozen config hides a secret at {name}", "Give it as when the loop began.")
        return literal(now)
    return value


def literal(value: Any) -> Any:
    """The value so that OmegaConf takes it as it is: ``${`` in a text (a password may hold it) reads nothing."""
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return _OPENING.sub(lambda m: 2 * m["slashes"] + r"\${", value) if isinstance(value, str) else value
