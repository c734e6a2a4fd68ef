"""loop.beside: further detectors propose for the queue, and one that cannot is named and left out."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.loop.beside import ask_beside
from tsad.loop.detect import DETECT
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.pull import DATASET
from tsad.loop.queue import queue_of
from tsad.loop.runner import finished, record_of

SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=6", "source.points=800", "windows.length=200",
    "sampling.windows=6", "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.9", "loop.name=beside",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("stocked")


def test_others_propose_beside_the_champion_and_who_cannot_is_named(
    bench: Callable[..., Workbench], caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(*SMALL, "review.beside=[isolation_forest,previous]")
    with caplog.at_level(logging.WARNING, "tsad"):
        state = iterate(one)
    loop = open_loop(one)
    (iteration,) = loop.iterations()
    detected, collected = finished(iteration, DETECT), finished(iteration, DATASET)
    assert detected is not None and detected.beside == ("isolation_forest:base",) and collected is not None
    (reason,) = detected.left_out
    assert reason.startswith("previous proposes nothing beside the champion in this iteration: tsad-beside-robust")
    assert reason in caplog.text and reason in [outage.text for outage in state.outages]
    queue = queue_of(one, record_of(iteration, DETECT))
    trained = [c for c in queue if c.purpose is Purpose.TRAIN]
    assert trained and all([p.origin.detector for p in c.proposals] == ["robust_zscore", "isolation_forest"]
                           for c in trained)
    assert all(w.span[0] <= i.start < i.end <= w.span[1]
               for c in trained for w in [c.window] for p in c.proposals for i in p.intervals)
    champions = ask_beside(bench(*SMALL, "review.beside=[]"), loop, queue)
    assert champions.choices == queue and champions.asked == champions.left_out == ()


def test_what_another_detector_proposes_is_cut_to_the_window_and_blind_ones_stay_blind(
    bench: Callable[..., Workbench],
) -> None:
    values = np.random.default_rng(0).normal(size=(800, 1))
    values[390:420] += 400.0
    series = Series("P", np.arange(800, dtype=np.int64) * 60 * 10**9, values)
    learned, blind = (Window(series, a, a + 200) for a in (200, 400))
    queue = [Choice(learned, 0.5, "mix"), Choice(blind, 0.5, "gold", Purpose.GOLD)]
    one = bench(*SMALL, "review.beside=[robust_zscore]", "threshold.default=0.3")
    asked = ask_beside(one, open_loop(one), queue)
    assert asked.asked == ("robust_zscore:base",) and asked.choices[1] is queue[1]
    (proposal,) = asked.choices[0].proposals
    assert proposal.intervals[-1].end == learned.span[1] and proposal.intervals[-1].start >= learned.span[0]


def test_a_name_that_nothing_has_is_refused_before_anything_is_frozen(bench: Callable[..., Workbench]) -> None:
    one = bench(*SMALL, "review.beside=[isolation_forst]")
    with pytest.raises(ConfigError, match=r"review\.beside names isolation_forst.*isolation_forest"):
        iterate(one)
    assert not open_loop(one).iterations()
