"""Hydra's and OmegaConf's errors as one clear line each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from tsad.command.naming import nearest
from tsad.core.errors import ConfigError, TsadError


def explain(
    error: BaseException,
    known_keys: Callable[[], Iterable[str]] = tuple,
    elsewhere: Callable[[str], str] = lambda key: "",
) -> TsadError | None:
    """The same error as a ``ConfigError``; ``None`` for an error that is not about configuration.

    Args:
        known_keys: full keys and groups there are, asked for only where a suggestion needs them.
        elsewhere: where an unknown key is to be had instead, "" where nowhere.
    """
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, TsadError):
        return error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing(str(error.missing_cfg_file), list(error.options or ()))
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    text = str(error)
    for pattern, make in _KNOWN:
        match = re.search(pattern, text)
        if match:
            return make(match, known_keys, elsewhere)
    return ConfigError(_one_line(error))


def _missing(path: str, options: Sequence[str]) -> ConfigError:
    group, _, name = path.rpartition("/")
    if not group:
        return ConfigError(f"config file {path} not found", "Look at the conf/ folder where you stand.")
    kind = "verb" if group == "task" else group
    return ConfigError(f"there is no {kind} {name!r}", nearest(name, options))


def _unknown_key(
    match: re.Match[str], known_keys: Callable[[], Iterable[str]], elsewhere: Callable[[str], str]
) -> ConfigError:
    key = match["key"].removesuffix("'")
    if instead := elsewhere(key):
        return ConfigError(f"unknown key {key}", instead)
    keys = sorted(known_keys())
    siblings = [k for k in keys if k.rpartition(".")[0] == key.rpartition(".")[0]]
    hint = nearest(key, siblings if "." in key and siblings else keys)
    return ConfigError(f"unknown key {key}", hint if "." in key or "Did" in hint else "See tsad --cfg job.")


def _ambiguous(match: re.Match[str], *_: object) -> ConfigError:
    key, value = match["argument"].split("=", 1)
    return ConfigError(
        f"{key} is given several values: {value}",
        f"For a list write '{key}=[{value}]', for one text \"{key}='{value}'\", to try one after the other add -m.",
    )


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    noise = ("See https", "object_type=", "reference_type=", "full_key:")
    kept = [line for line in lines if not line.startswith(noise)]
    key = str(getattr(error, "full_key", "") or "")
    text = "; ".join(kept[:3]) or type(error).__name__
    return f"{key}: {text}" if key and key not in text else text


_KNOWN: tuple[tuple[str, Callable[..., ConfigError]], ...] = (
    (r"Could not (?:override|append|delete)[^']*'(?P<key>[^'=\s]+)", _unknown_key),
    (r"Ambiguous value for argument '(?P<argument>.*)'", _ambiguous),
)
