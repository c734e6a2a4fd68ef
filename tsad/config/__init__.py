"""From YAML and overrides to typed options and makers of objects; ``DictConfig`` stops here."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tsad.command.checks import check
from tsad.command.explain import explain
from tsad.command.quoting import quoted
from tsad.command.schema import UNSET, full_key, nearest, typed
from tsad.command.secrets import literal, masked, unmasked
from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.core.errors import ConfigError, ReviewError
from tsad.core.moved import current
from tsad.core.options import (
    AdapterOptions,
    CacheOptions,
    DownsampleOptions,
    GoldOptions,
    LoopOptions,
    QualityOptions,
    ReviewOptions,
    SamplingOptions,
    ThresholdOptions,
    TrackingOptions,
    WindowOptions,
)
from tsad.files.locate import shipped

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from tsad.detectors.base import Detector
    from tsad.sources.base import Source

T = TypeVar("T")
CONFIG_NAME = "config"
VERSION_BASE = "1.3"
OPTIONS: dict[str, type] = {
    "loop": LoopOptions,
    "windows": WindowOptions,
    "threshold": ThresholdOptions,
    "adapter": AdapterOptions,
    "sampling": SamplingOptions,
    "gold": GoldOptions,
    "review": ReviewOptions,
    "tracking": TrackingOptions,
    "cache": CacheOptions,
    "quality": QualityOptions,
    "downsample": DownsampleOptions,
}
GROUPS = ("loop", "source", "detector", *(name for name in OPTIONS if name != "loop"))
# How this machine works, not what an iteration computes: never frozen, so that offline=only may finish an iteration.
UNFROZEN = ("cache",)


def home() -> Path:
    """The store's folder: ``$TSAD_HOME``, else ``./mlruns``; absolute, not created."""
    return Path(os.environ.get("TSAD_HOME") or "mlruns").expanduser().absolute()


def search_folders() -> list[Path]:
    """Where configs are looked up, first one first: ``conf/`` where the user stands, then our own."""
    own, here = shipped("conf"), Path.cwd() / "conf"
    return [here, own] if here.is_dir() and here.resolve() != own.resolve() else [own]


def options_of(group: str) -> list[str]:
    """What a group offers, sorted, e.g. ``options_of("task")`` = the verbs."""
    return sorted({path.stem for place in search_folders() for path in (place / group).glob("*.yaml")})


def search_here_first() -> None:
    """Have Hydra search ``conf/`` in the working directory before our own."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class WorkingDirectory(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for place in search_folders()[:-1]:
                search_path.prepend("working-directory", f"file://{place}", "main")

    if not any(p.__name__ == "WorkingDirectory" for p in Plugins.instance().discover(SearchPathPlugin)):
        Plugins.instance().register(WorkingDirectory)


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The config that the overrides give, without a Hydra job; values are quoted as on the command line.

    Raises:
        ConfigError: an unknown key, group or option, a value that cannot be read.
    """
    try:
        return _compose(overrides)
    except Exception as error:
        explained = explain(error, lambda: known_keys(overrides))
        if explained is None:
            raise
        raise explained from error


def _compose(overrides: Sequence[str]) -> DictConfig:
    import hydra

    search_here_first()
    with hydra.initialize_config_dir(str(shipped("conf")), version_base=VERSION_BASE, job_name="tsad"):
        cfg = hydra.compose(CONFIG_NAME, [quoted(o) for o in overrides], return_hydra_config=True)
    return finish(cfg, cfg.hydra.runtime.choices)


def known_keys(overrides: Sequence[str] = ()) -> list[str]:
    """Full keys of the config that the overrides' choices of verb, experiment and groups give, and the groups."""
    choices = [o for o in overrides if _override_key(o) in {"task", "experiment", *GROUPS} and "," not in o]
    for chosen in (choices, ()):
        with suppress(Exception):
            return [*flatten(_plain(_compose(chosen))), *GROUPS, "task", "experiment"]
    return []


