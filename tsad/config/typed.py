"""What the user has typed: the keys that count where one config is compared with another, or laid over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tsad.config.composing import flatten, override_key, yaml_text


@dataclass(frozen=True)
class TypedKeys:
    """Keys of a config that somebody has typed; of a group (``detector=patch``) all of its keys are."""

    keys: frozenset[str]

    @classmethod
    def of(cls, overrides: Iterable[str]) -> TypedKeys:
        """From the words of the command line; ``experiment=NAME`` types what that experiment's YAML sets."""
        keys: set[str] = set()
        for override in overrides:
            key = override_key(override)
            value = override.partition("=")[2].strip("'\" ")
            keys |= _set_by_experiment(value) if key == "experiment" else {key}
        return cls(frozenset(keys))

    def has(self, key: str) -> bool:
        """Whether the key, or what it lies in, was typed."""
        return any(_covers(typed, key) for typed in self.keys)

    def names(self, key: str) -> bool:
        """Whether the key, or the mapping that it lies in, was typed by its own name, not by its group's option."""
        return any(_covers(typed, key) for typed in self.keys if "." in typed)


def _covers(typed: str, key: str) -> bool:
    return key == typed or key.startswith(f"{typed}.")


def _set_by_experiment(name: str) -> set[str]:
    """Groups and keys that an experiment's YAML sets, those of experiments it stands on included."""
    import yaml

    values: dict[str, Any] = yaml.safe_load(yaml_text(f"experiment/{name}") or "") or {}
    keys: set[str] = set()
    for entry in values.pop("defaults", None) or ():
        named = entry if isinstance(entry, Mapping) else {"experiment": entry}
        for group, option in named.items():
            group = group.removeprefix("optional ").removeprefix("override ").lstrip("/").partition("@")[0]
            if group != "experiment":
                keys.add(group)
            elif option not in ("_self_", None):
                keys |= _set_by_experiment(str(option).removeprefix("/experiment/"))
    return keys | set(flatten(values))
