"""Where folders lie: those that ship with tsad, in the wheel or else in the checkout, and those in a store."""

from __future__ import annotations

from pathlib import Path

from tsad import __version__

PACKAGE = Path(__file__).resolve().parents[1]
WHEEL = f"tsad_loop-{__version__}-py3-none-any.whl"  # of the distribution tsad-loop; what `make wheel` leaves in dist/


def shipped(name: str) -> Path:
    """``conf`` or ``label_studio``: the wheel's copy, else the checkout's."""
    packed = PACKAGE / f"_{name}"
    return packed if packed.is_dir() else PACKAGE.parent / name


def answers_folder(home: Path) -> Path:
    """Where what was read of Label Studio's tasks is kept; a part of the cache, freed and bounded with it."""
    return home / "cache" / "label_studio"


def install_extra(extra: str) -> str:
    """The command that adds an extra, e.g. ``studio``: to the checkout this runs from, else from its wheel."""
    if (PACKAGE / "_conf").is_dir():
        return f"pip install 'FOLDER/{WHEEL}[{extra}]' (FOLDER: where the wheel lies that tsad was installed from)"
    return f"pip install -e '{PACKAGE.parent}[{extra}]'"
