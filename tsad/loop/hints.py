"""A hint that people have answered something: it shortens a watcher's wait, in whichever process, and no more."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tsad.core.names import safe_name


@dataclass(frozen=True)
class Hints:
    """Hints about one loop: the time of a file that whoever hears of an answer touches.

    Nothing depends on them: where one is lost the next look comes by itself; any number of them is one.

    Args:
        home: the store's folder. loop: the loop's name.
    """

    home: Path
    loop: str

    @property
    def path(self) -> Path:
        """The file; it may be deleted at any time."""
        return self.home / "watch" / f"{safe_name(self.loop)}.hint"

    def give(self) -> None:
        """Say that there is something to look at; what cannot be written is no hint."""
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()

    def mark(self) -> int:
        """What changes with every hint: ns since 1970, 0 before the first."""
        with suppress(OSError):
            return self.path.stat().st_mtime_ns
        return 0
