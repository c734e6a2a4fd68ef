"""The ``text`` detector: the values of a series as numbers in a prompt, to whatever language model a server has."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsad.core.errors import DetectorError
from tsad.detectors.llm.asked import AskedDetector, AskedOptions
from tsad.detectors.llm.reader import Block, Wording
from tsad.detectors.llm.served.asking import ServedQuestions
from tsad.files.hashing import digest_of_text

NAME = "text"
LINE = 16  # values between two numbers of points
DIGITS = 4  # significant ones of a value


class TextOptions(AskedOptions):
    """Keyword arguments of :class:`Text`."""


class Text(AskedDetector):
    """A language model behind a server that reads the values as numbers in the prompt.

    Nothing of it is trained here: what people review teaches how far its intervals are to be believed.

    Args:
        engine: the server; see ``conf/engine``.
        length: points of the series in a prompt.
        stride: points between the starts of neighbouring prompts.
        most_points: that a prompt shows; of longer windows so many are kept by ``reduce``.
        reduce: m4 or minmax.
        channels: of a series in one prompt.
        batch_size: questions that are open at once.
        decoding: constrained = the server is given a JSON schema; free = answers come as they come.
        samples: answers per prompt that are taken together; 1 = the likeliest.
        temperature: of these draws.
        prompt: what is asked; see ``conf/prompt``.

    Raises:
        DetectorError: impossible options. EngineError: when it is asked, see ``served.client.Server``.
    """

    name = NAME
    options_model = TextOptions
    settings: TextOptions
    unhashed = ("batch_size",)

    def __init__(self, options: TextOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        if self.settings.engine.kind != "openai":
            raise DetectorError(
                "detector=text has no weights of its own, and no server is named",
                "Give engine=openai engine.url=http://HOST:PORT/v1 engine.model=NAME prompt=range.",
            )

    @property
    def wording(self) -> Wording:
        return Values()

    def questions(self) -> ServedQuestions:
        s = self.settings
        return ServedQuestions(
            engine=s.engine, asked=s.engine.model, wording=self.wording, content=lambda _, text: text, prompt=s.prompt,
            batch_size=s.batch_size, free=s.decoding == "free", samples=s.samples, temperature=s.temperature,
        )  # fmt: skip

    def grounds(self) -> dict[str, Any]:
        return {"url": self.settings.engine.url}

    def base_reference(self) -> dict[str, str]:
        """The model's name: what a server has under it cannot be looked into."""
        return {"id": self.settings.engine.model, "path": "", "sha256": digest_of_text(self.settings.engine.model)}


class Values(Wording):
    """Values with four significant digits, sixteen to a line, each line after the number of its first point."""

    def marks(self, block: Block) -> str:
        parts = [_lines(values) for values in block.values.T]
        if len(parts) == 1:
            return parts[0]
        return "\n".join(f"{name}:{text}" for name, text in zip(block.channels, parts, strict=True))

    def units(self, points: int) -> int:
        return points


def _lines(values: Any) -> str:
    """E.g. ``0: 1.5 1.6 ...``, ``16: ...``; ``-`` where a value is missing."""
    told = ["-" if np.isnan(v) else f"{v:.{DIGITS}g}" for v in values]
    return "".join(f"\n{k}: {' '.join(told[k : k + LINE])}" for k in range(0, len(told), LINE))
