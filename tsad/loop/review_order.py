"""What ``tsad review`` and the service's queue are asked: which windows, and what is to be done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from tsad.config.composing import yaml_text
from tsad.config.validation import validated
from tsad.config.workbench import Workbench
from tsad.core.option_model import Options, Refusal
from tsad.core.reviews import ReviewState
from tsad.core.types import EmbeddingName
from tsad.loop.review_batch import BatchOrder, carry_out
from tsad.loop.review_cluster import Likeness, answer_given, cluster_of
from tsad.loop.reviewing import ReviewStanding, standing_of
from tsad.loop.reviews import Reviews, reviews_of
from tsad.review.batch import WindowFilter

WindowId = Annotated[str, Field(pattern=r"^[0-9a-f]{4,16}$")]


class ReviewWords(Options):
    """Which windows, and what is to be done with them; ``conf/task/review.yaml`` explains each."""

    action: Literal["show", "accept", "reject", "same", "return"]
    above: float | None = Field(ge=0, le=1)
    below: float | None = Field(ge=0, le=1)
    audit: float = Field(ge=0, le=1)
    like: str | None
    within: float = Field(ge=0, le=2)
    embedding: EmbeddingName
    batch: Annotated[str, Field(pattern=r"^[0-9a-f]{4,32}$")] | None
    window: list[WindowId] | WindowId | None
    state: Literal["pending", "accepted", "corrected", "annotated", "skipped", "conflict"] | None
    score_above: float | None
    score_below: float | None
    version: str | None
    point: str | None
    kind: str | None

    @model_validator(mode="after")
    def _bounded(self) -> ReviewWords:
        needed = {"accept": "above", "reject": "below"}.get(self.action, "")
        for key in ("above", "below"):
            given = getattr(self, key) is not None
            if given != (key == needed) and (given or not self.like):
                verb, example = ("needs", f"e.g. {key}=0.9") if key == needed else ("does not take", "Leave it out")
                raise Refusal(f"{{action}}={self.action} {verb} {{{key}}}", f"{example}; see tsad review --help.")
        answers = bool(needed) or self.action == "same"
        if self.audit and not answers:
            raise Refusal(
                "{audit}={0} with {action}={1}", "It goes with accept, reject and same.", self.audit, self.action
            )
        if self.like and self.window:
            raise Refusal("{window} and {like} both say which windows", "Leave one of them out.")
        if self.action == "same" and not self.like:
            raise Refusal("{action}=same needs {like}", "Name the window whose answer is given to those like it.")
        if answers and self.like and not self.audit:
            raise Refusal(
                "{action}={0} of all that look like {like} without an audit",
                "Keep a share of them for people, e.g. audit=0.2: the error rate is not known otherwise.", self.action,
            )  # fmt: skip
        if self.action == "return" and self.filter.plain and not self.like:
            raise Refusal(
                "{action}=return of all windows",
                "Say which: {batch}=RUN of the action that answered them, {window}=ID, or {state}, {point}, ...",
            )
        return self

    @property
    def filter(self) -> WindowFilter:
        """Which windows are meant, apart from who proposed them and what they look like."""
        names = (self.window,) if isinstance(self.window, str) else tuple(self.window or ()) or None
        return WindowFilter(
            ReviewState(self.state.upper()) if self.state else None, self.score_above, self.score_below, None,
            self.version, self.point, self.kind, names, self.batch,
        )  # fmt: skip


def review_words(values: Mapping[str, Any]) -> ReviewWords:
    """These keys, and of the others what ``tsad review`` has by default.

    Raises:
        ConfigError: unknown keys, wrong values, combinations that make no sense.
    """
    defaults = {key: value for key, value in yaml.safe_load(yaml_text("task/review") or "").items() if key != "page"}
    return validated(ReviewWords, {**defaults, **values}, owner="review")


def reviewed_as(bench: Workbench, words: ReviewWords, detector: str | None = None) -> tuple[Reviews, ReviewStanding]:
    """How the loop's reviews stand, after the action where one is asked for.

    Args:
        detector: only windows that any version of it proposed.

    Raises:
        LoopError: no iteration has a queue, or (with an action) the queue has become a dataset version.
        ReviewError: Label Studio unreachable, token refused, project gone; a reviewer that takes no batch actions.
    """
    reviews, done, like = reviews_of(bench), None, ""
    meant = replace(words.filter, detector=detector)
    if words.like:
        cluster = cluster_of(reviews, Likeness(words.like, words.within, words.embedding))
        like, meant = cluster.of, replace(meant, window=cluster.windows)
        if cluster.mixed:
            bench.context.progress.note(
                f"{len(cluster.mixed)} windows show something else beside what looks like it: not among them"
            )
    if words.action != "show":
        action = answer_given(reviews, like) if words.action == "same" else words.action
        bound = words.above if action == "accept" else words.below
        done = carry_out(reviews, BatchOrder(action, meant, bound, words.audit, like))
        reviews = reviews_of(bench)
    return reviews, standing_of(reviews, WindowFilter() if done else meant, done)
