"""From YAML files and overrides to one config: where files are looked up, how Hydra is called."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.command.explain import explain
from tsad.command.naming import full_key, nearest
from tsad.command.quoting import quoted
from tsad.config.groups import GROUPS, SUCCESSORS
from tsad.core.errors import ConfigError, TsadError
from tsad.files.locate import shipped

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIG_NAME = "config"
VERSION_BASE = "1.3"


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


def yaml_text(name: str) -> str | None:
    """The text of ``<name>.yaml``, e.g. ``task/train``, where it is looked up first; ``None`` where there is none."""
    paths = [place / f"{name}.yaml" for place in search_folders()]
    return next((path.read_text(encoding="utf-8") for path in paths if path.is_file()), None)


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


@cache
def hydra_alone() -> threading.RLock:
    """The lock under which Hydra composes, for a service does so from several threads.

    Hydra keeps what it works on on the process (``GlobalHydra``), so what guards that has to be there, too.
    """
    return threading.RLock()


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The config that the overrides give, without a Hydra job; values are quoted as on the command line.

    Raises:
        ConfigError: an unknown key, group or option, a value that cannot be read.
    """
    try:
        return _compose(overrides)
    except Exception as error:
        named = explained(error, overrides)
        if named is None:
            raise
        raise named from error


def explained(error: BaseException, overrides: Sequence[str] = ()) -> TsadError | None:
    """Hydra's error over these overrides in our words; ``None`` where it is not about configuration."""
    return explain(error, lambda: known_keys(overrides), elsewhere)


def elsewhere(key: str) -> str:
    """Where a key that the chosen option of its group does not have is to be had instead, else ""."""
    import yaml

    group, _, name = key.partition(".")
    if key in SUCCESSORS or group not in GROUPS:
        return SUCCESSORS.get(key, "")
    having = [o for o in options_of(group) if name in (yaml.safe_load(yaml_text(f"{group}/{o}") or "") or {})]
    return f"It is a key of {group}={', '.join(having)}." if having else ""


def _compose(overrides: Sequence[str]) -> DictConfig:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    words = [quoted(o) for o in overrides]
    with hydra_alone():
        if GlobalHydra.instance().is_initialized():  # inside a verb: by the same search path
            cfg = hydra.compose(CONFIG_NAME, words, return_hydra_config=True)
            return finish(cfg, cfg.hydra.runtime.choices)
        search_here_first()
        with hydra.initialize_config_dir(str(shipped("conf")), version_base=VERSION_BASE, job_name="tsad"):
            cfg = hydra.compose(CONFIG_NAME, words, return_hydra_config=True)
        return finish(cfg, cfg.hydra.runtime.choices)


def known_keys(overrides: Sequence[str] = ()) -> list[str]:
    """Full keys of the config that the overrides' choices of verb, experiment and groups give, and the groups."""
    choices = [o for o in overrides if override_key(o) in {"task", "experiment", *GROUPS} and "," not in o]
    for chosen in (choices, ()):
        with suppress(Exception):
            return [*flatten(plain(_compose(chosen))), *GROUPS, "task", "experiment"]
    return []


def override_key(override: str) -> str:
    """What an override sets: ``adapter.r`` of ``adapter.r=4``."""
    return override.lstrip("+~").partition("=")[0]


def finish(cfg: DictConfig, choices: Mapping[str, Any]) -> DictConfig:
    """The config without Hydra's own part; an empty ``loop.name`` becomes the experiment's name."""
    from omegaconf import OmegaConf, open_dict

    cfg = OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"])
    with open_dict(cfg):
        if "loop" in cfg and cfg.loop.get("name") == "":
            cfg.loop.name = str(choices.get("experiment") or "default").rsplit("/", 1)[-1]
        if "detector" in cfg and cfg.detector is not None and "members" in cfg.detector:
            members: Any = OmegaConf.to_container(cfg.detector.members, resolve=True, throw_on_missing=False)
            cfg.detector.members = _written_out(members, cfg)
    return cfg


def _written_out(members: Any, groups: DictConfig | None = None) -> Any:
    """Members of a committee that are named, as the options of their files: what is frozen and registered is whole.

    Args:
        groups: the config in use, whose ``prompt`` and ``engine`` are those of members that take them; ``None`` = what
            these groups have by default.

    Raises:
        ConfigError: a name that is no detector.
    """
    if not isinstance(members, list):
        return members  # what it should be is said where options are checked
    names = options_of("detector")
    for member in members:
        if isinstance(member, str) and member not in names:
            raise ConfigError(f"detector.members names {member!r}, which is no detector", nearest(member, names))
    return [{"name": m, **option("detector", m), **_shared(m, groups)} if isinstance(m, str) else m for m in members]


def _shared(name: str, groups: DictConfig | None) -> dict[str, Any]:
    """What a detector takes whole from another group (``engine: ${engine}``), as the config in use has it."""
    import yaml
    from omegaconf import OmegaConf

    told = yaml.safe_load(yaml_text(f"detector/{name}") or "") or {}
    taken = {key: value[2:-1] for key, value in told.items() if value == f"${{{key}}}"}
    there = {key: group for key, group in taken.items() if groups is not None and group in groups}
    return {
        key: OmegaConf.to_container(groups[group], resolve=True, throw_on_missing=False)
        for key, group in there.items() if groups is not None
    }  # fmt: skip


def option(group: str, name: str) -> dict[str, Any]:
    """One option of a group as its YAML gives it, without anybody's overrides; what it takes from other groups is what
    these have by default."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    with hydra_alone():
        if GlobalHydra.instance().is_initialized():  # inside a verb: by the same search path
            return _option(group, name)
        search_here_first()
        with hydra.initialize_config_dir(str(shipped("conf")), version_base=VERSION_BASE, job_name="tsad"):
            return _option(group, name)


def _option(group: str, name: str) -> dict[str, Any]:
    """The option by itself, or as part of the whole config where it takes something from other groups."""
    import hydra
    from omegaconf import OmegaConf

    alone = hydra.compose(f"{group}/{name}")
    raw: Any = OmegaConf.to_container(alone[group], resolve=False)
    if any(isinstance(value, str) and value.startswith("${") and ":" not in value for value in raw.values()):
        return dict(plain(hydra.compose(CONFIG_NAME, [f"{group}={name}"]))[group])
    values = dict(plain(alone)[group])
    if group == "detector" and "members" in values:
        values["members"] = _written_out(values["members"])
    return values


def targets_of(group: str) -> set[str]:
    """Every ``_target_`` that a YAML of the group names, the user's own ones included."""
    import yaml

    options = (yaml.safe_load(yaml_text(f"{group}/{name}") or "") or {} for name in options_of(group))
    return {str(values["_target_"]) for values in options if "_target_" in values}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values, interpolations resolved, ``???`` where something is to be given.

    Raises:
        ConfigError: an interpolation that cannot be resolved.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise explain(error) or error from error
    return {str(k): v for k, v in values.items()} if isinstance(values, dict) else {}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by full key, e.g. ``{"adapter.r": 8}``; lists are leaves."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = full_key(prefix, str(key))
        leaves |= flatten(value, name) if isinstance(value, Mapping) else {name: value}
    return leaves
