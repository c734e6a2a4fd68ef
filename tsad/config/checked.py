"""One composed config, checked as a whole: everything that is wrong with it is said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tsad.config.composing import CONFIG_NAME, home, override_key, plain, search_folders
from tsad.config.freeze import masked_yaml
from tsad.config.groups import BASES, GROUPS, OPTIONS, UNFROZEN, Composed
from tsad.config.parts import PARTIAL, Chosen, part
from tsad.config.rules import combinations
from tsad.config.validation import Faults, validated
from tsad.core.errors import ConfigError
from tsad.core.option_model import Options

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True, kw_only=True)
class Settings(Composed):
    """One composed config, checked.

    Attributes:
        parts: what is chosen by ``_target_``, by group.
        groups: every group as composed, plain values.
        task: the verb's own keys, as YAML gives them.
        keys: the same as the verb's model wants them; empty where no model was given.
    """

    parts: Mapping[str, Chosen[Any]]
    groups: Mapping[str, Mapping[str, Any]]
    task: Mapping[str, Any]
    keys: Options = field(default_factory=Options)


def settings(
    cfg: DictConfig, overrides: Sequence[str] = (), keys: type[Options] | None = None, verb: str = ""
) -> Settings:
    """Check everything that can be checked before work starts; imports nothing heavy.

    Args:
        keys: model of the verb's own keys; ``None`` = they are not looked at. verb: its name, for messages.

    Raises:
        ConfigError: unknown keys, wrong types and values, impossible combinations, an unset interpolation; all of them.
    """
    values = plain(cfg)
    absent = [g for g in GROUPS if not isinstance(values.get(g), Mapping)]
    if absent:
        where = search_folders()[0] / f"{CONFIG_NAME}.yaml"
        raise ConfigError(f"the config has no {', '.join(absent)}", f"Look at the defaults list of {where}.")
    task = {k: v for k, v in values.items() if k not in GROUPS}
    options, parts, own = _checked(values, task, keys, verb)
    return Settings(
        **cast(dict[str, Any], options),
        parts=parts,
        groups={group: values[group] for group in GROUPS},
        task=task,
        keys=own,
        home=home(),
        config_yaml=masked_yaml(cfg, [g for g in GROUPS if g not in UNFROZEN]),
        overrides=tuple(o for o in overrides if _computes(override_key(o), task) and not o.startswith("hydra")),
    )


def _checked(
    values: Mapping[str, Any], task: Mapping[str, Any], keys: type[Options] | None, verb: str
) -> tuple[dict[str, Options], dict[str, Chosen[Any]], Options]:
    """Options by group, what is chosen by group, the verb's own keys.

    Raises:
        OptionsError: every fault there is.
    """
    faults, options, parts = Faults(), {}, {}
    for group, model in OPTIONS.items():
        options[group] = faults.of(partial(validated, model, values[group], group))
    for group in BASES:
        parts[group] = faults.of(partial(part, group, values[group]))
    own = faults.of(partial(validated, keys, task, owner=verb)) if keys else Options()
    known = {group: chosen for group, chosen in parts.items() if chosen is not None}
    if len(known) == len(BASES):
        faults.faults += combinations(known)
    faults.refuse()
    chosen = {group: known[group].options for group in BASES if group not in PARTIAL}
    return cast(dict[str, Options], options | chosen), known, cast(Options, own)


def _computes(key: str, task: Mapping[str, Any]) -> bool:
    """Whether an override changes what an iteration computes: no key of the verb's, nor of an unfrozen group."""
    return key not in {"task", *task} and key.partition(".")[0] not in UNFROZEN
