"""Where a frozen config would send a secret: only where the user's own config or command line sends one too.

A frozen config is text of the store, whoever wrote it. An address in it, and the variables whose values go there, count
only where the config in use or a YAML of that group says the same, or where this user has begun an iteration with it on
this machine: that is kept, as hashes, in a file of the user's own, apart from every store. Servers of this machine need
no such word.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from tsad.config.composing import options_of, yaml_text
from tsad.core.errors import ConfigError
from tsad.core.masking import mask_urls
from tsad.files.hashing import digest_of_parts

# By group: keys that are addresses, and keys that name the variables whose values are sent there.
SENT = {
    "review": (("url",), ("token_env",)), "source": (("url", "nodes"), ("url_env", "user_env", "password_env")),
    "engine": (("url",), ("token_env",)),
}  # fmt: skip
_HOST = r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?"
_HERE = re.compile(rf"(?:[a-z][\w+]*://(?:[\w.-]+@)?)?{_HOST}(?:/[\w./-]*)?", re.ASCII)
_FILE = re.compile(r"sqlite(?:\+\w+)?:///[^?]*")


def kept_file() -> Path:
    """The user's own file of destinations: ``$XDG_CONFIG_HOME/tsad/destinations``, else below ``~/.config``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "tsad" / "destinations"


def remember_destinations(frozen: str) -> None:
    """Keep where an iteration that this user begins sends secrets, so that it goes on bare.

    Where the file cannot be written, the keys have to be typed again each time; the error says so then.

    Args:
        frozen: the config that the iteration is begun with, as the store keeps it (YAML).
    """
    import yaml

    told = yaml.safe_load(frozen)
    marks = {_mark(group, key, value) for group, key, value in _told(told) if value} - _kept()
    if not marks:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
        path = kept_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("".join(f"{mark}\n" for mark in sorted(marks)))


def _told(groups: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Group, key and value of everything in a config that says where a secret goes."""
    for group, (addresses, variables) in SENT.items():
        values = groups.get(group)
        if isinstance(values, Mapping):
            yield from ((group, key, values.get(key)) for key in (*addresses, *variables))
    detector = groups.get("detector")
    for held in (detector, *(detector.get("members") or ())) if isinstance(detector, Mapping) else ():
        if isinstance(held, Mapping) and isinstance(held.get("engine"), Mapping):  # its own copy of the group
            yield from _told({"engine": held["engine"]})


def _kept() -> set[str]:
    with suppress(OSError, RuntimeError, ValueError):
        return set(kept_file().read_text(encoding="ascii").split())
    return set()


def _mark(group: str, key: str, value: Any) -> str:
    return digest_of_parts(group, key, json.dumps(value, default=str))


def check_destinations(frozen: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a frozen config that would send secrets where nothing of the user's own sends them.

    Args:
        frozen: a frozen config, as it was read. now: every group of the config in use, plain values.

    Raises:
        ConfigError: names the key, and what to type where it is right.
    """
    kept, shipped = _kept(), cache(_shipped)
    for group, key, value in _told(frozen):
        if not value or now.get(group, {}).get(key) == value or _mark(group, key, value) in kept:
            continue
        if key in SENT[group][0] and stays_here(value):
            continue
        if not any(told.get(key) == value for told in shipped(group)):
            raise _refused(group, key, value)


def stays_here(value: Any) -> bool:
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
