"""Several people in Label Studio, without a server: who is asked, what a conflict becomes, what batches do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_review import OPTIONS
from test_review_label_studio import FakeServer, choices, reviewer, windows

from tsad.core.errors import ConfigError, ReviewError
from tsad.core.reviews import Choice, Purpose, ReviewState
from tsad.review.label_studio.conflicts import people_for
from tsad.review.simulated import SimulatedReviewer


def answer(row: dict[str, Any], who: int, drawn: bool, when: int = 0) -> None:
    """Somebody accepts what is proposed, or says that nothing is abnormal."""
    result = row["predictions"][0]["result"] if drawn else []
    number = 100 * row["id"] + len(row["annotations"])
    made = {"id": number, "completed_by": who, "result": result, "updated_at": f"2026-01-01T00:00:{when:02}Z"}
    row["annotations"] = [*(a for a in row["annotations"] if a["completed_by"] != who), made]
    row["is_labeled"] = len(row["annotations"]) >= row["overlap"]


def row_of(fake: FakeServer, choice: Choice) -> dict[str, Any]:
    return next(r for r in fake.rows if r["data"]["window_id"] == choice.window.window_id)


def test_a_share_of_the_windows_is_shown_to_two_blind_ones_too() -> None:
    fake, queue = FakeServer(), choices(40)
    queue[::4] = [replace(c, purpose=Purpose.GOLD, proposals=()) for c in queue[::4]]
    reviewer(fake, overlap=0.5).push(queue)
    for_two = {c.window.window_id for c in queue if people_for(c.window, 0.5) == 2}
    assert {r["data"]["window_id"] for r in fake.rows if r["overlap"] == 2} == for_two
    assert 10 < len(for_two) < 30 and len(fake.changed) == len(for_two)
    assert {r["data"]["purpose"] for r in fake.rows if r["overlap"] == 2} == {"gold", "train"}
    reviewer(fake, overlap=0.5).push(queue)
    assert len(fake.changed) == len(for_two), "nothing is left to do"
    one = next(c for c in queue if people_for(c.window, 0.5) == 2 and c.proposals)
    answer(row_of(fake, one), 1, True)
    (waiting,) = reviewer(fake, overlap=0.5).pull([one])
    assert waiting.state is ReviewState.PENDING and len(waiting.annotations) == 1
    answer(row_of(fake, one), 2, True)
    assert reviewer(fake, overlap=0.5).pull([one])[0].state is ReviewState.ACCEPTED
    assert [people_for(w, 0.0) for w in windows()] == [1] * 5 and [people_for(w, 1.0) for w in windows()] == [2] * 5


def test_a_conflict_is_told_in_the_language_of_the_project() -> None:
    fake, queue = FakeServer(), choices(1)
    people, chinese = reviewer(fake), reviewer(fake, language="zh")
    people.push(queue)
    row = row_of(fake, queue[0])
    title = row["data"]["title"]
    answer(row, 1, True, 1)
    answer(row, 2, False, 2)
    chinese.settle(chinese.pull(queue))
    assert row["data"]["title"] == f"{title}；标注有分歧：1 标注 1 个区间，2 未标注区间"
    people.settle(people.pull(queue))
    assert row["data"]["title"] == f"{title}; people disagree: 1 marks 1 interval, 2 marks none"


def test_a_conflict_asks_one_more_says_who_said_what_and_is_settled_again() -> None:
    fake, queue = FakeServer(), choices(3)
    people = reviewer(fake)
    people.push(queue)
    row = row_of(fake, queue[0])
    title = row["data"]["title"]
    assert people.settle(people.pull(queue)) == 0 and fake.changed == []
    answer(row, 1, True, 1)
    answer(row, 2, False, 2)
    pulled = people.pull(queue)
    assert [r.state for r in pulled] == [ReviewState.CONFLICT, ReviewState.PENDING, ReviewState.PENDING]
    assert people.settle(pulled) == 1
    assert (row["overlap"], row["is_labeled"], row["data"]["state"]) == (3, False, "conflict")
    assert row["data"]["title"] == f"{title}; people disagree: 1 marks 1 interval, 2 marks none"
    (shown,) = row["predictions"]
    beside = [r for r in shown["result"] if r["value"]["timeserieslabels"][0].startswith("Answer")]
    assert [(r["value"]["timeserieslabels"], r["readonly"], r["meta"]["text"]) for r in beside] == [
        (["Answer 1"], True, ["by 1"])
    ]  # fmt: skip
    assert shown["model_version"] == "m:1" and sum(r["from_name"] == "label" for r in shown["result"]) == 1
    assert fake.project is not None and "Answer 2" in fake.project["label_config"]
    fake.replace_predictions = None  # type: ignore[method-assign, assignment]
    assert people.settle(people.pull(queue)) == 0 and len(fake.changed) == 1, "asked and shown once"
    answer(row, 3, True, 3)
    pulled = people.pull(queue)
    assert pulled[0].state is ReviewState.ACCEPTED, "two of three agree"
    assert people.settle(pulled) == 0
    assert (row["overlap"], row["is_labeled"], row["data"]["state"], row["data"]["title"]) == (3, True, "", title)
    assert people.settle(people.pull(queue)) == 0 and len(fake.changed) == 2


def test_a_blind_window_in_conflict_shows_the_answers_alone() -> None:
    fake, queue = FakeServer(), choices(2)
    queue[0] = replace(queue[0], purpose=Purpose.GOLD, proposals=())
    people = reviewer(fake, language="zh")
    people.push(queue)
    row = row_of(fake, queue[0])
    drawn = [r for r in row_of(fake, queue[1])["predictions"][0]["result"] if r["from_name"] == "label"]
    for who, result in ((1, []), (2, drawn)):
        places = row["data"]["series"]["time"]
        moved = [{**r, "value": {**r["value"], "start": places[2], "end": places[5]}} for r in result]
        row["annotations"].append({"id": who, "completed_by": who, "result": moved})
    assert people.settle(people.pull(queue)) == 1
    labels = {r["value"]["timeserieslabels"][0] for r in row["predictions"][0]["result"]}
    assert "回答 2" in labels and not any(r["from_name"] == "label" for r in row["predictions"][0]["result"])


def test_a_conflict_ends_when_somebody_changes_an_answer_and_goes_on_when_the_third_disagrees_too() -> None:
    fake, queue = FakeServer(), choices(1)
    people = reviewer(fake, agreement_iou=1.0)
    people.push(queue)
    (row,) = fake.rows
    answer(row, 1, True, 1)
    answer(row, 2, False, 2)
    assert people.settle(people.pull(queue)) == 1
    answer(row, 2, True, 3)
    assert people.settle(people.pull(queue)) == 0 and (row["overlap"], row["data"]["state"]) == (2, "")
    answer(row, 2, False, 4)
    answer(row, 3, True, 5)
    row["annotations"][-1]["result"] = [
        {**r, "value": {**r["value"], "end": r["value"]["start"]}} for r in row["annotations"][-1]["result"]
    ]
    assert people.settle(people.pull(queue)) == 1 and row["overlap"] == 4, "three answers, all unlike"
    expert = reviewer(fake, agreement_iou=1.0, expert="2")
    (settled,) = expert.pull(queue)
    assert settled.state is ReviewState.CORRECTED and settled.intervals == ()


def test_a_batch_answers_what_nobody_has_and_says_so_until_a_person_does() -> None:
    fake, queue = FakeServer(), choices(4)
    people = reviewer(fake, overlap=1.0)
    people.push(queue)
    answer(row_of(fake, queue[0]), 2, False)
    answers = [(c, c.proposal or ()) for c in queue[:2]] + [(queue[2], ())]
    assert people.answer(answers, "accept above 0.9, by 1") == 2
    pulled = people.pull(queue)
    assert [r.state for r in pulled] == [
        ReviewState.PENDING, ReviewState.ACCEPTED, ReviewState.CORRECTED, ReviewState.PENDING
    ]  # fmt: skip
    assert [a.batch for a in pulled[1].annotations] == ["accept above 0.9, by 1"]
    assert [a.batch for a in pulled[0].annotations] == [""]
    done = row_of(fake, queue[1])
    assert (done["overlap"], done["is_labeled"]) == (1, True), "a batch answers for everybody"
    assert people.answer(answers, "accept above 0.9, by 1") == 0, "done again it answers none"
    # As the editor saves it: the mark belongs to no control, so it goes.
    done["annotations"][0]["result"] = [r for r in done["annotations"][0]["result"] if r["from_name"] == "label"]
    assert people.look(queue[1:2])[0].annotations[0].batch == ""
    assert people.user() == "1"


def test_an_audit_is_asked_once_and_answers_are_taken_back() -> None:
    fake, queue = FakeServer(), choices(3)
    people = reviewer(fake)
    people.push(queue)
    assert people.ask(queue[:2]) == 2 and people.ask(queue) == 1 and people.ask(queue) == 0
    assert {r["data"]["reason"] for r in fake.rows} == {"audit"} and all(r["data"]["series"] for r in fake.rows)
    answer(row_of(fake, queue[0]), 2, True)
    answer(row_of(fake, queue[0]), 3, True)
    assert people.take_back(people.pull(queue)) == 2
    assert {r.state for r in people.pull(queue)} == {ReviewState.PENDING}
    assert people.take_back(people.pull(queue)) == 0


def test_who_answers_from_labels_takes_no_batch_actions() -> None:
    for act in (
        lambda r: r.user(), lambda r: r.answer([], ""), lambda r: r.ask([]), lambda r: r.take_back([]),
    ):  # fmt: skip
        with pytest.raises(ReviewError, match=r"SimulatedReviewer takes no batch actions.*review=label_studio"):
            act(SimulatedReviewer(OPTIONS))


def test_an_expert_has_a_name() -> None:
    with pytest.raises((ConfigError, ValueError), match=r"consensus.*is expert.*expert"):
        reviewer(FakeServer(), consensus="expert")
    assert reviewer(FakeServer(), consensus="expert", expert="7").rule.expert == "7"
