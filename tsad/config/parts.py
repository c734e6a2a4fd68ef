"""What is interchangeable: the class that a ``_target_`` names, the model of its keys, and how it is built."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, create_model

from tsad.config.groups import BASES
from tsad.config.validation import validated
from tsad.core.errors import ConfigError
from tsad.core.moved import current
from tsad.core.option_model import Configured, Options

T = TypeVar("T")
PARTIAL = ("source", "detector")  # whose keys may be ``???`` until they are built: not every verb needs them


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """One interchangeable thing of a config, checked.

    Attributes:
        kind: its class.
        config: ``_target_`` and keys, as composed.
        options: its keys as its model wants them; without those that are to be given still.
    """

    group: str
    kind: type[T]
    config: Mapping[str, Any]
    options: Options

    def build(self) -> T:
        """The thing itself.

        Raises:
            ConfigError: a key that is to be given still.
        """
        options = validated(model_of(self.kind), self.config, self.group)
        if issubclass(self.kind, Configured):
            return typing.cast(Any, self.kind)(options)
        return self.kind(**{name: getattr(options, name) for name in options.model_fields_set})


def part(group: str, config: Mapping[str, Any]) -> Chosen[Any]:
    """What a group chooses, checked but for keys that are still ``???``.

    Raises:
        ConfigError: a class that does not exist or does not derive from the group's base, unknown keys, wrong values.
    """
    kind: type[Any] = located(str(config.get("_target_", "")), group, base_of(group))
    options = validated(model_of(kind), config, group, partial=group in PARTIAL)
    return Chosen(group, kind, config, options)


def base_of(group: str) -> type:
    """What everything that a group offers derives from."""
    module, _, name = BASES[group].rpartition(".")
    return getattr(importlib.import_module(module), name)


def located(path: str, group: str, base: type[T]) -> type[T]:
    """The class at a dotted path.

    Raises:
        ConfigError: there is none, or it is no ``base``.
    """
    module, _, name = current(path).rpartition(".")
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        found = f"{group}._target_ {path!r} cannot be imported: {error}"
        raise ConfigError(found, "Give package.module.Class.") from error
    if not (isinstance(target, type) and issubclass(target, base)):
        remedy = f"A {group} derives from {base.__module__}.{base.__name__}."
        raise ConfigError(f"{group}._target_ {path!r} is no {base.__name__}", remedy)
    return target


def model_of(target: Callable[..., object], skip: Iterable[str] = ("self", "bench")) -> type[Options]:
    """The model of what a class or function takes: the one beside it, else its typed keywords as one."""
    if isinstance(target, type) and issubclass(target, Configured):
        return target.options_model
    parameters = {name: p for name, p in inspect.signature(target).parameters.items() if name not in skip}
    named = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    fields: dict[str, Any] = {
        name: (kind, ... if named[name].default is inspect.Parameter.empty else named[name].default)
        for name, kind in _annotations(target, named).items()
    }
    extra: Any = "forbid" if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()) else "allow"
    base = type("Keywords", (Options,), {"model_config": ConfigDict(extra=extra), "__module__": __name__})
    name = getattr(target, "__name__", type(target).__name__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a key may have the name of one of pydantic's own methods, e.g. schema
        return create_model(f"{name}Options", __base__=base, **fields)


def _annotations(target: Callable[..., object], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """The parameters' types; what is left out may name a type that only a type checker imports."""

    def holder() -> None: ...

    holder.__annotations__ = {
        name: Any if p.annotation is inspect.Parameter.empty else p.annotation for name, p in parameters.items()
    }
    return typing.get_type_hints(holder, globalns=vars(sys.modules[target.__module__]), include_extras=True)
