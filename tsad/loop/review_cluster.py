"""Windows of a queue that look like one of them, so that one answer does for all; see ``tsad review like=ID``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tsad.core.errors import LoopError
from tsad.core.reviews import Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.times import parse_moment
from tsad.core.types import EmbeddingName
from tsad.embeddings.stretches import Usual
from tsad.loop.alike import Spot, distances, spot_in
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
    """Windows that look like one: their ids and that one's, in full.

    Attributes:
        mixed: ids of windows that show something like it and something else beside it. An answer is about all of a
            window, so they are not among ``windows``.
    """

    of: str
    windows: tuple[str, ...]
    mixed: tuple[str, ...] = ()


def cluster_of(reviews: Reviews, likeness: Likeness) -> Cluster:
    """The windows of the newest queue that look like the one that is named, itself among them where it is queued.

    Where the champion proposes something in it, proposals are compared, each in its surroundings: a window looks like
    it where all that is proposed in it does. Else whole windows are, with those that propose nothing. Blind windows are
    not among them.

    Raises:
        LoopError: no such window was ever queued.
        EmbeddingError: the detector has no base model to embed with.
    """
    references = _references(reviews, likeness.like)
    window, proposes = references[0].window, references[0].interval is not None
    open_ones = [r.choice for r in reviews.current if r.choice.purpose is Purpose.TRAIN]
    members = [spot for choice in open_ones for spot in _shown(choice) if (spot.interval is not None) == proposes]
    if not members:
        return Cluster(window.window_id, ())
    overviews = {r.choice.overview.point_id: r.choice.overview for r in reviews.reviewed if r.choice.overview}
    known = {point: Usual.seen_in(overview) for point, overview in overviews.items()}
    away, _ = distances(embedding_of(reviews.own, likeness.embedding), references, members, known)
    near: dict[str, list[bool]] = {}
    for spot, distance in zip(members, away.tolist(), strict=True):
        near.setdefault(spot.window.window_id, []).append(distance <= likeness.within)
    mixed = [name for name, alike in near.items() if any(alike) and not all(alike) and name != window.window_id]
    own = [name for name, alike in near.items() if all(alike) or name == window.window_id]
    return Cluster(window.window_id, tuple(own), tuple(mixed))


def _shown(choice: Choice) -> list[Spot]:
    """Everything that is proposed in a window; the whole window where nothing is."""
    spots = [spot_in(choice.window, interval) for interval in choice.proposal or ()]
    return [spot for spot in spots if spot is not None] or [Spot(choice.window, choice.window)]


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


def _references(reviews: Reviews, like: str) -> list[Spot]:
    """What others are compared with: the proposal at the instant that is named, else all that is proposed there."""
    one = _named(reviews, like)
    at = _moment(like, one)
    inside = [p for p in one.choice.proposal or () if at is not None and p.start <= at < p.end]
    named = spot_in(one.window, inside[0]) if inside else None
    return _shown(one.choice) if named is None else [named]


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
