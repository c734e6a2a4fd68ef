"""What a job may be asked over HTTP: less than on the command line: who asks need not own the machine's files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tsad.command.naming import nearest
from tsad.command.overrides import is_override
from tsad.command.quoting import OVERRIDE, parse, quoted
from tsad.command.secrets import refuse_secrets
from tsad.config.composing import options_of
from tsad.config.destinations import SENT, stays_here
from tsad.config.groups import GROUPS
from tsad.core.errors import JobRefusedError
from tsad.core.masking import mask_urls

# They serve, wait for ever or show something in a terminal.
NO_JOBS = ("serve", "ui", "studio", "watch", "status", "schema", "jobs")
CLOSED = ("hydra", "tracking", "service", "task", "local")  # groups that are the service's own
# Keys whose value is a file or a folder, whatever it looks like; all others are taken for one where they look it.
PATHS = {
    "root", "labels", "path", "output", "folder", "weights", "sets", "template", "kinds", "instruction", "validate_on",
    "start",
}  # fmt: skip
WRITTEN = {"output", "folder"}  # those that a verb writes to
NAMES = {"weights", "sets", "template", "kinds", "instruction", "labels", "start"}  # or a name that ships with tsad
_LOOKS = re.compile(r"^(?:[/\\~]|\.{1,2}(?:[/\\]|$)|[A-Za-z]:[\\/]|file:|sqlite(?:\+\w+)?:)|(?:^|[/\\])\.\.(?:[/\\]|$)")
_ADDRESS = re.compile(r"^(?:file|sqlite(?:\+\w+)?):/{0,3}", re.I)
_DATABASE = re.compile(r"^sqlite(?:\+\w+)?:///(?!file:)", re.I)  # behind it the path: /x from the root, x from here
_MAGIC = re.compile(r"[*?\[]")
_UP = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")


def check_words(verb: str, overrides: Sequence[str], verbs: Iterable[str]) -> None:
    """Refuse what no job may be asked, before the config is composed.

    Args:
        verbs: all that there are.

    Raises:
        JobRefusedError: the verb, or the first override that is refused, by its key.
        ConfigError: a secret.
    """
    known = sorted(set(verbs) - set(NO_JOBS))
    if verb not in known:
        why = f"{verb} makes no job" if verb in NO_JOBS else f"there is no verb {verb[:40]!r}"
        raise JobRefusedError(why, nearest(verb[:40], known))
    for word in overrides:
        match = OVERRIDE.match(word)
        if not is_override(word) or match is None or "\0" in word or "\n" in word:
            raise JobRefusedError(f"{word[:60]!r} is no key=value", "A job takes overrides alone, no options.")
        if word[0] in "+~":
            raise JobRefusedError(f"{word[:60]!r} adds or removes a key", "Give key=value.")
        _check_key(match["key"], match["value"])
    refuse_secrets(overrides)


def check_paths(
    overrides: Sequence[str], roots: Iterable[Path], readable: Iterable[Path], own: frozenset[str]
) -> None:
    """Refuse files and folders where no job may read or write, and servers that the service does not know.

    Args:
        roots: folders below which it may read and write. readable: below which it may read.
        own: values that the service's own config has: they are no secret to it, and may be read.

    Raises:
        JobRefusedError: names the key, and where it may be.
    """
    may_write = [Path(os.path.realpath(root)) for root in roots]
    may_read = [*may_write, *(Path(os.path.realpath(root)) for root in readable)]
    for word in overrides:
        key, _, text = word.partition("=")
        for name, value in _leaves(key, text):
            written = name.rpartition(".")[2] in WRITTEN
            if value in own and not written:
                continue
            if _is_address(name) and not stays_here(value):
                found = f"{name} names {mask_urls(value)[:200]!r}, where a secret of the service could go"
                raise JobRefusedError(found, "Whoever starts the service writes it into a YAML or its own config.")
            if _is_path(name, value):
                _check_place(name, value, may_write if written else may_read, written)


def _check_place(name: str, value: str, allowed: Sequence[Path], written: bool) -> None:
    if _MAGIC.search(value) and (written or _UP.search(value)):  # what a pattern leads to cannot be told from its text
        found = f"{name} names {value[:200]!r}, a pattern " + ("to write to" if written else "that goes up")
        raise JobRefusedError(found, "Name the folder itself.")
    place = Path(os.path.realpath(_place(value)))
    if not any(place == root or root in place.parents for root in allowed):
        shown = ", ".join(map(str, allowed)) or "nothing"
        raise JobRefusedError(f"{name} names {value[:200]!r}, which is outside {shown}", "See service.roots.")


def _check_key(key: str, value: str) -> None:
    group = re.split(r"[./@]", key)[0]
    if "_target_" in key or "_target_" in value:
        raise JobRefusedError(f"{key} names a class", "Choose by name, e.g. detector=patch.")
    if group in CLOSED:
        raise JobRefusedError(f"{key} is for who starts the service", "Leave it out.")
    if "${" in value or "@" in key:
        raise JobRefusedError(f"{key} reads something else", "Give the value itself.")
    for name in (key, *(name for name, _ in _leaves(key, value))):  # {a: {token_env: X}} names it as well
        if re.search(r"_env$", name):
            found = f"{name} names a variable of the service's environment"
            raise JobRefusedError(found, "The service's config says it.")
        if "_target_" in name:
            raise JobRefusedError(f"{name} names a class", "Choose by name, e.g. detector=patch.")
    if (key in GROUPS or key == "experiment") and value not in (names := options_of(key)):
        raise JobRefusedError(f"there is no {key}={value[:40]}", nearest(value[:40], names))


def _is_address(key: str) -> bool:
    group, _, name = key.partition(".")
    return (group in SENT and name in SENT[group][0]) or key.endswith(".engine.url")


def _leaves(key: str, text: str) -> Iterator[tuple[str, str]]:
    """Every text in an override's value with its key, as Hydra reads it."""
    parsed = parse(quoted(f"k={text}").partition("=")[2])
    yield from _texts(key, parsed[0] if parsed else text)


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(f"{key}.{_plain(name)}", item)
    elif isinstance(items := getattr(value, "values", value), list | tuple):  # extend_list() has its items there
        for item in items:
            yield from _texts(key, item)
    elif value is not None and not isinstance(value, bool | int | float):
        yield key, _plain(value)


def _plain(value: Any) -> str:
    """Without the quotes that Hydra remembers."""
    return str(getattr(value, "text", value))


def _is_path(key: str, value: str) -> bool:
    """Whether a value is, or could be, a file or a folder of this machine."""
    if not value:
        return False
    if _LOOKS.search(value):
        return True
    if key.rpartition(".")[2] not in PATHS or "://" in value:
        return False
    return key.rpartition(".")[2] not in NAMES or "/" in value or "\\" in value or Path(value).exists()


def _place(value: str) -> Path:
    """The part of it that is the same for all that it names; an address of a file without its scheme."""
    text = _ADDRESS.sub("/", value) if not _DATABASE.match(value) else _DATABASE.sub("", value)
    path = Path(text).expanduser()
    fixed = list(path.parts)
    for at, part in enumerate(fixed):
        if _MAGIC.search(part):
            return Path(*fixed[:at]) if at else Path()
    return path
