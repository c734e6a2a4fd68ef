"""What functions answer: frozen types that say themselves as JSON and are read back from it."""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R", bound="Result")


class Result:
    """Base of what a stage, a verb's function or an experiment answers.

    A subclass is a ``@dataclass(frozen=True, eq=False)`` of plain values, results, and tuples and mappings of them.
    Times are texts (ISO 8601, UTC; the integer index of series without time), figures are not rounded; NaN, a figure
    that does not exist, is ``null`` in JSON. Two results are equal where their JSON is.
    """

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_json() == typing.cast(Result, other).to_json()

    def to_json(self) -> dict[str, Any]:
        """The fields by name, of JSON's types only."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls: type[R], values: Mapping[str, Any]) -> R:
        """The inverse of :meth:`to_json`; keys that this type does not have are left out, missing ones are the default.

        Raises:
            TypeError: a key without a default is missing.
        """
        hints = typing.get_type_hints(cls)
        return cls(**{name: _typed(hints[name], value) for name, value in values.items() if name in hints})

    @property
    def optimised(self) -> float | None:
        """What a sweeper optimises; ``None`` where there is nothing of the kind."""
        return None

    @property
    def people_have_to_act(self) -> bool:
        """Whether nothing goes on before people have reviewed."""
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_json()
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):  # a number of NumPy's
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _typed(annotation: Any, value: Any) -> Any:
    """A value of JSON as the annotation has it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _typed(_member(args, value), value)
    if origin is tuple:
        return tuple(_typed(args[0], item) for item in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _typed(args[1], item) for key, item in value.items()}
    if isinstance(annotation, type) and issubclass(annotation, Result):
        return annotation.from_json(value)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum | Path):
        return annotation(value)
    if annotation is float:
        return math.nan if value is None else float(value)
    return value


def _member(members: tuple[Any, ...], value: Any) -> Any:
    """Which member of a union the value of JSON is; a float where there is one and the value is a number."""
    known = [member for member in members if member is not type(None)]
    same = [member for member in known if member is type(value)]
    return (same or known)[0]
