"""What a field takes, in words for people."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import annotated_types as at

from tsad.core.option_model import Options

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    type(None): "null",
}


def words(annotation: Any) -> str:
    """An annotation in words."""
    annotation, _ = bare(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if is_union(annotation):
        return " or ".join(dict.fromkeys(words(a) for a in args))
    if origin is typing.Literal:
        return "one of " + ", ".join(str(a) for a in args)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(m.value) for m in annotation)
    if is_mapping(origin or annotation):
        return f"a mapping name: value, each value {words(args[1])}" if args else "a mapping"
    if is_sequence(origin or annotation):
        return f"a list [...], each item {words(args[0])}" if args else "a list"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def choices(annotation: Any) -> tuple[str, ...]:
    """The names a ``Literal`` (or several in a union) lists; none where it is no choice."""
    annotation, _ = bare(annotation)
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(str(a) for a in args)
    return tuple(name for a in args for name in choices(a)) if is_union(annotation) else ()


def bounds(limits: Sequence[Any]) -> str:
    """The numbers a field may take, e.g. ``at least 0 and below 1``; "" where any will do."""
    said = []
    for limit in limits:
        said += [f"above {limit.gt:g}"] if isinstance(limit, at.Gt) else []
        said += [f"at least {limit.ge:g}"] if isinstance(limit, at.Ge) else []
        said += [f"below {limit.lt:g}"] if isinstance(limit, at.Lt) else []
        said += [f"at most {limit.le:g}"] if isinstance(limit, at.Le) else []
    return " and ".join(said)


def inside(model: type[Options], loc: Sequence[int | str]) -> tuple[list[int | str], Any, Sequence[Any]]:
    """Where a fault lies: its keys, what is declared there, and the bounds there.

    Pydantic's ``loc`` also names the member of a union that was tried; a fault inside a union is that of the union.
    """
    keys: list[int | str] = []
    annotation: Any = model
    limits: Sequence[Any] = ()
    for part in loc:
        around = _only(annotation)
        args = typing.get_args(around)
        kind = typing.get_origin(around) or around
        if is_model(around):
            keys.append(part)
            info = around.model_fields.get(str(part))
            if info is None:  # an unknown key: it is the model that has no such key
                return keys, around, ()
            annotation, limits = info.annotation, info.metadata
        elif (is_mapping(kind) or is_sequence(kind)) and part != "[key]":
            keys.append(part)
            annotation, limits = (args[-1] if is_mapping(kind) else args[0]) if args else Any, ()
        else:
            break
        annotation, more = bare(annotation)
        limits = (*limits, *more)
    return keys, annotation, limits


def bare(annotation: Any) -> tuple[Any, Sequence[Any]]:
    """What ``Annotated`` is about, and the bounds it carries."""
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)[0], annotation.__metadata__
    return annotation, ()


def _only(annotation: Any) -> Any:
    """``A`` for ``A | None``: pydantic does not name that union's member."""
    members = [a for a in typing.get_args(annotation) if a is not type(None)] if is_union(annotation) else []
    return bare(members[0])[0] if len(members) == 1 else annotation


def is_model(annotation: Any) -> bool:
    """Whether it is a model of options."""
    return isinstance(annotation, type) and issubclass(annotation, Options)


def is_union(annotation: Any) -> bool:
    """Whether it is ``A | B``."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def is_mapping(kind: Any) -> bool:
    """Whether it is a kind of mapping."""
    return isinstance(kind, type) and issubclass(kind, Mapping)


def is_sequence(kind: Any) -> bool:
    """Whether it is a kind of list."""
    return isinstance(kind, type) and issubclass(kind, Sequence) and not issubclass(kind, str | bytes)
