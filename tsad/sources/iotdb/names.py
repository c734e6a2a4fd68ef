"""Names in IoTDB: parted, quoted and unquoted, so that none of them can become a statement."""

from __future__ import annotations

import re

from tsad.core.errors import ConfigError

# A node with wildcards; IoTDB takes none inside back-quotes.
_WILD = re.compile(r"[A-Za-z0-9_\u2E80-\u9FFF]*\*[A-Za-z0-9_\u2E80-\u9FFF]*\*?")


def nodes(path: str) -> list[str]:
    """The nodes of a path, still quoted: ``root.a.`b.c``` -> root, a, `` `b.c` ``.

    Raises:
        ConfigError: an empty node, or a back-quote without its partner.
    """
    out, node, quoted = [], "", False
    for sign in path:
        if sign == "." and not quoted:
            out.append(node)
            node = ""
            continue
        quoted ^= sign == "`"
        node += sign
    out.append(node)
    if quoted or not all(out):
        raise ConfigError(f"{path!r} is no path of IoTDB", "Write root.unit.point; `back-quote` a name with dots.")
    return out


def bare(node: str) -> str:
    """A node without its back-quotes."""
    return node[1:-1].replace("``", "`") if len(node) > 1 and node[0] == node[-1] == "`" else node


def quoted(name: str) -> str:
    """A name as a node of a path, always in back-quotes: bare, ``nan`` or ``null`` would be a constant."""
    return "`" + name.replace("`", "``") + "`"


def strict(path: str) -> str:
    """A path with every node but the root in back-quotes."""
    parts = path.split(".") if "`" not in path else nodes(path)
    return ".".join((parts[0], *(quoted(bare(p)) for p in parts[1:])))


def pattern(text: str) -> str:
    """A path pattern of the configuration, safe to put into a statement; ``*`` and ``**`` stay wildcards.

    Raises:
        ConfigError: it does not begin with ``root``.
    """
    parts = nodes(text)
    if parts[0] != "root" or len(parts) < 2:
        raise ConfigError(f"source.paths: {text!r} does not begin with root.", "Write e.g. root.plant.**")
    return ".".join(("root", *(p if _WILD.fullmatch(p) else quoted(bare(p)) for p in parts[1:])))


def identifier(name: str) -> str:
    """A name of the table model, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text value, quoted."""
    return "'" + text.replace("'", "''") + "'"
