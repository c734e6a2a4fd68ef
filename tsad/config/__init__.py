"""From YAML and overrides to checked options and makers of objects; ``DictConfig`` stops here.

``composing`` looks files up and calls Hydra, ``validation`` fills option models and says every fault, ``checked`` does
that for a whole config (``groups`` lists the models, ``parts`` finds the classes, ``rules`` are those over
groups), ``freeze`` keeps and thaws it, ``typed`` tells what of it the user typed, ``sweeps`` is about several jobs,
``assembly`` makes the workbench.
"""

from __future__ import annotations

from tsad.config.assembly import workbench
from tsad.config.checked import Settings, settings
from tsad.config.composing import (
    CONFIG_NAME,
    VERSION_BASE,
    compose,
    explained,
    finish,
    flatten,
    home,
    options_of,
    search_folders,
    search_here_first,
    yaml_text,
)
from tsad.config.freeze import masked_yaml, thawed
from tsad.config.groups import BASES, GROUPS, OPTIONS, UNFROZEN
from tsad.config.sweeps import check_sweep, loop_of_job

__all__ = [
    "BASES", "CONFIG_NAME", "GROUPS", "OPTIONS", "UNFROZEN", "VERSION_BASE", "Settings", "check_sweep", "compose",
    "explained", "finish", "flatten", "home", "loop_of_job", "masked_yaml", "options_of", "search_folders",
    "search_here_first", "settings", "thawed", "workbench", "yaml_text",
]  # fmt: skip
