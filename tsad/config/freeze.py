"""What an iteration freezes of its config, and how it thaws, also where an older version of tsad froze it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tsad.command.naming import full_key
from tsad.command.secrets import literal, masked, unmasked
from tsad.config.composing import flatten, options_of, plain, targets_of, yaml_text
from tsad.config.destinations import check_destinations
from tsad.config.typed import TypedKeys
from tsad.core.building import HOUSE
from tsad.core.errors import ConfigError
from tsad.core.moved import current
from tsad.core.options.adapter import LATER
from tsad.core.options.engine import IN_PROCESS

if TYPE_CHECKING:
    from omegaconf import DictConfig

_REVIEW = ("wait", "poll_seconds", "min_reviewed", "agreement_iou")
_SERVER = ("url", "token_env", "project", "template", "utc_offset", "chunk", "max_channels")
_ERRORS = ("miss_rate", "shift_rate", "shift_points", "spurious_rate", "seed")
_SAMPLING = ("windows", "max_per_series", "seed")
_RUNS = ("default", "merge_gap", "min_length", "max_length")
_GATE = ("min_intervals", "metric", "guard", "margin", "min_gain", "alpha", "resamples", "seed")
_ABSENT = "not set"
_LABELS, _PEOPLE = ("share", *_GATE), ("windows", "strata", *_GATE)


@dataclass(frozen=True)
class Successor:
    """A class, and those of a group's former keys that it takes."""

    target: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Former:
    """How a group was before it was chosen by ``_target_``: which keys chose, and what each choice is now."""

    chosen_by: tuple[str, ...]
    choices: Mapping[tuple[str, ...], Successor]


FORMER = {
    "review": Former(
        ("mode",),
        {
            ("simulated",): Successor("tsad.review.simulated.SimulatedReviewer", (*_REVIEW, *_ERRORS)),
            ("label_studio",): Successor("tsad.review.label_studio.reviewer.LabelStudioReviewer", (*_REVIEW, *_SERVER)),
        },
    ),
    "sampling": Former(
        ("strategy",),
        {
            ("mix",): Successor("tsad.review.strategies.mix.Mix", (*_SAMPLING, "mix", "temperature")),
            ("top_score",): Successor("tsad.review.strategies.top_score.TopScore", (*_SAMPLING, "temperature")),
            ("low_confidence",): Successor(
                "tsad.review.strategies.low_confidence.LowConfidence", (*_SAMPLING, "temperature")
            ),
            ("random",): Successor("tsad.review.strategies.random.Random", _SAMPLING),
        },
    ),
    "threshold": Former(
        ("rule",),
        {
            ("calibrated",): Successor("tsad.detectors.rules.calibrated.CalibratedRule", ("default",)),
            ("fixed",): Successor("tsad.detectors.rules.fixed.FixedRule", _RUNS),
            ("quantile",): Successor("tsad.detectors.rules.quantile.QuantileRule", (*_RUNS, "quantile")),
            ("reviewed",): Successor("tsad.detectors.rules.reviewed.ReviewedRule", (*_RUNS, "shrinkage")),
        },
    ),
    "gold": Former(
        ("origin", "split"),
        {
            ("auto", "series"): Successor("tsad.review.gold.auto.AutoSeriesGold", (*_LABELS, *_PEOPLE)),
            ("auto", "time"): Successor("tsad.review.gold.auto.AutoTimeGold", (*_LABELS, *_PEOPLE)),
            ("labels", "series"): Successor("tsad.review.gold.series.SeriesGold", _LABELS),
            ("labels", "time"): Successor("tsad.review.gold.time.TimeGold", _LABELS),
            ("people", "series"): Successor("tsad.review.gold.people.PeopleGold", _PEOPLE),
            ("people", "time"): Successor("tsad.review.gold.people.PeopleGold", _PEOPLE),
        },
    ),
}


@dataclass(frozen=True)
class Addition:
    """A key that came later: the group has it where it has the key ``beside``; what a config without it stands for."""

    beside: str
    key: str
    value: Any


