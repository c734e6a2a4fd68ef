"""A job that is begun again after a kill: what an earlier attempt finished is its answer, nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tsad.config.workbench import Workbench
from tsad.loop import train as training
from tsad.loop.champion import registry_of
from tsad.loop.detect import DETECT, score_series
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.rollback import roll_back
from tsad.loop.train import TRAIN, train_challenger

SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=8", "source.points=1200", "windows.length=200",
    "sampling.windows=8", "loop.iterations=1", "loop.fresh=false", "tracking.plots=1", "gold.resamples=100",
)  # fmt: skip


def as_job(bench: Workbench, job_id: str) -> Workbench:
    return replace(bench, context=replace(bench.context, job=job_id))


@pytest.mark.usefixtures("stocked")
def test_detections_are_kept_once_for_a_job(bench: Callable[..., Workbench]) -> None:
    made = bench("source=synthetic", "source.series=1", "source.points=300", "detector=robust_zscore")
    first = score_series(as_job(made, "a" * 32), "none", None, None)
    again = score_series(as_job(made, "a" * 32), "none", None, None)
    assert again == first and len(open_loop(made).finished_runs(DETECT.name, "a" * 32)) == 1
    score_series(as_job(made, "b" * 32), "none", None, None)  # another job
    score_series(made, "none", None, None)  # no job at all: each call is one
    score_series(made, "none", None, None)
    assert len(open_loop(made).finished_runs(DETECT.name)) == 4
    assert open_loop(as_job(made, "c" * 32)).finished_for_job(DETECT.name) is None


@pytest.mark.usefixtures("stocked")
def test_a_killed_training_makes_no_second_version(
    bench: Callable[..., Workbench], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench(*SMALL)
    iterate(made)
    job = as_job(made, "d" * 32)
    registry = registry_of(made, open_loop(made))
    before = len(registry.versions())

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # between the training and its version
        patch.setattr(training, "_register", killed)
        train_challenger(job, "latest")
    fitted: list[int] = []
    monkeypatch.setattr(training, "fit", lambda *_: fitted.append(1))
    first, again = train_challenger(job, "latest"), train_challenger(job, "latest")
    assert fitted == [] and first == again and first.training.dataset_version
    assert len(registry.versions()) == before + (first.version is not None)
    assert len(open_loop(made).finished_runs(TRAIN.name, job.context.job)) == 1


@pytest.mark.usefixtures("stocked")
def test_a_rollback_goes_back_once(bench: Callable[..., Workbench], monkeypatch: pytest.MonkeyPatch) -> None:
    from tsad.loop import rollback

    class Registry:
        name, moved = "tsad-x", 0

        def alias(self, name: str) -> None:
            return None

        def rollback(self) -> Registry:
            Registry.moved += 1
            return self

        version = 3

    monkeypatch.setattr(rollback, "registry_of", lambda *_: Registry())
    job = as_job(bench(), "e" * 32)
    assert roll_back(job) == roll_back(job) and Registry.moved == 1