def _override_key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def finish(cfg: DictConfig, choices: Mapping[str, Any]) -> DictConfig:
    """The config without Hydra's own part; an empty ``loop.name`` becomes the experiment's name."""
    from omegaconf import OmegaConf, open_dict

    cfg = OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"])
    with open_dict(cfg):
        if "loop" in cfg and cfg.loop.get("name") == "":
            cfg.loop.name = str(choices.get("experiment") or "default").rsplit("/", 1)[-1]
    return cfg


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One composed config, checked: typed options, plain mappings for what is built by ``_target_``.

    Attributes:
        task: the verb's own keys, as YAML gives them.
        config_yaml: groups and loop, secrets masked.
        overrides: what the user typed, without the verb, its own keys and Hydra's.
    """

    loop: LoopOptions
    windows: WindowOptions
    threshold: ThresholdOptions
    adapter: AdapterOptions
    sampling: SamplingOptions
    gold: GoldOptions
    review: ReviewOptions
    tracking: TrackingOptions
    cache: CacheOptions
    quality: QualityOptions
    downsample: DownsampleOptions
    source: Mapping[str, Any]
    detector: Mapping[str, Any]
    task: Mapping[str, Any]
    home: Path
    config_yaml: str
    overrides: tuple[str, ...] = ()


def settings(cfg: DictConfig, overrides: Sequence[str] = ()) -> Settings:
    """Check everything that can be checked before work starts; imports nothing heavy.

    Raises:
        ConfigError: an unknown key, a wrong type, an impossible combination, an unset interpolation.
    """
    plain = _plain(cfg)
    absent = [g for g in GROUPS if not isinstance(plain.get(g), Mapping)]
    if absent:
        where = search_folders()[0] / f"{CONFIG_NAME}.yaml"
        raise ConfigError(f"the config has no {', '.join(absent)}", f"Look at the defaults list of {where}.")
    task = {k: v for k, v in plain.items() if k not in GROUPS}
    mine = tuple(o for o in overrides if _own(_override_key(o), task) and not o.startswith("hydra"))
    checked = Settings(
        **{group: kind(**typed(kind, plain[group], group)) for group, kind in OPTIONS.items()},
        source=plain["source"],
        detector=plain["detector"],
        task=task,
        home=home(),
        config_yaml=masked_yaml(cfg, [g for g in GROUPS if g not in UNFROZEN]),
        overrides=mine,
    )
    check(checked)
    return checked


def _own(key: str, task: Mapping[str, Any]) -> bool:
    """Whether an override changes what an iteration computes: no key of the verb's, nor of an unfrozen group."""
    return key not in {"task", *task} and key.partition(".")[0] not in UNFROZEN


def workbench(checked: Settings, context: Context | None = None) -> Workbench:
    """Makers of the interchangeable parts; source and detector are checked here and built when asked for.

    Args:
        context: what the call shares; ``None`` = one that nobody watches.

    Raises:
        ConfigError: a class that does not exist or is no source or detector, an unknown key of it, a wrong type.
    """
    from tsad.detectors.base import Detector
    from tsad.sources.base import Source

    context = context or Context()
    source, export = dict(checked.source), None
    if str(source.get("labels") or "").lower().endswith(".json"):
        # A Label Studio export is read by the review room, which no source may import.
        source["labels"], export = None, Path(str(source["labels"])).expanduser()
    make_source = maker(source, "source", Source)  # type: ignore[type-abstract]
    make_detector = maker(checked.detector, "detector", Detector)  # type: ignore[type-abstract]
    groups = {f.name: getattr(checked, f.name) for f in fields(checked) if f.name in OPTIONS}
    return Workbench(
        **groups,
        context=context,
        home=checked.home,
        config_yaml=checked.config_yaml,
        source_config=masked(checked.source),
        detector_config=masked(checked.detector),
        overrides=checked.overrides,
        label_export=export,
        make_source=lambda: _cached(make_source(), checked.home, checked.cache, context),
        make_detector=make_detector,
        detector_named=lambda name: _detector_named(name, checked, make_detector),
        csv_at=lambda place: _csv_at(place, checked.source),
        label_studio_token=lambda: label_studio_token(checked.review, checked.home),
        thaw=lambda text: workbench(settings(thawed(text, checked)), context),
    )


def _detector_named(name: str, checked: Settings, composed: Callable[[], Detector]) -> Detector:
    """A detector by the name of its YAML; the composed one, with the user's own keys, where that is the one named.

    Raises:
        ConfigError: there is none of that name.
    """
    from tsad.detectors.base import Detector

    names = options_of("detector")
    if name not in names:
        raise ConfigError(f"there is no detector {name!r}", nearest(name, names))
    config = _option("detector", name)
    if config["_target_"] == checked.detector["_target_"]:  # of several files for one class, the one most like it
        likeness = {other: _likeness(_option("detector", other), checked.detector) for other in names}
        if likeness[name] == max(likeness.values()):
            return composed()
    return maker(config, "detector", Detector)()  # type: ignore[type-abstract]


