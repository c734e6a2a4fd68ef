"""Blocks put to a language model, answers read: in batches, each block once; by a network here steered or free."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.options.prompt import PromptOptions
from tsad.detectors.llm.codec import FlagCodec, IntervalCodec, Mark
from tsad.detectors.llm.keeping import Answer, Kept
from tsad.detectors.llm.parse import Parsed, parse
from tsad.detectors.llm.prompts import chat_text, codec_of
from tsad.detectors.llm.reader import Prompted, Reader

if TYPE_CHECKING:
    import torch

    from tsad.detectors.llm.blocks import Piece

log = logging.getLogger("tsad")


@dataclass(frozen=True, eq=False, kw_only=True)
class Questions(ABC):
    """How a language model is asked.

    Attributes:
        batch_size: prompts at once.
        free: whether nothing steers the answers; they are parsed as they come then.
        samples: answers per block; 1 = the likeliest. Of several drawn ones the mean of the flags is taken, or what
            half of them mark (self-consistency: Wang et al. 2023, arXiv 2203.11171).
        temperature: of the draws.
    """

    prompt: PromptOptions
    batch_size: int
    free: bool = False
    samples: int = 1
    temperature: float = 0.0

    def answers(self, pieces: Sequence[Piece], kept: Kept) -> Iterator[Answer]:
        """The answer to each piece, in order; what is kept is not asked again, equal pieces are asked once."""
        for some in _batched(pieces, self.batch_size * 8):
            keys = [piece.key for piece in some]
            new = {key: piece for key, piece in zip(keys, some, strict=True) if kept.get(key) is None}
            ordered = sorted(new, key=lambda key: len(new[key].block))  # neighbours of one length need no padding
            for group in _batched(ordered, self.batch_size):
                for key, answer in zip(group, self._asked([new[key] for key in group]), strict=True):
                    kept.put(key, answer)
            for key in keys:
                known = kept.get(key)
                assert known is not None
                yield known

    @abstractmethod
    def _asked(self, pieces: Sequence[Piece]) -> list[Answer]:
        """The answers to at most ``batch_size`` pieces, in their order."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Asking(Questions):
    """How a network of this process is asked.

    Attributes:
        longest: tokens of a free answer at most.
    """

    network: Any
    reader: Reader
    longest: int = 256

    def _asked(self, pieces: Sequence[Piece]) -> list[Answer]:
        made = {points: codec_of(self.prompt, self.reader, points) for points in {len(p.block) for p in pieces}}
        codecs = [made[len(piece.block)] for piece in pieces]
        prompted = [self.reader.read(p.block, chat_text(self.prompt, self.reader, p.block)) for p in pieces]
        log.debug("%d prompts of %d tokens at most", len(prompted), max(len(p.ids) for p in prompted))
        if self.samples == 1:
            return self._once(codecs, prompted, 0.0)
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(int(pieces[0].key[:8], 16))  # the same blocks draw the same answers
            drawn = [self._once(codecs, prompted, self.temperature) for _ in range(self.samples)]
        return [voted([one[k] for one in drawn], _positions(codec)) for k, codec in enumerate(codecs)]

    def _once(self, codecs: Sequence[Any], prompted: Sequence[Prompted], temperature: float) -> list[Answer]:
        from tsad.detectors.llm.decode import FlagSteering, IntervalSteering, Recording

        batch = self.reader.collate(prompted)
        prompt = batch["input_ids"].shape[1]
        if isinstance(codecs[0], FlagCodec):
            flags = FlagSteering(codecs, prompt)
            self._generated(batch, max(c.longest for c in codecs), flags, temperature)
            return [Answer(chances=tuple(chances)) for chances in flags.chances]
        if self.free:
            recording = Recording()
            rows = self._generated(batch, self.longest, recording, temperature)
            return [self._parsed(c, row, recording.confidence(k, len(row))) for k, (c, row) in
                    enumerate(zip(codecs, rows, strict=True))]  # fmt: skip
        steering = IntervalSteering(codecs, prompt, self._plain())
        rows = self._generated(batch, max(c.longest for c in codecs), steering, temperature)
        read = (steering.read(k, row, self.reader.tokenizer) for k, row in enumerate(rows))
        return [Answer(marks=marks or (), mended=() if marks is not None else ("the answer was cut off",))
                for marks in read]  # fmt: skip

    def _generated(self, batch: dict[str, torch.Tensor], longest: int, steering: Any, temperature: float) -> Any:
        from tsad.detectors.llm.decode import generate

        device = next(self.network.parameters()).device
        moved = {name: tensor.to(device) for name, tensor in batch.items()}
        return generate(self.network, moved, longest, steering, self.reader.tokenizer, temperature)

    def _parsed(self, codec: IntervalCodec, tokens: Sequence[int], confidence: float) -> Answer:
        text = self.reader.tokenizer.decode(tokens, skip_special_tokens=True)
        parsed = mended_aloud(text, codec.length)
        marks = tuple(Mark(m.start, m.end, m.kind, m.note, confidence) for m in parsed.marks)
        return Answer(marks=marks, mended=parsed.mended)

    def _plain(self) -> torch.Tensor | None:
        """Tokens that a reason may hold; nobody looks where none is asked for."""
        if not self.prompt.reasons:
            return None
        import torch

        known, size = self.reader.plain_tokens, int(self.network.get_input_embeddings().weight.shape[0])
        return torch.cat([known, known.new_zeros(max(0, size - len(known)))])[:size]


def mended_aloud(text: str, length: int) -> Parsed:
    """A free answer as it is meant; what had to be mended is logged."""
    parsed = parse(text, length)
    if parsed.mended:
        log.warning("an answer was mended: %s", "; ".join(parsed.mended))
    return parsed


def voted(answers: Sequence[Answer], length: int) -> Answer:
    """What several drawn answers to one block say together.

    Args:
        length: positions that marks count in; of no effect with flags.
    """
    mended = tuple(dict.fromkeys(text for one in answers for text in one.mended))
    if answers[0].chances:
        return Answer(tuple(np.mean([one.chances for one in answers], axis=0).tolist()), (), mended)
    votes = np.zeros(length)
    for one in answers:
        for mark in one.marks:
            votes[mark.start : mark.end + 1] += 1 / len(answers)
    marks = []
    for start, stop in runs_of(votes >= 0.5).tolist():
        named = [m for one in answers for m in one.marks if m.start < stop and start <= m.end]
        kinds = [m.kind for m in named]
        kind = max(set(kinds), key=kinds.count)
        note = next((m.note for m in named if m.note and m.kind == kind), "")
        marks.append(Mark(start, stop - 1, kind, note, float(min(1.0, votes[start:stop].mean()))))
    return Answer(marks=tuple(marks), mended=mended)


def _positions(codec: FlagCodec | IntervalCodec) -> int:
    return codec.length if isinstance(codec, IntervalCodec) else codec.units


def _batched(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[k : k + size] for k in range(0, len(items), size))
