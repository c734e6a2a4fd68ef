"""Windows of a queue that look like one of them, so that one answer does for all; see ``tsad review like=ID``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tsad.core.errors import LoopError
from tsad.core.reviews import Purpose, ReviewedWindow, ReviewState
from tsad.core.times import parse_moment
from tsad.core.types import EmbeddingName
from tsad.loop.alike import Spot, distances, spot_in, surest
from tsad.loop.embedding import embedding_of
from tsad.loop.reviews import Reviews
from tsad.loop.units import WINDOW_ID


@dataclass(frozen=True)
class Likeness:
    """Which windows count as one cluster.

    Attributes:
        like: id of a window that was ever queued (its first 4 digits will do), or ``POINT@TIME`` inside one.
        within: distance up to which another window looks like it, 0..2.
    """

    like: str
    within: float
    embedding: EmbeddingName = "shape"


@dataclass(frozen=True)
class Cluster:
    """Windows that look like one: their ids and that one's, in full."""

    of: str
    windows: tuple[str, ...]


def cluster_of(reviews: Reviews, likeness: Likeness) -> Cluster:
    """The windows of the newest queue that look like the one that is named, itself among them where it is queued.

    Where the champion proposes something in it, the surest proposals are compared, each in its surroundings, with
    windows that propose something too; else whole windows with those that propose nothing. Blind windows are not among
    them.

    Raises:
        LoopError: no such window was ever queued.
        EmbeddingError: the detector has no base model to embed with.
    """
    reference = _spot(reviews, likeness.like)
    members = [
        spot for r in reviews.current if r.choice.purpose is Purpose.TRAIN
        if (spot := surest(r.choice)) and (spot.interval is None) == (reference.interval is None)
    ]  # fmt: skip
    if not members:
        return Cluster(reference.window.window_id, ())
    away, _ = distances(embedding_of(reviews.own, likeness.embedding), [reference], members)
    near = tuple(s.window.window_id for s, d in zip(members, away.tolist(), strict=True) if d <= likeness.within)
    return Cluster(reference.window.window_id, near)


def answer_given(reviews: Reviews, like: str) -> Literal["accept", "reject"]:
    """What people said of the window that is named, as an action for those that look like it.

    Raises:
        LoopError: nobody has answered it (a batch action is nobody), people disagree, or they drew something else than
            was proposed.
    """
    one = _named(reviews, like)
    if one.annotations and all(a.batch for a in one.annotations):
        raise LoopError(
            f"window {one.window.window_id} was answered by a batch action itself",
            "Name a window that a person has answered.",
        )
    if one.usable and not one.intervals:
        return "reject"
    if one.state is ReviewState.ACCEPTED:
        return "accept"
    raise LoopError(
        f"the answer to window {one.window.window_id} cannot be given to others: it is {one.state.lower()}",
        "Only what was accepted or called normal can; else say it: action=accept or action=reject.",
    )


def _spot(reviews: Reviews, like: str) -> Spot:
    one = _named(reviews, like)
    at = _moment(like, one)
    inside = [p for p in one.choice.proposal or () if at is not None and p.start <= at < p.end]
    return (spot_in(one.window, inside[0]) if inside else None) or surest(one.choice)


def _named(reviews: Reviews, like: str) -> ReviewedWindow:
    named: Sequence[ReviewedWindow]
    if WINDOW_ID.fullmatch(like):
        named = [r for r in reviews.reviewed if r.window.window_id.startswith(like)]
        if len(named) > 1:
            ids = ", ".join(r.window.window_id for r in named[:3])
            raise LoopError(f"the ids of {len(named)} windows begin with {like} ({ids}, ...)", "Give more digits.")
    else:
        named = [r for r in reviews.reviewed if (at := _moment(like, r)) is not None and _holds(r, at)]
    if not named:
        raise LoopError(
            f"no window that was ever queued is called {like}",
            "Give a window's id (tsad review or tsad similar lists them), or POINT@TIME inside one.",
        )
    return named[-1]


def _moment(like: str, reviewed: ReviewedWindow) -> int | None:
    """The instant that ``POINT@TIME`` names, where it names the window's point."""
    point, at, moment = like.rpartition("@")
    if not at or point != reviewed.window.point_id:
        return None
    return parse_moment(moment, "like", reviewed.window.series.time_kind)


def _holds(reviewed: ReviewedWindow, at: int) -> bool:
    start, end = reviewed.window.span
    return start <= at < end
