"""Objects built by the name that a stored description gives: checked first, imported second, built last."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from abc import ABC
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError, create_model

from tsad.core.errors import WeightsError
from tsad.core.moved import MOVED, current
from tsad.core.option_model import Options

T = TypeVar("T")
TARGET = "_target_"
HOUSE = "tsad."
_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)  # no part may begin with an underscore
_REMEDY = "Install the tsad version that the model was made with; MLflow lists it under the model's requirements."


def located(path: object, base: type[T], allowed: Collection[str] = ()) -> type[T]:
    """The class at a dotted path, or where it has moved to.

    The name is checked before anything is imported: only modules of tsad are, those that ``allowed`` names, and those
    that this process has imported itself (a subclass of ``base`` of that name exists already).

    Args:
        path: dotted path as an artifact gives it; whatever is not a plain ``package.module.Class`` is refused.
        base: what the class has to derive from.
        allowed: dotted paths that the user's own config names.

    Raises:
        WeightsError: a name that may not be imported, is not there, or is no subclass of ``base``.
    """
    if not isinstance(path, str) or not (path in allowed or _DOTTED.fullmatch(path)):
        raise _refused(path, base, "it is no dotted path of a class")
    known = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _subclasses(base)}
    name = current(path)
    if name in known:
        return _checked(known[name], path, base)
    if not (name.startswith(HOUSE) or path in MOVED or path in allowed):
        raise _refused(path, base, "neither tsad nor your config has it")
    module, _, attribute = name.rpartition(".")
    try:
        target = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise WeightsError(f"This installation has no {path} ({error})", _REMEDY) from error
    return _checked(target, path, base)


def build(description: Mapping[str, Any], base: type[T], allowed: Collection[str] = ()) -> T:
    """The object that ``_target_`` and its keyword arguments describe.

    Only arguments that the class's ``options_model`` has, or else its typed signature, are passed on. A class that is
    built from something else than its constructor's arguments says so by a class method ``from_artifact``.

    Raises:
        WeightsError: see :func:`located`; or the class has other options, or refuses these values.
    """
    arguments = {str(key): value for key, value in description.items() if key != TARGET}
    target = located(description.get(TARGET), base, allowed)
    make: Callable[..., T] = getattr(target, "from_artifact", target)
    try:
        _model_of(target, make)(**arguments)
        return make(**arguments)
    except (TypeError, ValidationError) as error:  # another tsad version's options
        raise WeightsError(
            f"This installation's {current(str(description[TARGET]))} does not take the options of the model ({error})",
            "Install the tsad version that the model was made with, or start a new loop with loop.name=NAME.",
        ) from error


def _refused(path: object, base: type, why: str) -> WeightsError:
    return WeightsError(
        f"The model names {path!r} as its {base.__name__.removesuffix('Base').lower()}, which is not built: {why}",
        "Name your own class in the config (its _target_); if you did not make this model, do not trust its store.",
    )


def _checked(target: Any, path: str, base: type[T]) -> type[T]:
    derived = isinstance(target, type) and issubclass(target, base) and target is not base
    if not derived or ABC in target.__bases__ or inspect.isabstract(target):
        raise _refused(path, base, f"it is no class that derives from {base.__module__}.{base.__name__}")
    return target


def _subclasses(base: type[T]) -> Iterator[type[T]]:
    kind: type[T]
    for kind in base.__subclasses__():
        yield kind
        yield from _subclasses(kind)


def _model_of(target: type, make: Callable[..., Any]) -> type[Options]:
    """The options model of a class; one made of its typed keyword arguments where it has none."""
    declared = getattr(target, "options_model", None)
    if declared is not None:
        return typing.cast("type[Options]", declared)
    function = inspect.getattr_static(target, "__init__") if make is target else make
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # a type that is imported for type checkers only
        hints = {}
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(make).parameters.items():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    return create_model(target.__name__, __base__=Options, **fields)
