"""Reviewed windows as rows in plain text: what our own training rows say, before any tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsad.detectors.llm.blocks import Piece, pieces
from tsad.detectors.llm.prompts import answer_edges, interval_codec, kinds_of, question
from tsad.detectors.llm.reader import Reader
from tsad.detectors.llm.rows import answer_text, marks_of

if TYPE_CHECKING:
    from tsad.core.reviews import ReviewedWindow
    from tsad.detectors.llm.detector import LanguageOptions


@dataclass(frozen=True, eq=False)
class PlainRow:
    """One block of a reviewed window with its question and answer.

    Attributes:
        question: with the reader's marks where the block belongs; without the system message.
    """

    piece: Piece
    question: str
    answer: str


def plain_rows(options: LanguageOptions, reader: Reader, reviewed: ReviewedWindow) -> Iterator[PlainRow]:
    """One row per block of the window, in order; none where nothing varies in it, as in our own training.

    Args:
        reader: made by ``LanguageDetector.plain_reader``.
    """
    prompt, window = options.prompt, reviewed.window
    for piece in pieces(window.series, options.cutting, window.start, window.stop):
        marks, points = marks_of(piece, window.series, reviewed.intervals, kinds_of(prompt)), len(piece.block)
        codec = None if prompt.answer == "flags" else interval_codec(prompt, reader, points)
        answer = answer_text(codec, answer_edges(prompt, reader, points), marks)
        yield PlainRow(piece, question(prompt, reader, piece.block), answer)