def _likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """How many values two configs share; none where they are of different classes."""
    return sum(other.get(key) == value for key, value in one.items()) if one["_target_"] == other["_target_"] else 0


def _csv_at(place: Path, source: Mapping[str, Any]) -> Source:
    """A CSV source over ``place``, with the composed source's other keys where that reads CSV files too."""
    from tsad.sources.base import Source

    csv = _option("source", "csv")
    keys = source if source.get("_target_") == csv["_target_"] else csv
    return maker({**keys, "root": str(place), "labels": None}, "source", Source)()  # type: ignore[type-abstract]


def _option(group: str, name: str) -> dict[str, Any]:
    """One option of a group as its YAML gives it, without anybody's overrides."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    if GlobalHydra.instance().is_initialized():  # inside a verb: by the same search path
        return dict(_plain(hydra.compose(f"{group}/{name}"))[group])
    search_here_first()
    with hydra.initialize_config_dir(str(shipped("conf")), version_base=VERSION_BASE, job_name="tsad"):
        return dict(_plain(hydra.compose(f"{group}/{name}"))[group])


def maker(config: Mapping[str, Any], group: str, base: type[T]) -> Callable[[], T]:
    """A function that builds ``_target_`` with the other keys; keys still ``???`` are refused when it is called.

    Raises:
        ConfigError: a class that does not exist or is no ``base``, an unknown key, a wrong type.
    """
    target = locate(str(config.get("_target_", "")), group, base)
    typed(target, {k: v for k, v in config.items() if v != UNSET}, group, partial=True)
    return lambda: target(**typed(target, config, group))


def locate(path: str, group: str, base: type[T]) -> type[T]:
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


def _cached(source: Source, place: Path, options: CacheOptions, context: Context) -> Source:
    """The cache in front of sources that gain from one; the sources of a call share its working set."""
    if not source.cacheable:
        return source
    from tsad.sources.cache import CachedSource, WorkingSet, cache_folder

    memory = context.shared(("working set", place), lambda: WorkingSet(int(options.memory_mb * 1e6)))
    return CachedSource(
        source, cache_folder(place), memory, enabled=options.enabled, offline=options.offline,
        late_seconds=options.late_seconds, max_bytes=int(options.max_gb * 1e9),
    )


def label_studio_token(review: ReviewOptions, place: Path) -> str:
    """The token for Label Studio: the embedded one keeps its own, a shared server's comes from the environment.

    Raises:
        ReviewError: it is not there.
    """
    if not review.url:
        from tsad.review.server import read_token

        return read_token(place)
    token = os.environ.get(review.token_env, "") if review.token_env else ""
    if not token:
        name = review.token_env or "review.token_env="
        remedy = f"export {name}=...; {review.url} shows it under Account & Settings."
        raise ReviewError(f"no token for {review.url}: environment variable {name} is not set", remedy)
    return token


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, interpolations resolved, ``???`` where something is to be given.

    Raises:
        ConfigError: an interpolation that cannot be resolved.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise explain(error) or error from error
    return {str(k): v for k, v in plain.items()} if isinstance(plain, dict) else {}


def masked_yaml(cfg: DictConfig, groups: Sequence[str] = ()) -> str:
    """The resolved config (or these groups of it) as YAML with secrets masked; resolves again to the same."""
    import yaml
    from omegaconf import OmegaConf

    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    values = masked(_plain(cfg), raw)
    kept = {g: values[g] for g in groups if g in values} if groups else values
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def thawed(text: str, now: Settings) -> DictConfig:
    """An iteration's frozen config; masked secrets, and groups that it does not have, come from the config in use now.

    Raises:
        ConfigError: not YAML, or a secret or an environment variable that the config in use does not have there.
    """
    import yaml
    from omegaconf import OmegaConf

    try:
        frozen = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the frozen config is not YAML: {error}") from error
    current = {f.name: getattr(now, f.name) for f in fields(now)}
    plain = {k: asdict(v) if k in OPTIONS else v for k, v in current.items() if k in GROUPS}
    return OmegaConf.create({**literal(plain), **unmasked(frozen, plain, yaml.safe_load(now.config_yaml))})


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by full key, e.g. ``{"adapter.r": 8}``; lists are leaves."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = full_key(prefix, key)
        found |= flatten(value, name) if isinstance(value, Mapping) else {name: value}
    return found