ADDED = {
    "gold": (Addition("strata", "windows_share", 0.25), Addition("alpha", "margin", 0.05)),
    "source": (
        Addition("negative_labels", "thousands", "auto"), Addition("negative_labels", "units", []),
        Addition("negative_labels", "abnormal_labels", None), Addition("negative_labels", "decimal", "."),
        Addition("negative_labels", "missing", []), Addition("header", "skip_rows", 0),
        Addition("paths", "time_zone", "UTC"),
    ),
    "windows": (Addition("context", "remembered", 8192),),
    "sampling": (Addition("max_per_series", "once", 0.0), Addition("mix", "embedding", "shape")),
    "detector": (Addition("blend", "refit_every", 0.0), Addition("decoding", "engine", IN_PROCESS)),
    "review": (
        Addition("utc_offset", "context", 1.0), Addition("utc_offset", "max_points", 10_000),
        Addition("utc_offset", "kinds", "kinds.yaml"), Addition("utc_offset", "language", "en"),
        Addition("max_channels", "overlap", 0.0), Addition("max_channels", "consensus", "majority"),
        Addition("max_channels", "expert", ""), Addition("max_channels", "patience", 60.0),
        Addition("utc_offset", "verdict", False), Addition("agreement_iou", "beside", []),
        Addition("max_channels", "pictures", True), Addition("max_channels", "submit_key", ""),
        Addition("max_channels", "instruction", "instruction_{language}.md"),
    ),
    "tracking": (Addition("system_metrics", "tensorboard", False),),
    "adapter": tuple(Addition("replay_share", key, value) for key, value in LATER.items()),
}
# What was written out before a detector had values of its own; null stands for the same now.
WRITTEN_OUT = {
    "adapter": {
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "modules_to_save": ["decoder", "head"], "learning_rate": 0.001,
    },
}  # fmt: skip


# Texts that older versions listed in source.missing; they count as missing always now, and the list adds to them.
_LISTED = ("", "-", "NA", "N/A", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "None")


def translated(frozen: Mapping[str, Any]) -> dict[str, Any]:
    """A frozen config as this version would have frozen it; one that it froze itself stays as it is.

    Raises:
        ConfigError: a choice that no version had.
    """
    return {group: _completed(group, _translated(group, values)) for group, values in frozen.items()}


def _completed(group: str, values: Any) -> Any:
    """The group with the keys that came later."""
    if not isinstance(values, Mapping):
        return values
    later = {a.key: a.value for a in ADDED.get(group, ()) if a.beside in values and a.key not in values}
    if group == "source" and "thousands" in later and "missing" in values:
        later["missing"] = [text for text in values["missing"] or () if text not in _LISTED]
    if later:
        later |= {key: None for key, value in WRITTEN_OUT.get(group, {}).items() if values.get(key) == value}
    return {**values, **later}


def _translated(group: str, values: Any) -> Any:
    former = FORMER.get(group)
    if isinstance(values, Mapping) and "_target_" in values:
        return {**values, "_target_": current(str(values["_target_"]))}
    if former is None or not isinstance(values, Mapping):
        return values
    chosen = tuple(str(values.get(key)) for key in former.chosen_by)
    choice = former.choices.get(chosen)
    if choice is None:
        asked = " and ".join(f"{group}.{key}={name}" for key, name in zip(former.chosen_by, chosen, strict=True))
        raise ConfigError(
            f"the frozen config has {asked}, which no version had",
            "Go on with the tsad that froze it, or take another loop.name: what people answered stays with this one.",
        )
    return {"_target_": choice.target, **{key: value for key, value in values.items() if key in choice.keys}}


