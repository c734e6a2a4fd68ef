"""The base of everything that YAML and the command line fill: frozen pydantic models, each option declared once."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

UNSET = "???"  # how YAML says: to be given by the user


class Options(BaseModel):
    """Options of a group, a verb or a class: a field per key, with type, bounds (``Field``) and choices (``Literal``).

    The values are in YAML only, so fields have no defaults; a class built by name has its model beside it. A number may
    come as text (YAML reads ``1e-3`` as one) and a text as a number; nothing else is converted: ``true`` is no number,
    ``1`` no truth value, ``5.0`` no whole number, infinity and NaN are refused.

    Raises:
        pydantic.ValidationError: all faults at once; ``config`` says them by their full keys.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, protected_namespaces=()
    )

    @field_validator("*", mode="before")
    @classmethod
    def _exact(cls, value: Any, info: ValidationInfo) -> Any:
        return _exact(cls.model_fields[str(info.field_name)].annotation, value)


class Configured:
    """A class that YAML builds by ``_target_``: its keyword arguments are one :class:`Options` model.

    A subclass names the model and takes either one ready made or its fields as keyword arguments:
    ``def __init__(self, options: CsvOptions | None = None, **given: Any)``, which begins with
    ``self.settings = self.configured(options, given)``.
    """

    options_model: ClassVar[type[Options]]

    @classmethod
    def configured(cls, options: Options | None, given: Mapping[str, Any]) -> Any:
        """The options as given, or made from keyword arguments."""
        return cls.options_model(**given) if options is None else options


def _exact(annotation: Any, value: Any) -> Any:
    """The value, refused where pydantic would take a truth value for a number or the other way round."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _exact(args[0], value)
    if origin in (typing.Union, types.UnionType):
        kinds = [a for a in args if a is not type(None)]
        return _exact(kinds[0], value) if len(kinds) == 1 and value is not None else value
    if isinstance(value, list | tuple) and origin in (list, tuple, set, frozenset) and args:
        return [_exact(args[0], item) for item in value]
    if isinstance(value, Mapping) and len(args) == 2:
        return {key: _exact(args[1], item) for key, item in value.items()}
    if annotation is bool and not isinstance(value, bool):
        raise ValueError("not a truth value")
    if annotation in (int, float) and isinstance(value, bool):
        raise ValueError("a truth value is no number")
    if annotation is int and isinstance(value, float):
        raise ValueError("not a whole number")
    if annotation is str and isinstance(value, bool):
        return str(value).lower()
    return value
