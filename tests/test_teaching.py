"""A queue that teaches: what people see first, what they never see twice, where it ends, and what is missing then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.control import Silent
from tsad.core.errors import LoopError
from tsad.core.options.threshold import kept_threshold
from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Detection, Interval, Origin, Proposal
from tsad.core.windows import cut
from tsad.loop.detect import DETECT
from tsad.loop.drawing import draw_queue
from tsad.loop.iteration import EXHAUSTED, LoopState, iterate
from tsad.loop.opening import open_loop
from tsad.loop.pool import ScoredSeries
from tsad.loop.progress import missing, progress_of
from tsad.loop.pull import DATASET
from tsad.loop.results import Detected
from tsad.loop.runner import finished
from tsad.review.agreement import resolve
from tsad.review.base import Reviewer
from tsad.review.label_studio.reviewer import LabelStudioReviewer
from tsad.review.order import in_order
from tsad.review.sampling import DISPUTED
from tsad.tracking.runs import LoopStore

Make = Callable[..., Workbench]
MINUTE = 60_000_000_000
ORIGIN = Origin("d", "d:1")
SMALL = (
    "source=csv", "review=label_studio", "detector=robust_zscore", "adapter=none", "windows.length=100",
    "sampling.windows=8", "tracking.plots=0", "gold.resamples=100", "gold.min_intervals=1", "loop.name=bare",
)  # fmt: skip


# --- the draw, alone ----------------------------------------------------------------------------------------------


def flat(name: str, points: int = 800) -> Series:
    return Series(name, np.arange(points, dtype=np.int64) * MINUTE, np.zeros((points, 1)))


def with_candidates(series: Sequence[Series], probability: float, threshold: float) -> ScoredSeries:
    """A candidate in each window, of falling probability, none proposed below the threshold."""
    detections = []
    for s in series:
        found = tuple(
            Interval(s.timestamps[w.start + 5], s.timestamps[w.start + 9], score=probability / (1 + k))
            for k, w in enumerate(cut(s, 100))
        )
        proposed = tuple(c for c in found if c.score >= threshold)
        detections.append(Detection(s.point_id, None, proposed, ORIGIN, threshold, found))
    return ScoredSeries(series, detections, kept_threshold({"default": 0.0}))


@pytest.fixture
def drawing(bench: Make) -> Workbench:
    return bench(*SMALL, "source.root=nowhere")


def windows_of(series: Sequence[Series]) -> list[Window]:
    return [w for s in series for w in cut(s, 100)]


def test_the_split_of_a_first_queue(drawing: Workbench) -> None:
    series = [flat(f"S{k}") for k in range(4)]
    queue = draw_queue(drawing, 1, windows_of(series), with_candidates(series, 0.9, 0.5), blind=True)
    gold = [c for c in queue.choices if c.purpose is Purpose.GOLD]
    assert (len(gold), queue.count(Purpose.TRAIN), queue.left) == (8, 8, 16)  # a quarter of 32, 8 drawn
    assert all(c.proposal is None for c in gold)
    assert queue.choices[0].proposal and queue.choices[0].purpose is Purpose.TRAIN
    assert 0 < queue.proposed <= 8
    names = [c.window.window_id for c in queue.choices]
    assert len(set(names)) == len(names)
    assert {c.iteration for c in queue.choices} == {1}
    for choice in queue.choices:  # gold ones too: the picture of the whole series tells nothing of a proposal
        assert choice.overview is not None and choice.overview.points == len(choice.window.series)
        assert choice.overview.point_id == choice.window.point_id


def test_where_nothing_reaches_the_threshold_the_likeliest_candidates_are_proposed(drawing: Workbench) -> None:
    series = [flat(f"S{k}") for k in range(4)]
    scored = with_candidates(series, 0.3, 0.5)
    assert not any(d.intervals for d in scored.detections)
    queue = draw_queue(drawing, 1, windows_of(series), scored, blind=True)
    shown = [c for c in queue.choices if c.proposal]
    hidden = [c for c in queue.choices if c.purpose is Purpose.TRAIN and not c.proposal]
    assert 2 <= len(shown) < 8, "the best quarter of the windows, and no more than share its probability"
    assert min(c.score for c in shown) > max(c.score for c in hidden)
    assert queue.choices[0] is shown[0]
    assert all(i.score < 0.5 and c.origin == ORIGIN for c in shown for i in c.proposal or ())


def test_of_scores_alone_the_highest_points_are_proposed_and_of_nothing_nothing(drawing: Workbench) -> None:
    series = flat("S")
    scores = np.zeros(800)
    scores[310] = 0.2
    point = Detection("S", scores, (), ORIGIN, 0.9)
    runs = kept_threshold({"default": 0.9, "merge_gap": 0, "min_length": 5, "max_length": 0})
    queue = draw_queue(drawing, 1, cut(series, 100), ScoredSeries([series], [point], runs), blind=False)
    (shown,) = [c for c in queue.choices if c.proposal]
    assert shown.proposal == (Interval(310 * MINUTE, 311 * MINUTE, score=0.2),)
    silent = ScoredSeries([series], [replace(point, scores=np.zeros(800))], runs)
    assert draw_queue(drawing, 1, cut(series, 100), silent, blind=False).proposed == 0


def test_one_window_is_too_few_to_teach_and_to_score(drawing: Workbench) -> None:
    series = flat("S", 100)
    with pytest.raises(LoopError, match=r"1 window to review.*windows\.length"):
        draw_queue(drawing, 1, cut(series, 100), with_candidates([series], 0.9, 0.5), blind=True)


def choice(start: int, score: float, *proposed: Interval, purpose: Purpose = Purpose.TRAIN, by: str = "x") -> Choice:
    window = Window(flat("S", 4000), start, start + 100)
    proposals = () if purpose is Purpose.GOLD else (Proposal(proposed, ORIGIN),)
    return Choice(window, 0.5, by, purpose, proposals, score)


def test_the_first_window_shows_a_proposal_and_gold_is_strewn_in() -> None:
    interval = Interval(0, MINUTE)
    training = [choice(100 * k, k / 20, *([interval] if k == 3 else [])) for k in range(20)]
    gold = [choice(2000 + 100 * k, 1.0, purpose=Purpose.GOLD) for k in range(10)]
    doubtful = choice(3100, 0.1, by=DISPUTED)
    placed = in_order([*gold, *training, doubtful])
    assert len(placed) == 31 and placed[0] is training[3]
    rest = [c for c in placed[1:] if c.purpose is Purpose.TRAIN]
    assert rest[0] is doubtful and [c.score for c in rest[1:]] == sorted((c.score for c in rest[1:]), reverse=True)
    positions = [k for k, c in enumerate(placed) if c.purpose is Purpose.GOLD]
    assert positions[-1] - positions[0] > 15, "not all in one place"
    assert in_order(placed[::-1])[0] is training[3]
    assert in_order(gold)[0].purpose is Purpose.GOLD, "nothing to learn from, nothing to put first"


def reviewed(purpose: Purpose, *states: ReviewState) -> list[ReviewedWindow]:
    return [ReviewedWindow(choice(100 * k, 0.5, purpose=purpose), (), s) for k, s in enumerate(states)]


def test_a_skipped_window_is_neither_waited_for_nor_counted_and_one_in_conflict_is_waited_for() -> None:
    p, a, s, c = (ReviewState[n] for n in ("PENDING", "ACCEPTED", "SKIPPED", "CONFLICT"))
    queue = reviewed(Purpose.TRAIN, p, a, s, s, c)
    assert missing(queue, 0) == 2, "the pending one, and the one that people disagree about"
    assert missing(queue, 1) == 0
    assert missing(queue, 2) == 1, "neither a skipped nor a disputed window is among the two"
    assert missing(reviewed(Purpose.TRAIN, a, s), 2) == 0, "nothing is left to wait for"
    gold = reviewed(Purpose.GOLD, ReviewState.ANNOTATED, s)
    assert missing([*queue, *gold], 1) == 0
    assert missing([*queue, *reviewed(Purpose.GOLD, s, s)], 1) == 1, "somebody has to score"
    assert missing(reviewed(Purpose.GOLD, c, ReviewState.ANNOTATED), 1) == 1, "gold in conflict is never left over"
    half = replace(queue[0], annotations=(Annotation("ann", ()),))
    waits = progress_of([half, *queue[1:]])
    assert (waits.half, waits.conflicts, waits.waiting) == (1, 1, 2)
    assert str(waits).endswith("1 conflict; 1 of those pending wait for a second answer")
    told = str(progress_of([*queue, *gold]))
    assert told == (
        "5 windows with proposals: 1 pending, 1 accepted, 2 skipped, 1 conflict; 2 blind ones: 1 annotated, 1 skipped"
    )


# --- the loop ------------------------------------------------------------------------------------------------------


class People(Reviewer):
    """People who answer what is abnormal (above 10) when they are told to; no window may reach them twice."""

    people = True

    def __init__(self) -> None:
        self.pushed: list[Choice] = []
        self.answers: dict[str, Annotation] = {}

    def push(self, choices: Sequence[Choice]) -> int:
        known = {c.window.window_id for c in self.pushed}
        fresh = [c for c in choices if c.window.window_id not in known]
        for c in fresh:
            assert not any(c.window.point_id == o.window.point_id and overlap(c, o) for o in self.pushed), "seen before"
        self.pushed += fresh
        return len(fresh)

    def pull(self, choices: Sequence[Choice]) -> list[ReviewedWindow]:
        return [resolve(c, [a] if (a := self.answers.get(c.window.window_id)) else []) for c in choices]

    @property
    def project_url(self) -> str:
        return "http://127.0.0.1/projects/1/data"

    def answer(self, skip: Callable[[Choice], bool] = lambda _: False) -> None:
        """Answer all that waits."""
        for c in self.pushed:
            stamps = c.window.timestamps[c.window.values[:, 0] > 10]
            truth = (Interval(int(stamps[0]), int(stamps[-1]) + MINUTE),) if len(stamps) else ()
            refused = skip(c)
            answer = Annotation("ann", () if refused else truth, skipped=refused)
            self.answers.setdefault(c.window.window_id, answer)


def overlap(one: Choice, other: Choice) -> bool:
    return one.window.span[0] < other.window.span[1] and other.window.span[0] < one.window.span[1]


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> People:
    crowd = People()
    monkeypatch.setattr(LabelStudioReviewer, "of_loop", lambda *_, **__: crowd)
    return crowd


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda _, text: told.append(text))
    return told


def csv(folder: Path, name: str, seed: int, points: int = 500) -> None:
    """Minutes of noise with two bumps."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=points)
    for at in rng.integers(20, points - 20, 2):
        values[at : at + 8] += 15
    stamps = np.datetime_as_string((1_767_225_600 + 60 * np.arange(points)).astype("datetime64[s]"), unit="s")
    rows = "\n".join(f"{t},{v:.4f}" for t, v in zip(stamps, values, strict=True))
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text(f"timestamp,value\n{rows}\n", encoding="utf-8")


