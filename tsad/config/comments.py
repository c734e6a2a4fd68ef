"""The comments of a YAML file, by full key: what the keys mean, for people and for schemas."""

from __future__ import annotations

import re

from tsad.command.naming import full_key

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_]\w*):(?P<rest>.*)$")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'")


def comments(text: str) -> dict[str, str]:
    """The comment on each key's own line, else those on the lines right above it; "" where there is none.

    Args:
        text: a file of block mappings, as in ``conf/``; values may be flow mappings and lists on one line.
    """
    said: dict[str, str] = {}
    path: list[tuple[int, str]] = []  # indentation and full key of the mappings that are open
    above: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.lstrip("# ").rstrip())
            continue
        match = _KEY.match(line)
        if match:
            path = [(indent, key) for indent, key in path if indent < len(match["indent"])]
            around = path[-1][1] if path else ""
            key = full_key(around, match["key"])
            at = _QUOTED.sub(lambda text: "-" * len(text[0]), match["rest"]).find(" #")  # a # in a text is none
            behind = match["rest"][at:].strip(" #") if at >= 0 else ""
            said[key] = behind or (" ".join(above) if said else "")  # above the first key: what the file is about
            path.append((len(match["indent"]), key))
        above = []
    return said
