"""How an answer is written: one codec makes the targets of training, steers decoding and reads what was said.

Two forms. *Flags*: one token ``0`` or ``1`` per unit (a patch of the series, a column of the picture). *Intervals*:
``[[start,end],...]`` or ``[]``, inclusive positions, ``start <= end``, ascending, bounded in number; with kinds
``[[12,40,"spike"]]``, with reasons ``[[12,40,"spike","rises to 9 for a minute"]]``.

An answer is put together from pieces, each tokenised by itself: the tokens of a target are the very tokens that
decoding may choose. The pieces are such that Qwen's tokenizers have them as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tsad.core.errors import DetectorError

FREE = "\0"  # stands among pieces for any token of plain text
OPEN, NONE, NEXT, CLOSE = "[[", "[]", "],[", "]]"


@dataclass(frozen=True)
class Mark:
    """One stretch that an answer calls abnormal: inclusive positions in the block.

    Attributes:
        confidence: 0..1, from the probabilities of its tokens.
    """

    start: int
    end: int
    kind: str = ""
    note: str = ""
    confidence: float = 1.0


@dataclass(frozen=True)
class State:
    """Where an answer stands.

    Attributes:
        place: open | start | stop | kind | reason | end.
        count: intervals that are complete.
        low: the least number that may come next.
        digits: of the number that is being written; in a reason: tokens of it so far, as a number.
    """

    place: str = "open"
    count: int = 0
    low: int = 0
    digits: str = ""


END = State("end")


class FlagCodec:
    """Flags of a block.

    Args:
        tokenizer: has ``0`` and ``1`` as one token each.
        units: flags of an answer.

    Raises:
        DetectorError: a tokenizer that cuts them into pieces.
    """

    def __init__(self, tokenizer: Any, units: int) -> None:
        self.units, self.stop = units, int(tokenizer.eos_token_id)
        off, on = (tokenizer.encode(text, add_special_tokens=False) for text in "01")
        if len(off) != 1 or len(on) != 1:
            raise DetectorError(
                "The checkpoint's tokenizer has no tokens 0 and 1 of their own", "Use a prompt with answer: intervals."
            )
        self.off, self.on = int(off[0]), int(on[0])

    @property
    def longest(self) -> int:
        """Tokens of an answer, its end included."""
        return self.units + 1

    def encode(self, flags: Sequence[bool], judged: Sequence[bool] | None = None) -> list[int]:
        """Tokens of the answer; those of units that nobody judged are written as 0 and marked as not taught."""
        tokens = [self.on if flag else self.off for flag in flags]
        if judged is not None:
            tokens = [t if known else -1 - self.off for t, known in zip(tokens, judged, strict=True)]
        return [*tokens, self.stop]

    @staticmethod
    def text(flags: Sequence[bool]) -> str:
        """The answer in plain text."""
        return "".join("01"[flag] for flag in flags)


@dataclass
class IntervalCodec:
    """Intervals of a block.

    Args:
        tokenizer: of the checkpoint; ``None`` where answers are only to be written as text.
        length: positions of the block.
        most: intervals of an answer at most.
        kinds: that may be named; none = intervals have no kind.
        reasons: whether each has a reason.
        reason_tokens: its length at most.
    """

    tokenizer: Any
    length: int
    most: int = 8
    kinds: tuple[str, ...] = ()
    reasons: bool = False
    reason_tokens: int = 40
    _pieces: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    @property
    def stop(self) -> int:
        """The token that ends a turn."""
        return int(self.tokenizer.eos_token_id)

    def piece(self, text: str) -> tuple[int, ...]:
        """Tokens of a piece."""
        if text not in self._pieces:
            self._pieces[text] = tuple(self.tokenizer.encode(text, add_special_tokens=False))
        return self._pieces[text]

    def encode(self, marks: Sequence[Mark]) -> list[int]:
        """Tokens of the answer with the one that ends it; the first ``most`` in order of time."""
        return [token for text in self._texts(marks) for token in self._tokens(text)] + [self.stop]

    def text(self, marks: Sequence[Mark]) -> str:
        """The same answer in plain text; reasons are whole, whatever their tokens."""
        return "".join(text.removeprefix(FREE) for text in self._texts(marks))

    def _tokens(self, text: str) -> tuple[int, ...]:
        if text.startswith(FREE):
            return tuple(self.tokenizer.encode(text[1:], add_special_tokens=False)[: self.reason_tokens])
        return self.piece(text)

    def _texts(self, marks: Sequence[Mark]) -> Iterator[str]:
        chosen = sorted(marks, key=lambda m: m.start)[: self.most]
        if not chosen:
            yield NONE
            return
        yield OPEN
        for number, mark in enumerate(chosen):
            yield from (*str(mark.start), ",", *str(mark.end))
            if self.kinds:
                yield from (',"', mark.kind)
            if self.reasons:
                yield '","' if self.kinds else ',"'
                yield FREE + plain_text(mark.note)
            close = CLOSE if number + 1 == len(chosen) else NEXT
            yield f'"{close}' if self.kinds or self.reasons else close

    @property
    def longest(self) -> int:
        """Tokens of the longest answer: a smaller ``max_new_tokens`` cuts answers off."""
        digits = len(str(self.length - 1))
        words = 0
        if self.kinds:
            words += len(self.piece(',"')) + max(len(self.piece(kind)) for kind in self.kinds)
        if self.reasons:
            words += len(self.piece('","')) + self.reason_tokens
        quoted = '"' if words else ""
        between = max(len(self.piece(quoted + NEXT)), len(self.piece(quoted + CLOSE)))
        one = 2 * digits + len(self.piece(",")) + words + between
        return len(self.piece(OPEN)) + self.most * one + 1

    def choices(self, state: State) -> list[tuple[str, State]]:
        """Text and next state of every piece that may come next."""
        if state.place == "open":
            return [(NONE, END), (OPEN, State("start"))]
        if state.place in ("start", "stop"):
            return self._number(state)
        if state.place == "kind":
            return self._after_kind(state)
        if state.place == "reason":
            used = int(state.digits)
            more = [(FREE, State("reason", state.count, state.low, str(used + 1)))] if used < self.reason_tokens else []
            return [*more, *self._next(state.count, state.low, '"')] if used else more
        return []

    def _number(self, state: State) -> list[tuple[str, State]]:
        whole, following = reachable(state.digits, state.low, self.length - 1)
        out = [(d, State(state.place, state.count, state.low, state.digits + d)) for d in following]
        if whole and state.place == "start":
            out.append((",", State("stop", state.count, int(state.digits))))
        elif whole:
            done, low = state.count + 1, int(state.digits) + 1
            if self.kinds or self.reasons:
                place = "kind" if self.kinds else "reason"
                out.append((',"', State(place, done, low, "" if self.kinds else "0")))
            else:
                out += self._next(done, low)
        return out

    def _after_kind(self, state: State) -> list[tuple[str, State]]:
        if not state.digits:  # which kind; "1" = it is named
            return [(kind, State("kind", state.count, state.low, "1")) for kind in self.kinds]
        if self.reasons:
            return [('","', State("reason", state.count, state.low, "0"))]
        return self._next(state.count, state.low, '"')

    def _next(self, count: int, low: int, quoted: str = "") -> list[tuple[str, State]]:
        more = count < self.most and low < self.length
        return [(quoted + CLOSE, END), *([(quoted + NEXT, State("start", count, low))] if more else [])]


def interval_confidence(opened: float, digits: Sequence[float]) -> float:
    """Confidence of an interval: that there is one, times the geometric mean of the probabilities of its digits."""
    written = math.exp(sum(math.log(max(d, 1e-9)) for d in digits) / len(digits)) if digits else 1.0
    return min(1.0, max(0.0, opened * written))


def plain_text(note: str) -> str:
    """A reason as it may stand inside quotes: no quotes, backslashes or line breaks; a dash where there is none."""
    return " ".join(note.replace('"', "'").replace("\\", "/").split()) or "-"


@lru_cache(maxsize=1 << 16)
def reachable(prefix: str, low: int, high: int) -> tuple[bool, tuple[str, ...]]:
    """Whether the digits are a whole number in ``low..high``, and the digits that can follow on the way to one."""
    whole = prefix != "" and low <= int(prefix) <= high
    if prefix == "0":
        return whole, ()
    following = []
    for digit in "0123456789":
        first = int(prefix + digit)
        for more in range(len(str(high)) - len(prefix)):
            if first * 10**more <= high and (first + 1) * 10**more - 1 >= low:
                if first or more == 0:
                    following.append(digit)
                break
    return whole, tuple(following)
