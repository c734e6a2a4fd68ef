"""Blocks put to a server: answers held to a JSON schema, confidences from the probabilities of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tsad.core.errors import EngineError
from tsad.core.options.engine import EngineOptions
from tsad.core.options.prompt import PromptOptions
from tsad.detectors.llm.asking import Questions, mended_aloud, voted
from tsad.detectors.llm.blocks import Piece
from tsad.detectors.llm.codec import Mark
from tsad.detectors.llm.keeping import Answer
from tsad.detectors.llm.prompts import kinds_of, question
from tsad.detectors.llm.reader import Block, Wording
from tsad.detectors.llm.served.client import Server
from tsad.detectors.llm.served.confidence import confidences

ITEM_TOKENS, KIND_TOKENS, REASON_TOKENS, FRAME_TOKENS = 40, 16, 80, 32  # of an answer at most; some servers indent it
REASON_LENGTH = 160  # signs of a reason
CUT_OFF = "the answer was cut off: it grew too long"
Content = str | list[dict[str, Any]]  # of a message, as the API takes it


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedQuestions(Questions):
    """How a server is asked.

    Attributes:
        asked: name of the model there.
        wording: what stands for a block in the text.
        content: from a block and the whole question to what goes into the message.
    """

    engine: EngineOptions
    asked: str
    wording: Wording
    content: Callable[[Block, str], Content]

    def answers(self, pieces: Sequence[Piece], kept: Any) -> Iterator[Answer]:
        """The answer to each piece, in order; the server is met when the first one is asked that is not kept.

        Raises:
            EngineError: see :class:`~tsad.detectors.llm.served.client.Server`; a server that gives no probabilities
                where they are asked for.
        """
        if any(kept.get(piece.key) is None for piece in pieces):
            with Server(self.engine, self.asked) as server:
                server.check()
        return super().answers(pieces, kept)

    def _asked(self, pieces: Sequence[Piece]) -> list[Answer]:
        with Server(self.engine, self.asked) as server, ThreadPoolExecutor(self.batch_size) as pool:
            return list(pool.map(lambda piece: self._answer(server, piece), pieces))

    def _answer(self, server: Server, piece: Piece) -> Answer:
        positions = len(self.wording.position_edges(len(piece.block))) - 1
        body = self._body(piece, positions)
        if self.samples == 1:
            return self._read(server, body, positions)
        first = int(piece.key[:7], 16)  # the same blocks draw the same answers, where the server keeps to seeds
        drawn = [self._read(server, {**body, "temperature": self.temperature, "seed": first + k}, positions)
                 for k in range(self.samples)]  # fmt: skip
        return voted(drawn, positions)

    def _body(self, piece: Piece, positions: int) -> dict[str, Any]:
        prompt = self.prompt
        turns: list[dict[str, Any]] = [{"role": "system", "content": prompt.system}] if prompt.system else []
        text = question(prompt, self.wording, piece.block)
        turns.append({"role": "user", "content": self.content(piece.block, text)})
        item = ITEM_TOKENS + KIND_TOKENS * bool(prompt.kinds) + REASON_TOKENS * prompt.reasons
        body: dict[str, Any] = {"messages": turns, "temperature": 0.0, "max_tokens": FRAME_TOKENS + prompt.most * item}
        if self.engine.logprobs:
            body["logprobs"] = True
        if not self.free:
            schema = {"name": "intervals", "strict": True, "schema": answer_schema(prompt, positions)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _read(self, server: Server, body: Mapping[str, Any], positions: int) -> Answer:
        choice = server.chat(body)
        text = choice["message"]["content"]
        parsed = mended_aloud(text, positions)
        if not parsed.readable and not self.free:
            raise EngineError(
                f"the server at {server.url} does not keep to the schema it was given: it says {text[:80]!r}",
                "Take a server that honours response_format, or detector.decoding=free.",
            )
        sure = [1.0] * len(parsed.marks)
        if self.engine.logprobs:
            sure = confidences(text, _tokens(choice, server.url), parsed.marks)
        marks = tuple(Mark(m.start, m.end, m.kind, m.note, c) for m, c in zip(parsed.marks, sure, strict=True))
        cut = (CUT_OFF,) if choice.get("finish_reason") == "length" else ()
        return Answer(marks=marks, mended=(*parsed.mended, *cut))


def answer_schema(prompt: PromptOptions, positions: int) -> dict[str, Any]:
    """The JSON schema of an answer: ``[[start,end],...]``, with kind and reason where the prompt asks for them.

    What it cannot say is left to the parser: that ``start <= end``, that intervals ascend and do not overlap.
    """
    number = {"type": "integer", "minimum": 0, "maximum": positions - 1}
    parts: list[dict[str, Any]] = [number, number]
    if prompt.kinds:
        parts.append({"type": "string", "enum": list(kinds_of(prompt))})
    if prompt.reasons:
        parts.append({"type": "string", "maxLength": REASON_LENGTH})
    item = {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    return {"type": "array", "items": item, "maxItems": prompt.most}


def _tokens(choice: Mapping[str, Any], url: str) -> Sequence[Mapping[str, Any]]:
    told = choice.get("logprobs")
    tokens = told.get("content") if isinstance(told, Mapping) else None
    fit = isinstance(tokens, list) and all(
        isinstance(t, Mapping) and isinstance(t.get("logprob"), int | float) for t in tokens
    )
    if not fit or not tokens:
        raise EngineError(
            f"the server at {url} gives no probabilities of its tokens",
            "Set engine.logprobs=false (every interval counts as sure as any other then), or take a server that does.",
        )
    return list(tokens)
