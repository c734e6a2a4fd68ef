"""``review=label_studio``: where the server is, and what people see."""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from tsad.agreement.modes import ConsensusMode
from tsad.core.option_model import Refusal
from tsad.core.options import ReviewOptions
from tsad.review.label_studio.language import Language


class LabelStudioOptions(ReviewOptions):
    """What :class:`~tsad.review.label_studio.reviewer.LabelStudioReviewer` takes."""

    url: str  # "" = the embedded one
    token_env: str  # name of the environment variable that holds the token
    project: str  # "" = tsad-<loop>
    template: str  # file in label_studio/
    utc_offset: str  # fixed offset people see, e.g. +08:00
    chunk: int = Field(ge=1)  # tasks per import call
    max_channels: int = Field(ge=1)  # channels drawn per task
    context: float = Field(ge=0)  # what is drawn before and after a window, in window lengths
    max_points: int = Field(ge=100)  # points drawn per task; of more, M4 keeps what a plot shows
    kinds: str  # file in label_studio/, or a path: kinds to choose from; "" = those that detectors propose
    language: Language  # of everything people read
    overlap: float = Field(ge=0, le=1)  # share of windows that wait for the answers of two people
    consensus: ConsensusMode  # what counts of answers that agree
    expert: str  # id of the annotator who settles conflicts; "" = nobody
    patience: float = Field(ge=0)  # seconds to wait for a server that goes away in mid-push or mid-pull
    verdict: bool  # ask for a verdict and a reason beside the intervals
    pictures: bool  # a picture of the whole series in each task, a thumbnail in the list
    instruction: str  # file in label_studio/, "{language}" = en or zh; "" = none
    submit_key: str  # that submits and opens the next window; "" = Label Studio's own

    @field_validator("utc_offset")
    @classmethod
    def _fixed(cls, text: str) -> str:
        offset = re.fullmatch(r"[+-](\d\d):([0-5]\d)", text)
        if offset is None or int(offset[1]) * 60 + int(offset[2]) > 14 * 60:
            raise Refusal(
                "{key} is {0}",
                "People see one fixed offset, never a zone with daylight saving, e.g. +08:00 or +00:00.",
                repr(text),
            )
        return text

    @model_validator(mode="after")
    def _an_expert(self) -> LabelStudioOptions:
        if self.consensus == "expert" and not self.expert:
            raise Refusal(
                "{consensus} is expert and {expert} is not set",
                "Name her by her id in Label Studio, e.g. {expert}=3; tsad review shows who has answered.",
            )
        return self

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise Refusal(
                "{key} is {0}", 'It starts with http:// or https://, or is "" for the embedded Label Studio.', repr(url)
            )
        return url
