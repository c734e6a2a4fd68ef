"""Typed results: as JSON and back, records of before, what does not exist."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from tsad.core.results import Result
from tsad.loop import results as stages
from tsad.metrics.gate import Clause


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, eq=False)
class Inner(Result):
    value: float
    name: str | None = None


@dataclass(frozen=True, eq=False)
class Outer(Result):
    """Every kind of field that results have."""

    count: int
    share: float
    maybe: float | None
    either: int | str
    rows: tuple[Inner, ...]
    by_name: dict[str, Inner]
    figures: dict[str, float]
    nested: tuple[tuple[str, ...], ...]
    one: Inner | None
    colour: Colour
    folder: Path
    added_later: str = ""
    more: dict[str, int] = field(default_factory=dict)


FULL = Outer(
    count=3, share=math.nan, maybe=None, either="x", rows=(Inner(1 / 3, "a"), Inner(math.nan)),
    by_name={"k": Inner(2.0)}, figures={"a": math.inf, "b": 0.1 + 0.2}, nested=(("a", "b"), ()), one=Inner(0.5),
    colour=Colour.RED, folder=Path("/x"), more={"z": 1},
)  # fmt: skip


def test_json_and_back() -> None:
    text = json.dumps(FULL.to_json(), allow_nan=False)
    values = json.loads(text)
    assert values["share"] is None and values["maybe"] is None and values["figures"] == {"a": None, "b": 0.1 + 0.2}
    assert values["rows"][0] == {"value": 1 / 3, "name": "a"} and values["colour"] == "red"
    again = Outer.from_json(values)
    assert again == FULL and math.isnan(again.share) and again.rows[0].value == 1 / 3
    assert (again.colour, again.folder, again.nested) == (Colour.RED, Path("/x"), (("a", "b"), ()))
    assert isinstance(again.one, Inner) and again.maybe is None
    assert again != Outer.from_json({**values, "count": 4}) and again != Inner(1.0)


def test_records_of_other_versions() -> None:
    values = FULL.to_json()
    newer = {**values, "not_known_here": [1]}
    older = {k: v for k, v in values.items() if k not in ("added_later", "more")}
    assert Outer.from_json(newer) == FULL
    assert Outer.from_json(older).added_later == "" and Outer.from_json(older).more == {}
    with pytest.raises(TypeError, match="count"):
        Outer.from_json({k: v for k, v in values.items() if k != "count"})


def test_numbers_of_numpy_are_plain() -> None:
    assert Inner(np.float64(0.25)).to_json() == {"value": 0.25, "name": None}  # type: ignore[arg-type]
    assert type(Inner(np.float32(0.5)).to_json()["value"]) is float  # type: ignore[arg-type]


# As the package of before this change wrote them: keys and values of result.json.
RECORDS = {
    stages.Detected: {
        "champion": 1, "model_version": "tsad-demo-patch:1", "threshold": 0.5, "queued": 24, "gold_queued": 0,
        "gold_version": "abc", "series": 10, "points": 15000, "intervals": 3, "outage": "", "not_written_back": "",
    },
    stages.Pushed: {"windows": 24, "created": 24},
    stages.Collected: {
        "version": "abc", "windows": 24, "gold_version": "def", "parent": None, "positive": 7,
        "states": {"PENDING": 0, "ACCEPTED": 17, "CORRECTED": 7, "REJECTED": 0, "CONFLICT": 0}, "outage": "",
    },
    stages.Withdrawn: {"withdrawn": 2},
    stages.Trained: {
        "trained": True, "reason": "no better for 3 evaluations", "metrics": {"validation_loss": float("nan")},
        "threshold": 0.4, "model": {"model_uri": "runs:/x/model", "tags": {"tsad.role": "adapted"}},
        "dataset_version": "abc",
    },
    stages.Registered: {"challenger": 2, "reason": ""},
    stages.Scored: {
        "gold_version": "def", "intervals": 9, "scores": {"champion": {"interval_f1": 0.5, "auc_pr": float("nan")}},
        "versions": {"champion": 1},
        "paired": {"interval_f1": {"gain": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.01, "resampled": "series",
                                   "level": 0.9, "blocks": 9}},
    },
    stages.Promoted: {
        "promoted": True, "reason": "better", "champion": 2, "scores": {"interval_f1": 0.6},
        "clause": "rose beyond chance", "level": 0.9, "margin": 0.05,
        "gains": {"interval_f1": {"gain": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.01, "resampled": "series",
                                  "level": 0.9, "blocks": 9}},
    },
    stages.Reported: {"iterations": 1},
}  # fmt: skip


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_stages_read_what_was_kept_before(kind: type[Result]) -> None:
    record = json.loads(json.dumps(RECORDS[kind]))  # with NaN, as MLflow has it
    result = kind.from_json(record)
    assert set(result.to_json()) >= set(record)
    assert kind.from_json(result.to_json()) == result


def test_a_window_that_a_record_of_before_calls_rejected_was_skipped() -> None:
    record = RECORDS[stages.Collected] | {"states": {"PENDING": 1, "REJECTED": 4}}
    assert stages.Collected.from_json(record).states == {"PENDING": 1, "SKIPPED": 4}


def test_a_record_without_what_came_later() -> None:
    early = {k: v for k, v in RECORDS[stages.Detected].items() if k not in ("outage", "not_written_back")}
    assert stages.Detected.from_json(early).outage == ""
    alone = {k: v for k, v in RECORDS[stages.Scored].items() if k != "paired"}  # no challenger was trained
    assert stages.Scored.from_json(alone).paired == {}
    plain = {k: v for k, v in RECORDS[stages.Promoted].items() if k not in ("clause", "level", "margin", "gains")}
    before = stages.Promoted.from_json(plain)
    assert (before.promoted, before.reason, before.champion) == (True, "better", 2)
    assert (before.clause, before.level, before.gains) == (Clause.UNRECORDED, None, {})
    old_gain = {"gain": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.01, "resampled": "series"}
    assert stages.PairedGain.from_json(old_gain).level == 0.95
