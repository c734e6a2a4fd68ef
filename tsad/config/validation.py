"""From plain values to option models: every fault of a call at once, each by its full key, in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tsad.command.naming import full_key, nearest
from tsad.command.secrets import is_secret_key
from tsad.config.groups import GROUPS, SUCCESSORS
from tsad.config.manual import hint
from tsad.config.words import bounds, choices, inside, is_model, words
from tsad.core.errors import ConfigError
from tsad.core.masking import MASK, mask_urls
from tsad.core.option_model import UNSET, Options, Refusal

M = TypeVar("M", bound=Options)
T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a config."""

    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.found.rstrip('.')}. {self.remedy}" if self.remedy else self.found


@dataclass
class Faults:
    """Collects what is wrong over groups, and raises it together."""

    faults: list[Fault] = field(default_factory=list)

    def of(self, check: Callable[[], T]) -> T | None:
        """What ``check`` gives; ``None`` where it refuses, which is kept for :meth:`refuse`."""
        try:
            return check()
        except OptionsError as error:
            self.faults += error.faults
        except ConfigError as error:
            self.faults.append(Fault(error.found, error.remedy))
        return None

    def refuse(self) -> None:
        """Raises OptionsError where anything was wrong."""
        if self.faults:
            raise OptionsError(list(dict.fromkeys(self.faults)))


class OptionsError(ConfigError):
    """Everything that is wrong with the options of a call."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        if len(faults) == 1:
            super().__init__(faults[0].found, faults[0].remedy)
            return
        listed = "; ".join(f"({at}) {str(fault).rstrip('.')}" for at, fault in enumerate(faults, start=1))
        super().__init__(f"{len(faults)} options are wrong: {listed}")


def validated(
    model: type[M], values: Mapping[str, Any], prefix: str = "", *, partial: bool = False, owner: str = ""
) -> M:
    """The values as the model wants them.

    Args:
        values: plain values as YAML gives them; ``_target_`` is left out, ``???`` counts as missing.
        prefix: full key of the mapping, e.g. ``adapter``; only for messages.
        partial: keys may be missing still; then the model holds only what was given, unchecked across fields.
        owner: the verb whose own keys these are; its messages name it and the groups.

    Raises:
        OptionsError: unknown keys (with the nearest known ones), missing ones, wrong types and values.
    """
    given = {key: value for key, value in values.items() if key != "_target_" and not is_unset(value)}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = [d for d in error.errors() if not (partial and d["type"] == "missing")]
        if wrong:
            scope = _Scope(model, given, prefix, owner)
            raise OptionsError(list(dict.fromkeys(scope.fault(detail) for detail in wrong))) from None
    return model.model_construct(**given)


def is_unset(value: object) -> bool:
    """Whether YAML leaves the value to the user."""
    return isinstance(value, str) and value == UNSET


@dataclass(frozen=True)
class _Scope:
    """Where faults were met: what they are told with."""

    model: type[Options]
    given: Mapping[str, Any]
    prefix: str
    owner: str

    def fault(self, detail: ErrorDetails) -> Fault:
        """One of pydantic's faults in our words."""
        keys, annotation, limits = inside(self.model, detail["loc"])
        kind, key = detail["type"], _named(self.prefix, keys)
        known = annotation.model_fields if is_model(annotation) else {}
        error = (detail.get("ctx") or {}).get("error")
        if kind == "missing":
            return Fault(f"{key} is not set", hint(key, words(annotation), self.owner))
        if kind == "extra_forbidden":
            return self._unknown(keys, known)
        if isinstance(error, Refusal):
            return Fault(*error.in_words({name: full_key(key, name) for name in known} | {"key": key}))
        if isinstance(error, ValueError):
            return Fault(f"{key}: {error}" if key else str(error))
        value = MASK if is_secret_key(key) else _at(self.given, keys)
        shown = "null" if value is None else mask_urls(repr(value))
        if kind == "literal_error":
            listed = isinstance(keys[-1], int)
            found = f"{_named(self.prefix, keys[:-1])} holds {shown}" if listed else f"{key} is {shown}"
            return Fault(found, nearest(str(value), choices(annotation)))
        if kind == "too_short":
            least = (detail.get("ctx") or {}).get("min_length", 1)
            return Fault(f"{key} is {shown}", f"It has to hold at least {least}.")
        if bounds(limits) and kind.startswith(("greater", "less", "finite")):
            return Fault(f"{key} is {value}", f"It has to be {bounds(limits)}.")
        return Fault(f"{key} is {shown} ({type(value).__name__})", f"It takes {words(annotation)}.")

    def _unknown(self, keys: Sequence[int | str], known: Iterable[str]) -> Fault:
        key = _named(self.prefix, keys)
        if self.owner and len(keys) == 1:
            return Fault(f"{self.owner} has no key {key}", nearest(key, [*known, *GROUPS]))
        hint = SUCCESSORS.get(key) or nearest(str(keys[-1]), known, _named(self.prefix, keys[:-1]))
        return Fault(f"unknown key {key}", hint)


def _at(values: Any, keys: Iterable[Any]) -> Any:
    for key in keys:
        values = values[key]
    return values


def _named(prefix: str, keys: Iterable[object]) -> str:
    for key in keys:
        prefix = full_key(prefix, key)
    return prefix
