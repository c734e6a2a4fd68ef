"""Decoding: masks over the next token, so that an answer is well formed, and the probabilities of what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from tsad.core.types import FloatArray
from tsad.detectors.llm.codec import END, FREE, FlagCodec, IntervalCodec, Mark, State, interval_confidence

# A row of a batch stands in a set of these: a state, and the tokens of a piece that has been begun.
Live = tuple[tuple[State, tuple[int, ...]], ...]
OPENING: Live = ((State(), ()),)


class FlagSteering(LogitsProcessor):
    """Lets each row say so many flags and then end; keeps the probability of 1 at each.

    Attributes:
        chances: [N] lists of probabilities, one per flag.
    """

    def __init__(self, codecs: Sequence[FlagCodec], prompt: int) -> None:
        self.codecs, self.prompt = codecs, prompt
        self.chances: list[list[float]] = [[] for _ in codecs]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        done = input_ids.shape[1] - self.prompt
        codec = self.codecs[0]
        pair = scores[:, [codec.off, codec.on]].float()
        chance = torch.softmax(pair, dim=-1)[:, 1].tolist()
        masked = torch.full_like(scores, float("-inf"))
        masked[:, [codec.off, codec.on]] = pair.to(scores.dtype)
        for row, own in enumerate(self.codecs):
            if done < own.units:
                self.chances[row].append(chance[row])
            else:
                masked[row] = float("-inf")
                masked[row, own.stop] = 0.0
        return masked  # type: ignore[return-value]


class IntervalSteering(LogitsProcessor):
    """Lets each row say intervals of its codec and nothing else; keeps the probability of every token it might choose.

    Attributes:
        steps: per token generated, per row: probability of each token that was allowed (plain text left out).
    """

    def __init__(self, codecs: Sequence[IntervalCodec], prompt: int, plain: torch.Tensor | None = None) -> None:
        walkers = {id(codec): Walker(codec) for codec in codecs}  # rows of one codec share what it has worked out
        self.walkers = [walkers[id(codec)] for codec in codecs]
        self.prompt, self.plain = prompt, plain
        self.rows: list[Live] = []
        self.steps: list[list[dict[int, float]]] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if input_ids.shape[1] == self.prompt:
            self.rows = [OPENING] * len(input_ids)
        else:
            last = input_ids[:, -1].tolist()
            self.rows = [w.after(row, token) for w, row, token in zip(self.walkers, self.rows, last, strict=True)]
        masked = torch.full_like(scores, float("-inf"))
        chances = []
        for k, (walker, row) in enumerate(zip(self.walkers, self.rows, strict=True)):
            allowed = list(walker.step(row))
            masked[k, allowed] = scores[k, allowed]
            if walker.free(row) is not None and self.plain is not None:
                masked[k] = torch.where(self.plain.to(scores.device), scores[k], masked[k])
            share = torch.softmax(masked[k].float(), dim=-1)[allowed] if len(allowed) > 1 else torch.ones(len(allowed))
            chances.append(dict(zip(allowed, share.tolist(), strict=True)))
        self.steps.append(chances)
        return masked  # type: ignore[return-value]

    def read(self, row: int, tokens: Sequence[int], tokenizer: Any) -> tuple[Mark, ...] | None:
        """The marks that a row says, with their confidence; ``None`` where the answer was cut off."""
        chances = [step[row].get(token, 1.0) for step, token in zip(self.steps, tokens, strict=False)]
        return self.walkers[row].read(tokens, chances, tokenizer)


@dataclass
class Walker:
    """Walks through answers of one codec, token by token."""

    codec: IntervalCodec
    memo: dict[Live, dict[int, Live]] = field(default_factory=dict)

    def step(self, live: Live) -> Mapping[int, Live]:
        """Token -> where the answer stands after it; tokens of plain text are not listed, see :meth:`free`."""
        if live not in self.memo:
            out: dict[int, list[tuple[State, tuple[int, ...]]]] = {}
            for state, rest in live:
                if rest:
                    out.setdefault(rest[0], []).append((state, rest[1:]))
                    continue
                for text, after in self.codec.choices(state):
                    if text != FREE:
                        tokens = self.codec.piece(text)
                        out.setdefault(tokens[0], []).append((after, tokens[1:]))
                if state == END:
                    out.setdefault(self.codec.stop, []).append((state, ()))
            self.memo[live] = {token: tuple(states) for token, states in out.items()}
        return self.memo[live]

    def free(self, live: Live) -> Live | None:
        """Where the answer stands after a token of plain text; ``None`` where none may come."""
        for state, rest in live:
            if not rest and state.place == "reason":
                after = [s for text, s in self.codec.choices(state) if text == FREE]
                if after:
                    return ((after[0], ()),)
        return None

    def after(self, live: Live, token: int) -> Live:
        """Where the answer stands after a token; at its end after any that may not come there."""
        known = self.step(live).get(token)
        return known or self.free(live) or ((END, ()),)

    def read(self, tokens: Sequence[int], chances: Sequence[float], tokenizer: Any) -> tuple[Mark, ...] | None:
        """The marks of an answer that keeps to the codec; ``None`` where it does not end."""
        marks: list[Mark] = []
        live, start, opened = OPENING, 0, 1.0
        digits: list[float] = []
        words: list[int] = []
        before = State()
        for token, chance in zip(tokens, chances, strict=False):
            live = self.after(live, token)
            state = live[0][0]
            if state.place == "start" and not state.digits:  # an interval is begun
                opened, digits = opened * chance if before.place == "start" else chance, []
            elif state.place in ("start", "stop"):
                digits.append(chance)
                if state.place == "stop" and before.place == "start":
                    start = state.low
            if state.count > before.count:  # its last number is complete
                marks.append(Mark(start, state.low - 1, confidence=interval_confidence(opened, digits)))
                words = []
            elif state == END and before.place == "stop":
                marks.append(Mark(start, int(before.digits), confidence=interval_confidence(opened, digits)))
            if state.place in ("kind", "reason"):
                words.append(token)
            elif before.place in ("kind", "reason"):
                marks[-1] = self._worded(marks[-1], tokenizer.decode([*words, token]))
                words = []
            if state == END and not live[0][1]:
                return tuple(marks)
            before = state
        return None

    def _worded(self, mark: Mark, text: str) -> Mark:
        """The mark with kind and reason from the words after its numbers: ``,"spike","rises"],[``."""
        parts = text.split('"')
        said = [p for p in parts[1::2] if p]
        kind = said.pop(0) if self.codec.kinds and said else ""
        return replace(mark, kind=kind, note="" if not said or said[0] == "-" else said[0].strip())


class Recording(LogitsProcessor):
    """Steers nothing and keeps how sure each row was of its likeliest token, for answers that are free."""

    def __init__(self) -> None:
        self.sure: list[list[float]] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.sure.append(torch.softmax(scores.float(), dim=-1).amax(dim=-1).tolist())
        return scores

    def confidence(self, row: int, tokens: int) -> float:
        """Geometric mean over the first ``tokens`` tokens of a row."""
        chances: FloatArray = np.array([step[row] for step in self.sure[:tokens]] or [1.0])
        return float(np.exp(np.log(np.maximum(chances, 1e-9)).mean()))


def generate(
    network: Any, batch: Mapping[str, torch.Tensor], longest: int, steering: LogitsProcessor, tokenizer: Any,
    temperature: float = 0.0,
) -> list[list[int]]:  # fmt: skip
    """Tokens that the network answers to each prompt, without the prompt.

    Args:
        longest: tokens of an answer at most.
        temperature: 0 = the likeliest token each time; else drawn from torch's generator.
    """
    prompt, stop = batch["input_ids"].shape[1], int(tokenizer.eos_token_id)
    how: dict[str, Any] = {"do_sample": False}
    if temperature:
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    with torch.inference_mode():
        tokens = network.generate(
            **batch, max_new_tokens=longest, logits_processor=LogitsProcessorList([steering]), eos_token_id=stop,
            pad_token_id=int(tokenizer.pad_token_id), **how,
        )  # fmt: skip
    return [row[:row.index(stop) + 1] if stop in row else row for row in tokens[:, prompt:].tolist()]


def plain_tokens(tokenizer: Any, size: int) -> torch.Tensor:
    """Which tokens of a vocabulary may stand inside a reason: printable text without quotes or backslashes. [size]."""
    special = set(tokenizer.all_special_ids)
    texts = tokenizer.batch_decode([[k] for k in range(min(size, len(tokenizer)))])
    allowed = [
        k not in special and bool(text) and text.isprintable() and not set(text) & set('"\\\ufffd')
        for k, text in enumerate(texts)
    ]
    return torch.tensor(allowed + [False] * (size - len(allowed)))
