"""``prompt``: what a language model is asked, and in which form it answers."""

from __future__ import annotations

import string
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tsad.core.option_model import Options, Refusal

SERIES = "series"
PLACES = (SERIES, "points", "last", "units", "kinds", "channels", "most")


class PromptOptions(Options):
    """``prompt``: what a language model is asked, and in which form it answers.

    Attributes:
        answer: ``flags`` = one token 0 or 1 per unit of the window, whose probability is the score; ``intervals`` =
            ``[[start,end],...]``.
        language: of the reasons that it gives.
        system: what the model is told it is; "" = nothing.
        text: the question; ``{series}`` stands for the window, ``{points}`` for its length, ``{last}`` for its last
            position, ``{units}`` for the number of flags; ``{kinds}``, ``{channels}``, ``{most}`` for what they name.
        kinds: that intervals may be given; none = intervals alone.
        reasons: whether each interval comes with a short reason, which becomes its note.
        most: intervals of an answer at most.
    """

    answer: Literal["flags", "intervals"]
    language: Literal["en", "zh"]
    system: str
    text: str
    kinds: list[str]
    reasons: bool
    most: int = Field(ge=1, le=64)

    @field_validator("text")
    @classmethod
    def _places(cls, text: str) -> str:
        try:
            named = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
        except ValueError as error:
            raise Refusal("{key} has a brace that is none of its places ({0})", "Write {0} twice.", error) from error
        unknown = [name for name in named if name not in PLACES]
        if unknown:
            raise Refusal("{key} names {0}", "It may name {1}.", unknown[0] or "an empty place", ", ".join(PLACES))
        if named.count(SERIES) != 1:
            found = "has the place of the window, {0}series{1}, {2} times"
            raise Refusal(f"{{key}} {found}", "Write it once.", "{", "}", named.count(SERIES))
        return text

    @field_validator("kinds")
    @classmethod
    def _kinds(cls, kinds: list[str]) -> list[str]:
        bad = [kind for kind in kinds if not kind.strip() or '"' in kind or "\\" in kind or "\n" in kind]
        if bad or len(set(kinds)) < len(kinds):
            raise Refusal("{key} holds {0}", "Kinds are different words without quotes.", bad[:1] or "one kind twice")
        return kinds

    @model_validator(mode="after")
    def _flags_alone(self) -> PromptOptions:
        if self.answer == "flags" and (self.kinds or self.reasons):
            raise Refusal("{answer}=flags with kinds or reasons", "Flags have neither: set {answer}=intervals.")
        return self
