"""Checks a mapping from YAML against the typed keywords of a dataclass, a class or a function."""

from __future__ import annotations

import difflib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tsad.core.errors import ConfigError

UNSET = "???"  # how YAML says: to be given by the user
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    type(None): "null",
}


@dataclass(frozen=True)
class Keyword:
    """One typed keyword of a callable."""

    name: str
    annotation: Any
    required: bool


def keywords(target: Callable[..., object], skip: Iterable[str] = ("self", "bench")) -> dict[str, Keyword] | None:
    """The typed keywords a callable takes, by name; ``None`` where it takes any (``**kwargs``).

    Annotations are evaluated one by one, so that a skipped parameter may name a type that only a type
    checker imports.
    """
    if model := getattr(target, "options_model", None):
        return {name: Keyword(name, f.annotation, f.is_required()) for name, f in model.model_fields.items()}
    found: dict[str, Keyword] = {}
    for name, parameter in inspect.signature(target).parameters.items():
        if name in skip or parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return None
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = eval(annotation, vars(sys.modules[target.__module__]))
        if annotation is inspect.Parameter.empty:
            annotation = Any
        found[name] = Keyword(name, annotation, parameter.default is inspect.Parameter.empty)
    return found


def typed(
    target: Callable[..., object], mapping: Mapping[str, Any], prefix: str = "", partial: bool = False
) -> dict[str, Any]:
    """The mapping with every value as the target's signature wants it.

    Args:
        target: a dataclass, a class or a function with typed keywords.
        mapping: plain values as YAML gives them; ``_target_`` is left out.
        prefix: full key of the mapping, e.g. ``adapter``; only for messages.
        partial: keys may be missing still.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a missing one, a wrong type.
    """
    given = {k: v for k, v in mapping.items() if k != "_target_"}
    known = keywords(target)
    if known is None:
        return dict(given)
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown key {full_key(prefix, key)}", nearest(key, known, prefix))
    for name, keyword in known.items():
        if not partial and given.get(name, UNSET if keyword.required else None) == UNSET:
            raise ConfigError(
                f"{full_key(prefix, name)} is not set",
                f"Give it, e.g. {full_key(prefix, name)}=...; it takes {words(keyword.annotation)}.",
            )
    return {key: convert(known[key].annotation, value, full_key(prefix, key)) for key, value in given.items()}


def full_key(prefix: str, key: object) -> str:
    """``prefix.key``, or the key alone."""
    return f"{prefix}.{key}" if prefix else str(key)


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A remedy for a misspelt name: the nearest known one, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {full_key(prefix, close[0])}?"
    where = f"{prefix} has" if prefix else "There are"
    return f"{where}: {', '.join(names)}." if names else f"{prefix or 'It'} has none."


def words(annotation: Any) -> str:
    """An annotation in words for people."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(a) for a in args))
    if origin is typing.Literal:
        return "one of " + ", ".join(str(a) for a in args)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(m.value) for m in annotation)
    if _is_mapping(origin or annotation):
        return f"a mapping name: value, each value {words(args[1])}" if args else "a mapping"
    if _is_sequence(origin or annotation):
        return f"a list [...], each item {words(args[0])}" if args else "a list"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def convert(annotation: Any, value: Any, key: str) -> Any:
    """The value as the annotation wants it; a number may come as text (``'1e-3'``), a text as a number.

    Raises:
        ConfigError: it cannot be had without changing what the user wrote.
    """
    try:
        return _convert(annotation, value, key)
    except ValueError:
        shown = "null" if value is None else repr(value)
        raise ConfigError(f"{key} is {shown} ({type(value).__name__})", f"It takes {words(annotation)}.") from None


def _convert(annotation: Any, value: Any, key: str) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or annotation is object:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(args, value, key)
    if origin is typing.Literal:
        return _member({str(a): a for a in args}, value)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _member({str(m.value): m for m in annotation}, value)
    if _is_mapping(origin or annotation):
        if not isinstance(value, Mapping):
            raise ValueError
        kind = args[1] if args else Any
        return {str(k): convert(kind, v, full_key(key, k)) for k, v in value.items()}
    if _is_sequence(origin or annotation):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError
        kind = args[0] if args else Any
        items = [convert(kind, v, f"{key}[{i}]") for i, v in enumerate(value)]
        return tuple(items) if (origin or annotation) is tuple else items
    return _convert_scalar(annotation, value)


def _convert_union(members: Sequence[Any], value: Any, key: str) -> Any:
    """The member that is the value's own type wins; else the first that it converts to."""
    if value is None and type(None) in members:
        return None
    for member in sorted(members, key=lambda m: (typing.get_origin(m) or m) is not type(value)):
        if member is not type(None):
            try:
                return _convert(member, value, key)
            except (ValueError, ConfigError):
                continue
    raise ValueError


def _convert_scalar(annotation: Any, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is bool and isinstance(value, bool):
        return value
    if annotation is int and (isinstance(value, str) or (number and not isinstance(value, float))):
        return int(value)
    if annotation is float and (number or isinstance(value, str)):
        return float(value)
    if annotation is str and (number or isinstance(value, str | bool)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if annotation is Path and isinstance(value, str):
        return Path(value)
    if isinstance(annotation, type) and annotation not in _WORDS and isinstance(value, annotation):
        return value
    raise ValueError


def _member(members: Mapping[str, Any], value: Any) -> Any:
    if str(value) not in members:
        raise ValueError
    return members[str(value)]


def _is_mapping(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _is_sequence(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Sequence) and not issubclass(kind, str | bytes)
