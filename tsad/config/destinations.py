"""Where a frozen config would send a secret: only where the user's own config or command line sends one too.

A frozen config is text of the store, whoever wrote it. An address in it, and the variables whose values go there, count
only where the config in use or a YAML of that group says the same; servers of this machine need no such word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tsad.config.composing import options_of, yaml_text
from tsad.core.errors import ConfigError
from tsad.core.masking import mask_urls

# By group: keys that are addresses, and keys that name the variables whose values are sent there.
SENT = {"review": (("url",), ("token_env",)), "source": (("url", "nodes"), ("url_env", "user_env", "password_env"))}
_HOST = r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?"
_HERE = re.compile(rf"(?:[a-z][\w+]*://(?:[\w.-]+@)?)?{_HOST}(?:/[\w./-]*)?", re.ASCII)
_FILE = re.compile(r"sqlite(?:\+\w+)?:///[^?]*")


def check_destinations(frozen: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a frozen config that would send secrets where nothing of the user's own sends them.

    Args:
        frozen: a frozen config, as it was read. now: every group of the config in use, plain values.

    Raises:
        ConfigError: names the key, and what to type where it is right.
    """
    for group, (addresses, variables) in SENT.items():
        values = frozen.get(group)
        if not isinstance(values, Mapping):
            continue
        own = [now.get(group, {}), *_shipped(group)]
        for key in (*addresses, *variables):
            value = values.get(key)
            if any(key in told and told[key] == value for told in own) or not value:
                continue
            if key in variables or not _stays_here(value):
                raise _refused(group, key, value)


def _stays_here(value: Any) -> bool:
    """Whether addresses are all of this machine."""
    texts = value if isinstance(value, list) else [value]
    return all(isinstance(text, str) and bool(_HERE.fullmatch(text) or _FILE.fullmatch(text)) for text in texts)


def _shipped(group: str) -> list[Mapping[str, Any]]:
    """What every YAML of a group says, the user's own ones included."""
    import yaml

    return [yaml.safe_load(yaml_text(f"{group}/{name}") or "") or {} for name in options_of(group)]


def _refused(group: str, key: str, value: Any) -> ConfigError:
    text = value if isinstance(value, str) else f"[{','.join(map(str, value))}]" if isinstance(value, list) else "it"
    return ConfigError(
        f"the frozen config has {group}.{key}={mask_urls(text)}, which nothing of yours says: a secret would go there",
        f"If it is right, say so: type {group}.{key}= with the option of {group}= that has it, or write both into "
        "conf/local/default.yaml. If not, do not trust this store.",
    )
