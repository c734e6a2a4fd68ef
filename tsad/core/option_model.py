"""The base of everything that YAML and the command line fill: frozen pydantic models, each option declared once."""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from tsad.core.errors import ConfigError, TsadError
from tsad.core.faults import faults_of, misspelt

UNSET = "???"  # how YAML says: to be given by the user
WRONG_TYPE = "wrong_type"  # pydantic's name of the fault where _exact refuses what pydantic would convert


class Options(BaseModel):
    """Options of a group, a verb or a class: a field per key, with type, bounds (``Field``) and choices (``Literal``).

    The values are in YAML only, so fields have no defaults; a class built by name has its model beside it. A number may
    come as text (YAML reads ``1e-3`` as one) and a text as a number; nothing else is converted: ``true`` is no number,
    ``1`` no truth value, ``5.0`` no whole number, infinity and NaN are refused.

    Raises:
        pydantic.ValidationError: all faults at once; ``config.validation`` says them by their full keys.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, protected_namespaces=(),
        hide_input_in_errors=True,  # a secret where none belongs is not shown
    )  # fmt: skip

    @field_validator("*", mode="before")
    @classmethod
    def _exact(cls, value: Any, info: ValidationInfo) -> Any:
        if str(info.field_name).endswith("_env") and isinstance(value, str) and value and not _is_variable(value):
            raise Refusal(
                "{key} is not the name of an environment variable",
                "Put the secret into a variable and name that, in capitals, e.g. PLANT_TOKEN.",
            )
        return _exact(cls.model_fields[str(info.field_name)].annotation, value)


def _is_variable(text: str) -> bool:
    """Whether a text names an environment variable: in capitals, or one that is set; a password is seldom either."""
    name = re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII) is not None
    return name and (not any(ch.islower() for ch in text) or text in os.environ)


class Refusal(ValueError):
    """What a validator refuses, in our words; keys are named in full where the model is part of a config.

    Args:
        found: what was found, e.g. ``"{most} is {0}, below {least}={1}"``: ``{name}`` stands for the full key of the
            field ``name``, ``{key}`` for that of the field at fault, ``{0}`` for the first of ``values``.
        remedy: what to do about it, in the same way.
    """

    def __init__(self, found: str, remedy: str = "", *values: object) -> None:
        self.found, self.remedy = found, remedy
        self.values = {str(at): value for at, value in enumerate(values)}
        super().__init__(" ".join(f"{text.rstrip('.')}." for text in self.in_words(_Names()) if text))

    def in_words(self, keys: Mapping[str, str]) -> tuple[str, str]:
        """What was found and the remedy, with keys as ``keys`` names them."""
        return _filled(self.found, self.values, keys), _filled(self.remedy, self.values, keys)


class Configured:
    """A class that YAML builds by ``_target_``: its keyword arguments are one :class:`Options` model.

    A subclass names the model and takes either one ready made or its fields as keyword arguments:
    ``def __init__(self, options: CsvOptions | None = None, **given: Any)``, which begins with
    ``self.settings = self.configured(options, given)``.

    Attributes:
        group: the config group that chooses it, for messages.
        refused: the error that says what is wrong with keyword arguments.
    """

    options_model: ClassVar[type[Options]]
    group: ClassVar[str]
    refused: ClassVar[type[TsadError]] = ConfigError

    @classmethod
    def configured(cls, options: Options | None, given: Mapping[str, Any]) -> Any:
        """The options as given, or made from keyword arguments.

        Raises:
            TsadError: (``refused``) values that are out of bounds, all of them.
            TypeError: unknown or missing keywords.
        """
        if options is not None:
            return options
        try:
            return cls.options_model(**given)
        except ValidationError as error:
            if names := misspelt(error):
                raise TypeError(f"{cls.__name__}: unknown or missing options {', '.join(names)}") from error
            rows = faults_of(error, f"{cls.group}.")
            found, remedies = (list(column) for column in zip(*rows, strict=True))
            name = getattr(cls, "name", cls.__name__)
            raise cls.refused(f"{name}: {', '.join(found)}", " ".join(remedies)) from error


class _Names(dict[str, str]):
    """Every field by its own name: for a model that is no part of a config."""

    def __missing__(self, key: str) -> str:
        return "the value" if key == "key" else key


def _filled(template: str, values: Mapping[str, object], keys: Mapping[str, str]) -> str:
    """The template with ``{name}`` and ``{0}`` filled in; what is filled in is never read as a template itself."""
    return re.sub(r"\{(\w+)\}", lambda m: str(values[m[1]] if m[1] in values else keys[m[1]]), template)


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
    truth = isinstance(value, bool)
    if (annotation is bool) != truth and annotation in (bool, int, float):
        raise PydanticCustomError(WRONG_TYPE, "a truth value is no number, and a number no truth value")
    if annotation is int and isinstance(value, float):
        raise PydanticCustomError(WRONG_TYPE, "not a whole number")
    return str(value).lower() if annotation is str and truth else value
