"""The kinds of anomaly that annotators choose from, read from a file that a site edits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsad.core.errors import ConfigError
from tsad.core.types import ANOMALY
from tsad.review.label_studio.language import Language

KEYS = ("name", "colour", "hotkey", "en", "zh")


@dataclass(frozen=True)
class Kind:
    """A kind of anomaly.

    Attributes:
        name: what answers, dataset versions and exports call it.
        colour: #rrggbb. hotkey: a key, "" = the editor chooses.
        en, zh: what annotators read.
    """

    name: str
    colour: str = ""
    hotkey: str = ""
    en: str = ""
    zh: str = ""

    def shown(self, language: Language) -> str:
        """The text in that language, else the name."""
        return (self.zh if language == "zh" else self.en) or self.name


def read_kinds(path: Path) -> tuple[Kind, ...]:
    """The kinds of a YAML file, "Anomaly" (a kind that nobody named) first.

    Raises:
        ConfigError: no YAML list, a key that no kind has, a name or key twice, no colour.
    """
    import yaml

    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"review.kinds={path} cannot be read: {error}", "Compare it with kinds.yaml.") from error
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"review.kinds={path} is no list of kinds", "Compare it with kinds.yaml.")
    kinds = [_kind(row, path) for row in rows]
    for key in ("name", "hotkey"):
        values = [getattr(k, key) for k in kinds if getattr(k, key)]
        double = sorted({v for v in values if values.count(v) > 1})
        if double:
            raise ConfigError(f"review.kinds={path} has the {key} {double[0]} twice", "Give each kind one of its own.")
    first = [k for k in kinds if k.name == ANOMALY] or [Kind(ANOMALY, "#d62728")]
    return (*first, *(k for k in kinds if k.name != ANOMALY))


def _kind(row: Any, path: Path) -> Kind:
    if not isinstance(row, dict) or not row.get("name") or set(row) - set(KEYS):
        raise ConfigError(f"review.kinds={path}: {row!r} is no kind", f"A kind has {', '.join(KEYS)} and nothing else.")
    kind = Kind(**{key: str(value) for key, value in row.items() if value is not None})
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", kind.colour):
        raise ConfigError(f"review.kinds={path}: {kind.name} has the colour {kind.colour!r}", "Write it as '#d62728'.")
    return kind
