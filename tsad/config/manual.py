"""What ``tsad VERB --help`` says: the verb's keys, those of groups that matter to it, examples; all from the YAML.

A verb's YAML names them in comments: ``# also: GROUP, GROUP.KEY`` and ``# e.g. tsad VERB KEY=VALUE``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tsad.config.comments import comments
from tsad.config.composing import CONFIG_NAME, flatten, options_of, override_key, yaml_text
from tsad.core.option_model import UNSET
from tsad.core.printing import cells, wrapped

LEFT = 34  # cells for a key and its value; what they say begins behind
ALSO, EXAMPLE = "# also:", "# e.g. "


def about(verb: str) -> str:
    """What the verb does: the first comment of its YAML."""
    lines = (yaml_text(f"task/{verb}") or "").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line), "")


def examples(verb: str) -> list[str]:
    """Commands to type, as the verb's YAML has them."""
    lines = (yaml_text(f"task/{verb}") or "").splitlines()
    return [line.removeprefix(EXAMPLE) for line in lines if line.startswith(EXAMPLE)]


def example_of(key: str, verb: str = "") -> str:
    """``KEY=VALUE`` as an example of the verb, else of any verb, has it; "" where none does."""
    for name in dict.fromkeys([verb, *options_of("task")]):
        for word in (word for line in examples(name) for word in line.split()):
            if override_key(word.strip("'")) == key and "=" in word:
                return word
    return ""


def hint(key: str, kind: str, verb: str = "") -> str:
    """What to type for a key that is to be given, and what it is.

    Args:
        kind: what its value is, in words; only said where no verb's examples have the key.
    """
    example, meaning = example_of(key, verb), comments(yaml_text(f"task/{verb}") or "").get(key, "")
    behind = f" ({meaning.partition(',')[0].partition(';')[0]})" if meaning else ""
    return f"Type e.g. {example}{behind}." if example else f"Type {key}=...; it takes {kind}."


def also(verb: str) -> list[str]:
    """Groups, and keys of groups, that matter to the verb beside its own keys."""
    lines = (yaml_text(f"task/{verb}") or "").splitlines()
    named = [line.removeprefix(ALSO) for line in lines if line.startswith(ALSO)]
    return [name.strip() for line in named for name in line.split(",")]


def manual(verb: str, words: Sequence[str], width: int) -> str:
    """The verb's page, in lines of at most ``width`` cells.

    Args:
        words: overrides; of a group that they choose an option for, that option's keys are shown.
    """
    text = yaml_text(f"task/{verb}") or ""
    lines = [f"tsad {verb} [KEY=VALUE ...]", "", *wrapped(about(verb), width), ""]
    own = dict(yaml.safe_load(text) or {})
    lines += ["Its keys", *_rows(own, comments(text), width)] if own else ["It has no keys of its own."]
    chosen = {key: value for key, _, value in (word.partition("=") for word in words)}
    for group, keys in _grouped(also(verb)).items():
        option = chosen.get(group) or _default(group)
        title = f"{group}={option} (of {', '.join(options_of(group))})" if options_of(group) else group
        values, said = _option(group, option)
        wanted = {key: value for key, value in values.items() if not keys or key in keys}
        shown = {f"{group}.{key}": value for key, value in wanted.items()}
        lines += ["", *wrapped(title, width, "  "), *_rows(shown, {f"{group}.{k}": v for k, v in said.items()}, width)]
    lines += ["", "For example"] + [line for one in examples(verb) for line in wrapped(f"  {one}", width, "    ")]
    lines += ["", *wrapped(f"Everything that it takes: tsad {verb} --cfg job, tsad schema of={verb}", width, "  ")]
    return "\n".join(lines) + "\n"


def paired(rows: Mapping[str, str], width: int, left: int) -> Iterator[str]:
    """``name  what it is`` in lines of at most ``width`` cells, the second column wrapped under itself."""
    for name, text in rows.items():
        beside = f"  {name}" + " " * (left - cells(name))
        begin = beside if cells(name) < left else " " * (left + 2)
        if begin != beside:
            yield from wrapped(f"  {name}", width, "    ")
        parts = wrapped(text, max(width - left - 2, 20))
        yield from (line.rstrip() for line in [begin + parts[0], *(" " * (left + 2) + part for part in parts[1:])])


def _rows(values: Mapping[str, Any], said: Mapping[str, str], width: int) -> list[str]:
    rows = {}
    for key, value in flatten(values).items():
        needed = value == UNSET
        text = said.get(key, "")
        rows[f"{key}={'...' if needed else _written(value)}"] = f"to be given: {text}" if needed else text
    return list(paired(rows, width, LEFT))


def _written(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, str):
        return value if value and " " not in value else f'"{value}"'
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n...\n").strip()


def _grouped(names: Sequence[str]) -> dict[str, set[str]]:
    """Keys by group; none = all of them."""
    groups: dict[str, set[str]] = {}
    for name in names:
        group, _, key = name.partition(".")
        groups.setdefault(group, set()).update({key} if key else ())
    return groups


def _default(group: str) -> str:
    """The option that ``config.yaml`` chooses."""
    entries = dict(yaml.safe_load(yaml_text(CONFIG_NAME) or "") or {})["defaults"]
    return next((str(entry[group]) for entry in entries if isinstance(entry, Mapping) and group in entry), "")


def _option(group: str, option: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and comments of one option of a group, or of a group that lies in ``config.yaml``."""
    text = yaml_text(f"{group}/{option}") if option else None
    if text is not None:
        values, said = dict(yaml.safe_load(text) or {}), comments(text)
    else:
        config = yaml_text(CONFIG_NAME) or ""
        values = dict((yaml.safe_load(config) or {}).get(group) or {})
        said = {key.removeprefix(f"{group}."): text for key, text in comments(config).items()}
    values.pop("_target_", None)
    return values, said
