"""Files of a project's set-up that people may edit: where they lie."""

from __future__ import annotations

from pathlib import Path

from tsad.core.errors import ConfigError
from tsad.files.locate import shipped


def find_file(name: str, key: str, pattern: str) -> Path:
    """A file: a path as it stands, else in ``label_studio/`` where the user stands, else ours.

    Args:
        key: the option of ``review`` that names it. pattern: of files of that sort.

    Raises:
        ConfigError: there is none of that name.
    """
    ours = shipped("label_studio")
    for path in (Path(name).expanduser(), Path("label_studio") / name, ours / name):
        if path.is_file():
            return path
    known = ", ".join(sorted(p.name for p in ours.glob(pattern)))
    raise ConfigError(f"review.{key}={name} is no file here or in {ours}", f"There are {known}, or give a path.")