def masked_yaml(cfg: DictConfig, groups: Sequence[str] = ()) -> str:
    """The resolved config (or these groups of it) as YAML with secrets masked; resolves again to the same."""
    import yaml
    from omegaconf import OmegaConf

    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    values = masked(plain(cfg), raw)
    kept = {g: values[g] for g in groups if g in values} if groups else values
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def thawed(text: str, now: Mapping[str, Mapping[str, Any]], written: str) -> DictConfig:
    """An iteration's frozen config; masked secrets, and groups that it does not have, come from the config in use now.

    Args:
        now: every group of the config in use, plain values.
        written: the config in use as it would be frozen.

    Raises:
        ConfigError: not YAML, a secret or an environment variable that the config in use does not have there, a class
            that neither tsad nor the user's configs have, or an address to which nothing of the user's own sends a
            secret: who can write to the store must not choose what runs, nor who learns a password.
    """
    from omegaconf import OmegaConf

    frozen = translated(_read(text))
    for group, values in frozen.items():
        target = values.get("_target_", HOUSE) if isinstance(values, Mapping) else HOUSE
        if not (target.startswith(HOUSE) or target in {now.get(group, {}).get("_target_"), *targets_of(group)}):
            raise ConfigError(
                f"the frozen config names {target} as its {group}, which neither tsad nor your config has",
                f"Put it into a YAML of conf/{group}/ if it is yours; if not, do not trust this store.",
            )
    check_destinations(frozen, now)
    ready = unmasked(frozen, now, _read(written))
    if isinstance(ready.get("tracking"), Mapping):  # the store that was opened, whatever it says of where it lies
        ready["tracking"] = {**ready["tracking"], "uri": literal(now.get("tracking", {}).get("uri", ""))}
    return OmegaConf.create({**literal(now), **ready})


def differences(asked: str, frozen: str, typed: TypedKeys) -> list[str]:
    """Typed keys whose values differ, as ``key=asked (frozen: value)``; those that nobody typed do not count.

    Of a group of another class that is all that is said: ``detector=poly (frozen: patch)``.
    """
    now, then = _read(asked), translated(_read(frozen))
    found: list[str] = []
    for group in [g for g in now if g in then]:  # what an older tsad did not freeze comes from the config in use
        ours, theirs = flatten({group: now[group]}), flatten({group: then[group]})
        # Of an option that was typed, a key that one of the two lacks is that of another version of tsad.
        counted = [k for k in {**ours, **theirs} if typed.names(k) or (k in ours and k in theirs and typed.has(k))]
        differing = [k for k in counted if k != "loop.name" and ours.get(k, _ABSENT) != theirs.get(k, _ABSENT)]
        target = f"{group}._target_"
        if target in differing:
            chosen, kept = (_option(group, str(values.get(target))) for values in (ours, theirs))
            found.append(f"{group}={chosen} (frozen: {kept})")
        else:
            found += [f"{key}={ours.get(key, _ABSENT)} (frozen: {theirs.get(key, _ABSENT)})" for key in differing]
    return found


def laid_over(asked: str, frozen: str, typed: TypedKeys) -> str:
    """A frozen config (YAML) with what was typed in place of its own; what nobody typed stays as it was frozen."""
    import yaml

    merged = _merged(_read(asked), translated(_read(frozen)), typed)
    return yaml.safe_dump(merged, sort_keys=False, allow_unicode=True)


def _merged(now: Mapping[str, Any], then: Mapping[str, Any], typed: TypedKeys, prefix: str = "") -> dict[str, Any]:
    merged = dict(then)
    for key, value in now.items():
        name, kept = full_key(prefix, key), then.get(key)
        if typed.has(name):
            merged[key] = value
        elif isinstance(value, Mapping) and isinstance(kept, Mapping):
            merged[key] = _merged(value, kept, typed, name)
    return merged


def _option(group: str, target: str) -> str:
    """The option of a group that names the class, where one alone does; else the class."""
    import yaml

    options = {name: yaml.safe_load(yaml_text(f"{group}/{name}") or "") or {} for name in options_of(group)}
    named = [name for name, values in options.items() if values.get("_target_") == target]
    return named[0] if len(named) == 1 else target.rpartition(".")[2]


def _read(text: str) -> dict[str, Any]:
    import yaml

    try:
        return dict(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"the frozen config is not YAML: {error}") from error
