"""How sure a server was of each interval: from the probabilities of the tokens that write it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tsad.detectors.llm.codec import Mark, interval_confidence

_PAIR = re.compile(rb"\[\s*(-?\d+)\s*,\s*(-?\d+)")


def confidences(text: str, tokens: Sequence[Mapping[str, Any]], marks: Sequence[Mark]) -> list[float]:
    """The confidence of each mark of an answer: that there is one, times the geometric mean of its digits' tokens.

    The probabilities are those the server gives, before a schema has ruled tokens out. A mark whose numbers are not
    found as they stand (the parser has mended them) is as sure as the whole answer: the geometric mean of its tokens.

    Args:
        tokens: ``token``, ``logprob`` and, where a sign is split between tokens, ``bytes``, in order; more than the
            answer may be among them (a code fence that the server takes off).
    """
    pieces = [_bytes(token) for token in tokens]
    chances = np.exp([min(0.0, float(token["logprob"])) for token in tokens])
    answer = text.encode()
    first = b"".join(pieces).find(answer)
    ends = np.cumsum([len(piece) for piece in pieces])
    whole = interval_confidence(1.0, chances.tolist())
    if first < 0:
        return [whole] * len(marks)
    known: dict[tuple[int, int], float] = {}
    for match in _PAIR.finditer(answer):
        opened = chances[_at(ends, first + match.start())]
        digits = [chances[k] for n in (1, 2) for k in _span(ends, first + match.start(n), first + match.end(n))]
        known.setdefault((int(match[1]), int(match[2])), interval_confidence(float(opened), [float(c) for c in digits]))
    return [known.get((mark.start, mark.end), whole) for mark in marks]


def _bytes(token: Mapping[str, Any]) -> bytes:
    given = token.get("bytes")
    return bytes(given) if isinstance(given, list) else str(token.get("token", "")).encode()


def _at(ends: Any, position: int) -> int:
    """Which token holds a byte."""
    return int(np.searchsorted(ends, position, side="right"))


def _span(ends: Any, start: int, stop: int) -> range:
    return range(_at(ends, start), _at(ends, stop - 1) + 1)
