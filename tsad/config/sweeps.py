"""``tsad -m``: values checked before the first job, and a loop of its own for each job."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tsad.config.checked import Settings, settings
from tsad.config.composing import compose, override_key
from tsad.core.errors import ConfigError
from tsad.files.hashing import digest_of_text

_OF_THE_JOB = "${hydra:"  # resolved in a job only
_VARIES = re.compile(r"\$\{(?!oc\.env)")


def check_sweep(overrides: Sequence[str], loops: bool) -> None:
    """Check every listed value of a sweep before its first job, so that a typo in the last one costs nothing.

    Args:
        loops: each job of the verb makes a loop.

    Raises:
        ConfigError: a value that its job would refuse; a loop's name that is the same for every job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep

    tried: list[list[str]] = []
    for override, text in zip(OverridesParser.create().parse_overrides(list(overrides)), overrides, strict=True):
        if loops and override_key(text) == "loop.name" and not override.is_sweep_override():
            _refuse_one_loop(text)
        listed = isinstance(override.value(), ChoiceSweep)
        if (listed or not override.is_sweep_override()) and _OF_THE_JOB not in text:
            key = override.get_key_element()
            tried.append([f"{key}={v}" for v in override.sweep_string_iterator()] if listed else [text])
    first = [values[0] for values in tried]
    for at, values in enumerate(tried):
        for value in values if len(values) > 1 else ():
            settings(compose([*first[:at], value, *first[at + 1 :]]))


def _refuse_one_loop(override: str) -> None:
    name = override.partition("=")[2].strip("'\"")
    if not _VARIES.search(name):
        raise ConfigError(
            f"loop.name={name} is the same for every job of the sweep, and each job needs a loop of its own",
            f"Type loop.name='{name}-${{hydra:job.num}}', or leave it out: then each job gets a name of its own.",
        )


def loop_of_job(checked: Settings, number: int) -> str:
    """The name of a job's loop: as typed, which varies, else the loop's with the job's number and a hash of its config.

    The same sweep again finds the loops it made before: what waits for people or was interrupted goes on.
    """
    if any(override_key(override) == "loop.name" for override in checked.overrides):
        return checked.loop.name
    return f"{checked.loop.name}-{number}-{digest_of_text(checked.config_yaml)[:6]}"