@pytest.fixture
def bare(bench: Make, stocked: None, tmp_path: Path) -> Make:
    """A loop over six short unlabelled series of five windows each."""
    for number in range(6):
        csv(tmp_path / "series", f"P{number}", number)
    return lambda *overrides: bench(*SMALL, f"source.root={tmp_path / 'series'}", *overrides)


def until_the_end(one: Workbench, crowd: People, skip: Callable[[Choice], bool] = lambda _: False) -> LoopState:
    state = iterate(one)
    for _ in range(10):
        if state.waiting is None:
            return state
        crowd.answer(skip)
        state = iterate(one)
    raise AssertionError("it never ends")


def test_people_who_answer_everything_reach_an_end_that_says_why(
    bare: Make, people: People, notes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = bare()
    first = iterate(one)
    assert first.waiting is not None and not first.exhausted
    assert people.pushed[0].proposal, "the first window that a person opens shows a proposal"
    gold = [c for c in people.pushed if c.purpose is Purpose.GOLD]
    assert (len(gold), len(people.pushed)) == (7, 15)  # of 30 windows a quarter, and 8
    assert any("8 windows with proposals" in n and "7 blind ones that score the model" in n for n in notes)
    people.answer(lambda c: c in (gold[0], people.pushed[0]))
    call("status", one)
    shown = capsys.readouterr().out
    assert "1 skipped; 7 blind ones: 6 annotated, 1 skipped" in shown and "8 windows with proposals" in shown

    state = until_the_end(one, people)
    assert state.exhausted and not state.people_have_to_act and len(state.iterations) == 3
    assert len(people.pushed) == 30, "every window once"
    assert state.iterations[-1].reviewed == 30 - 7 - 1
    assert any("6 that score the model" in n for n in notes)
    assert any(i.promoted for i in state.iterations) or state.evidence is not None
    loop = open_loop(one)
    assert (loop.iterations()[-1].number, loop.iterations()[-1].state) == (4, EXHAUSTED)
    assert not loop.search("attributes.status = 'RUNNING'")
    call("iterate", one)
    assert "nothing is left to review or to learn from" in capsys.readouterr().out
    assert len(loop.iterations()) == 4, "asking again makes nothing"

    csv(tmp_path / "series", "late", 99)  # what nobody has seen goes on
    again = iterate(one)
    assert again.waiting is not None and again.waiting.iteration == 4
    assert {c.window.point_id for c in people.pushed[30:]} == {"late"}


def test_windows_that_all_skip_are_not_asked_about_again(bare: Make, people: People) -> None:
    state = until_the_end(bare(), people, skip=lambda c: c.purpose is Purpose.TRAIN)
    assert state.exhausted and len(people.pushed) == 30
    assert all(i.reviewed == 0 for i in state.iterations) and state.learning is not None
    assert "nothing was learned: 0 reviewed windows" in str(state.learning)
    collected = finished(open_loop(bare()).iterations()[0], DATASET)
    assert collected is not None and collected.states["SKIPPED"] == 8 and len(collected.undecided) == 8


def test_gold_that_nobody_judged_is_waited_for(bare: Make, people: People, notes: list[str]) -> None:
    iterate(bare())
    people.answer(skip=lambda c: c.purpose is Purpose.GOLD)
    assert iterate(bare()).waiting is not None
    assert "none of the blind ones can score the model" in notes[-1]
    name = next(c.window.window_id for c in people.pushed if c.purpose is Purpose.GOLD)
    people.answers[name] = Annotation("ann", (), 9)
    assert iterate(bare()).iterations, "one of them is enough to go on"


SIMULATED = (
    "experiment=demo", "detector=robust_zscore", "adapter=none", "source.series=6", "source.points=600",
    "windows.length=200", "sampling.windows=50", "tracking.plots=0", "gold.resamples=100", "loop.name=small",
    "loop.fresh=false",
)  # fmt: skip


def test_a_loop_with_nothing_left_says_so_and_is_not_failed(
    bench: Make, bare: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case iterate-nothing-left-to-review: iteration 2 was FAILED for good, "gave no series. Check source.root"."""
    one = bench(*SIMULATED)
    state = call("iterate", one)
    assert state.exhausted and not state.people_have_to_act and len(state.iterations) == 1
    assert "nothing is left to review or to learn from" in capsys.readouterr().out
    loop = open_loop(one)
    assert [i.state for i in loop.iterations()] == ["COMPLETED", EXHAUSTED]
    call("status", one)
    assert "EXHAUSTED every window has been answered" in capsys.readouterr().out
    again = iterate(replace(one, overrides=()))
    assert again.loop == "small" and again.exhausted and len(loop.iterations()) == 2
    fresh = iterate(bench(*SIMULATED[:-1], "loop.fresh=true"))
    assert fresh.loop == "small-2", "a loop with nothing left has reached its end"


def test_an_iteration_that_failed_over_its_empty_queue_gives_way(bench: Make, bare: Make) -> None:
    one = bench(*SIMULATED)
    iterate(one)
    with open_loop(one).lock() as held:
        failed = held.open_iteration()
        assert failed is not None
        with failed.step(DETECT.name) as step:
            step.result(Detected(1, "small:1", 0.5, 0, 0, "abc", 6, 3600, 0).to_json())
        failed.fail("synthetic gave no series. Check source.root and source.glob.")
    assert iterate(one).exhausted
    assert [i.state for i in open_loop(one).iterations()] == ["COMPLETED", EXHAUSTED]


def test_a_bare_call_goes_on_with_the_loop_that_has_something_left(bench: Make, bare: Make, people: People) -> None:
    iterate(bench(*SIMULATED))
    iterate(bare())
    assert iterate(replace(bare(), overrides=())).loop == "bare"


def test_detect_looks_the_iterations_up_that_left_windows_out(bare: Make, people: People) -> None:
    one = bare("sampling.windows=5")
    until = iterate(one)
    assert until.waiting is not None
    people.answer(skip=lambda c: c.purpose is Purpose.TRAIN and c.window.point_id == "P1")
    iterate(one)
    loop: LoopStore = open_loop(one)
    first = finished(loop.iterations()[0], DATASET)
    assert first is not None
    spans = {(u.point_id, u.start, u.end) for u in first.undecided}
    assert spans == {
        (c.window.point_id, *c.window.span)
        for c in people.pushed[:12] if c.purpose is Purpose.TRAIN and c.window.point_id == "P1"
    }  # fmt: skip
