"""Answers kept by model version and block, so that the same window is not asked about twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tsad.core.errors import StorageError
from tsad.detectors.llm.codec import Mark
from tsad.files.atomic import write_file


@dataclass(frozen=True)
class Answer:
    """What the model said of a block: chances of each unit, or marks.

    Attributes:
        mended: what had to be repaired in it.
    """

    chances: tuple[float, ...] = ()
    marks: tuple[Mark, ...] = ()
    mended: tuple[str, ...] = ()


@dataclass
class Kept:
    """Answers of one model version, by the key of the block.

    Attributes:
        folder: where they lie from call to call; ``None`` = this call alone. It may be deleted at any time.
    """

    folder: Path | None
    answers: dict[str, Answer] = field(default_factory=dict)

    def get(self, key: str) -> Answer | None:
        """A kept answer; one that cannot be read counts as none."""
        if key not in self.answers and self.folder is not None:
            try:
                content: dict[str, Any] = json.loads((self.folder / key[:2] / f"{key}.json").read_text("utf-8"))
                marks = tuple(Mark(**mark) for mark in content["marks"])
                self.answers[key] = Answer(tuple(map(float, content["chances"])), marks, tuple(content["mended"]))
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return self.answers.get(key)

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer.

        Raises:
            StorageError: disk full, read-only folder.
        """
        self.answers[key] = answer
        if self.folder is None:
            return
        try:
            (self.folder / key[:2]).mkdir(parents=True, exist_ok=True)
            write_file(self.folder / key[:2] / f"{key}.json", json.dumps(asdict(answer)).encode())
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error}", "Free some space.") from error
