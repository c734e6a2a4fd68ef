"""What detectors promise at their class, without scores and from several threads; what carries their proposals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_datasets import ORIGIN, review
from test_detectors_patch import weights  # noqa: F401 - a fixture

from tsad.config import compose, settings
from tsad.config.workbench import Workbench
from tsad.core.errors import DetectorError
from tsad.core.intervals import clip, confidence_along, merge, point_scores
from tsad.core.options import ThresholdOptions
from tsad.core.proposing import PointThreshold
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import NS_PER_SECOND, Detection, Interval, Needs, Origin, Proposal
from tsad.detectors.base import Detector
from tsad.detectors.base_digest import BaseDigest
from tsad.detectors.patch.detector import PatchDetector
from tsad.detectors.proposals.proposer import Judged, corrected, default_proposer, look_at
from tsad.detectors.robust_zscore import RobustZScore, RobustZScoreOptions
from tsad.files.hashing import digest_of_file
from tsad.loop.champion import registry_of
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.scoring import score_windows
from tsad.metrics.units import Unit, summarise
from tsad.review.agreement import resolve
from tsad.tracking.frames import predict_frame
from tsad.tracking.pyfunc_model import LoadedVersion, load_version
from tsad.training.datasets import build, content_hash, load, save
from tsad.training.queues import load_queue, save_queue
from tsad.training.records import window_of, window_record

CONF = Path(__file__).parents[1] / "conf" / "detector"
# By the code before options became models: hashes are in the origin of everything that was ever detected.
HASHES = {
    "isolation_forest": "a06ceea995b3", "kmeans": "6b07d95b36f4", "matrix_profile": "51b5317b885f",
    "nearest_neighbour": "eab2c8d3069d", "patch": "774bd4780472", "poly": "c0617f262a10",
    "robust_zscore": "9afb6ed911d9", "sub_pca": "ae209ed10c3c",
}  # fmt: skip
PLAIN = ThresholdOptions(default=0.5, merge_gap=0, min_length=1, max_length=0)


class Spotter(Detector):
    """Gives intervals alone, as a language model does: stretches far from the median, each with a reason."""

    name = "spotter"
    scored = False
    options_model = RobustZScoreOptions
    settings: RobustZScoreOptions

    def candidates(self, series: Series) -> tuple[Interval, ...]:
        (scores,) = RobustZScore(self.settings).score([series])
        found = next(PointThreshold(0.3, PLAIN, ORIGIN).propose(RobustZScore(self.settings), [series])).intervals
        return tuple(replace(i, label="burst", note=f"up to {scores.max():.1f}") for i in found)


def series_of(values: np.ndarray, name: str = "made") -> Series:
    return Series(name, np.arange(len(values), dtype=np.int64) * NS_PER_SECOND, np.asarray(values, float)[:, None])


def bursts(total: int = 2000, seed: int = 0) -> tuple[Series, np.ndarray]:
    rng = np.random.default_rng(seed)
    values, truth = rng.standard_normal(total) * 0.5, np.zeros(total, bool)
    for start in range(200, total - 100, 300):
        values[start : start + 12] += 9.0
        truth[start : start + 12] = True
    return series_of(values, f"bursts-{seed}"), truth


def spotter() -> Spotter:
    return Spotter(half=6.0, window=0)


# ---- what is known without building


def test_classes_tell_what_they_are_without_torch() -> None:
    targets = [yaml.safe_load(path.read_text())["_target_"] for path in sorted(CONF.glob("*.yaml"))]
    code = (
        "import importlib, json, sys\n"
        f"for target in {targets!r}:\n"
        "    module, _, name = target.rpartition('.')\n"
        "    kind = getattr(importlib.import_module(module), name)\n"
        "    needs = kind.needs()\n"
        "    print(json.dumps([kind.name, kind.trainable, kind.scored, kind.tuner, needs.device, needs.packages]))\n"
        "heavy = {'torch', 'transformers', 'peft', 'sklearn', 'mlflow', 'stumpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    known = {row[0]: row[1:] for row in map(json.loads, done.stdout.splitlines())}
    language = {"chatts", "qwen_vl"}  # several sizes of each, by the YAML
    others = {path.stem for path in CONF.glob("*.yaml") if path.stem.rpartition("_")[0] not in language}
    assert set(known) == others | language
    assert known["patch"][:2] == [True, True] and known["poly"][:2] == [False, True]
    assert known["matrix_profile"][4] == ["stumpy"] and {known[n][2] for n in set(known) - language} == {Detector.tuner}
    assert {known[name][2] for name in language} == {"tsad.training.large.LargeTuner"}
    assert PatchDetector.needs(None).memory_gb > 0 and Spotter.needs() == Needs()


@pytest.mark.parametrize("name", sorted(HASHES))
def test_the_model_is_the_yaml_and_hashes_stay(name: str) -> None:
    stated = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    overrides = [f"detector={name}"]
    from tsad.config import workbench

    made = workbench(settings(compose(overrides), overrides)).make_detector()
    assert made.config_hash == HASHES[name] and made.describe() == stated
    assert set(made.options_model.model_fields) == set(stated) - {"_target_"}
    assert type(made)(made.settings).describe() == stated  # ready-made options do as well


def test_every_fault_is_named_and_a_misspelt_option_is_a_type_error() -> None:
    with pytest.raises(DetectorError, match=r"half=0\.0, window=2.*detector\.half.*detector\.window should be 0 or"):
        RobustZScore(half=0.0, window=2)
    with pytest.raises(DetectorError, match="truth value"):
        RobustZScore(half=True, window=0)
    with pytest.raises(TypeError, match="unknown or missing options windw"):
        RobustZScore(half=6.0, windw=0, window=0)


# ---- several threads, one detector


def test_two_threads_score_with_one_detector(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from tsad.detectors.patch import detector as module

    many = [bursts(600, seed)[0] for seed in range(6)]
    made = {"weights": str(weights), "batch_size": 4, "device": "cpu", "stride": 32, "blend": 1.0}
    expected = [PatchDetector(**made).score([one])[0] for one in many]
    loads: list[int] = []
    monkeypatch.setattr(module, "load_base", lambda *a, real=module.load_base: (loads.append(1), real(*a))[1])
    shared, start = PatchDetector(**made), threading.Barrier(6)
    scores: dict[int, np.ndarray] = {}
    encoded: dict[int, Any] = {}

    def work(k: int) -> None:
        start.wait()
        scores[k] = shared.score([many[k]])[0]
        window, mask = Window(many[0], 190, 222), np.zeros(32, bool)
        encoded[k] = shared.collate(shared.encode([window], [mask], np.random.default_rng(0)))["values"].numpy()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(np.array_equal(scores[k], expected[k]) for k in range(6)) and loads == [1]
    assert all(np.array_equal(encoded[k], encoded[0]) for k in range(6))


# ---- a detector without scores


def test_it_detects_by_its_own_candidates() -> None:
    series, truth = bursts()
    (found,) = spotter().detect([series], PointThreshold(0.5, PLAIN, ORIGIN))
    assert found.scores is None and found.origin == ORIGIN and found.candidates
    assert found.intervals == tuple(c for c in found.candidates if c.score >= 0.5)
    assert all(i.label == "burst" and i.note.startswith("up to") for i in found.intervals)
    along = point_scores(found, series.timestamps)
    assert along[truth].min() > 0.5 and np.array_equal(along, confidence_along(found.candidates, series.timestamps))
    with pytest.raises(DetectorError, match="spotter gives intervals, no scores"):
        spotter().score([series])


def test_reviews_calibrate_its_candidates_and_notes_stay() -> None:
    series, truth = bursts(6000)
    detector, base = spotter(), default_proposer("spotter")
    reviewed = np.arange(len(series)) < 4000
    looked = look_at(series, next(iter(detector.examine([series]))))
    assert len(looked.candidates) == len(detector.candidates(series))
    proposer = corrected(base, [Judged(looked, series.timestamps, reviewed, truth & reviewed)])
    (found,) = detector.detect([series], proposer.under(ORIGIN))
    assert found.scores is None and found.candidates and found.threshold == proposer.threshold
    assert {(i.label, i.note[:5]) for i in found.intervals} == {("burst", "up to")}
    scores = {real: [c.score for c in found.candidates if truth[c.start // NS_PER_SECOND] == real] for real in (1, 0)}
    assert np.mean(scores[1]) > 4 * np.mean(scores[0])  # some thirty verdicts are not yet believed wholly
    proposed = {i.score for i in found.intervals}
    assert proposed >= set(scores[1]) and len(proposed) <= len(scores[1]) + 1


def test_what_needs_scores_is_absent_not_made_up() -> None:
    truth = np.zeros(100, bool)
    truth[20:30] = True
    unit = Unit(group="a", truth=truth, predicted=truth, scores=None, weight=1.0)
    figures = summarise([unit])
    assert figures["interval_f1"] == 1.0 and not np.isfinite(figures.get("vus_pr", np.nan))


def test_a_frame_gets_the_confidence_of_what_was_considered() -> None:
    import pandas as pd

    series, truth = bursts()
    version = LoadedVersion(spotter(), 0.5, PLAIN, ORIGIN, None)
    frame = pd.DataFrame({"timestamp": series.timestamps // NS_PER_SECOND, "value": series.values[:, 0]})
    rows = predict_frame(version, frame)
    assert rows["score"][truth].min() > 0.5 and rows["anomaly"][truth].all() and (rows["score"][:150] == 0).any()


SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=8", "source.points=1200", "windows.length=200",
    "sampling.windows=8", "loop.iterations=1", "loop.fresh=false", "tracking.plots=1", "gold.resamples=100",
    "threshold.default=0.02", "detector._target_=test_contracts.Spotter",
)  # fmt: skip


def test_thresholds_are_fitted_to_its_confidence() -> None:
    series, truth = bursts()
    windows = [Window(series, 190, 230), Window(series, 20, 60)]
    first, second = score_windows(spotter(), windows)
    assert np.array_equal(first > 0.5, truth[190:230]) and not second[second > 0.5].size


@pytest.mark.usefixtures("stocked")
def test_it_goes_through_the_loop(bench: Callable[..., Workbench], home: Path, tmp_path: Path) -> None:
    one = bench(*SMALL)
    assert iterate(one) is not None
    loop = open_loop(one)
    (iteration,) = loop.iterations()
    assert iteration.state == "COMPLETED"
    drawn, scored = iteration.finished("DETECT"), iteration.finished("EVALUATE")
    assert drawn is not None and scored is not None and drawn.result["intervals"] > 0
    figures = scored.result["scores"]["champion"]
    assert 0 <= figures["interval_f1"] <= 1 and not np.isfinite(figures.get("vus_pr") or np.nan)
    queue = load_queue(drawn.fetch("queue", tmp_path / "queue"))
    proposed = [i for choice in queue for i in choice.proposal or ()]
    assert proposed and all(i.note.startswith("up to") for i in proposed)
    assert {kept.source_digest for kept in loop.datasets()} == {one.make_source().digest()}
    champion = registry_of(one, loop).alias("champion")
    assert champion is not None
    loaded = load_version(registry_of(one, loop), champion)
    assert all(d.scores is None for d in loaded.detections([bursts()[0]]))


# ---- proposals of several detectors, notes


def test_the_champions_proposal_counts_and_the_others_are_kept(tmp_path: Path) -> None:
    series = series_of(np.arange(60.0))
    own = (Interval(5 * NS_PER_SECOND, 9 * NS_PER_SECOND, score=0.8, note="far above"),)
    others = Proposal((Interval(30 * NS_PER_SECOND, 40 * NS_PER_SECOND, score=0.6),), Origin("chatts", "x-chatts:2"))
    choice = Choice(Window(series, 0, 60), 0.5, "mix", Purpose.TRAIN, (Proposal(own, ORIGIN), others), 0.7)
    assert (choice.proposal, choice.origin) == (own, ORIGIN)
    blind = replace(choice, proposals=())
    assert blind.proposal is None and blind.origin is None
    save_queue([choice, blind], tmp_path / "queue")
    again = load_queue(tmp_path / "queue")
    assert again[0].proposals == choice.proposals and again[0].proposals[0].intervals[0].note == "far above"
    assert again[1].proposals == ()
    assert resolve(choice, []).state.value == "PENDING"


def test_records_of_before_are_read_and_one_proposal_is_written_as_before() -> None:
    series = series_of(np.arange(60.0))
    reviewed = review(series, 0, 20, [(3, 6)])
    record = window_record(reviewed, 0)
    assert "proposals" not in record and record["origin"] == ["patch", "tsad-x-patch:3", None, "abc"]
    assert all(len(row) == 4 for row in (*record["proposal"], *record["intervals"]))
    (proposal,) = window_of(record, [series], Purpose.TRAIN).choice.proposals
    assert proposal == reviewed.choice.proposals[0]
    gold = window_of({**record, "proposal": None, "origin": None}, [series], Purpose.GOLD)
    assert gold.choice.proposals == () and gold.choice.proposal is None


def test_neither_notes_nor_other_proposals_change_a_dataset(tmp_path: Path) -> None:
    series = series_of(np.arange(60.0))
    plain = review(series, 0, 20, [(3, 6)])
    noted = replace(
        plain, intervals=tuple(replace(i, note="why") for i in plain.intervals),
        choice=replace(plain.choice, proposals=(*plain.choice.proposals, Proposal((), Origin("x", "x:1")))),
    )  # fmt: skip
    assert content_hash([plain], Purpose.TRAIN) == content_hash([noted], Purpose.TRAIN)
    version = build([noted], Purpose.TRAIN, 5)
    save(version, tmp_path / "dataset")
    (back,) = load(tmp_path / "dataset").windows
    assert back.intervals[0].note == "why" and len(back.choice.proposals) == 2


def test_notes_survive_arithmetic_and_stay_out_of_the_representation() -> None:
    one, other = Interval(0, 10, score=0.4), Interval(8, 20, "spike", 0.9, "sharp")
    assert merge([one, other]) == (Interval(0, 20, "spike", 0.9, "sharp"),)
    assert clip([other], 10, 15) == (Interval(10, 15, "spike", 0.9, "sharp"),)
    assert repr(other) == "Interval(start=8, end=20, label='spike', score=0.9)"
    detection = Detection("a", None, (one,), ORIGIN, 0.5)
    assert point_scores(detection, np.array([0, 5, 12])).tolist() == [0.4, 0.4, 0.0]


# ---- base digests


def test_a_small_base_is_its_bytes_and_a_large_one_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tsad.detectors import base_digest

    file = tmp_path / "model.safetensors"
    header = b'{"w":{"dtype":"U8","shape":[400000],"data_offsets":[0,400000]}}'
    content = bytearray(len(header).to_bytes(8, "little") + header + bytes(range(250)) * 1600)
    file.write_bytes(content)
    digest = BaseDigest(tmp_path)
    small = digest.hexdigest()
    assert small == digest_of_file(file)
    monkeypatch.setattr(base_digest, "digest_of_file", lambda path: pytest.fail("read again"))
    assert digest.hexdigest() == small  # unchanged: not read again
    monkeypatch.undo()
    monkeypatch.setattr(base_digest, "LARGE", 1000)
    large = BaseDigest(tmp_path).hexdigest()
    assert large != small
    content[-10] ^= 1
    file.write_bytes(content)
    assert BaseDigest(tmp_path).hexdigest() != large  # the last block is always read
    (tmp_path / "tokenizer.json").write_text("{}")
    with_tokenizer = BaseDigest(tmp_path).hexdigest()
    (tmp_path / "model-2.safetensors").write_bytes(bytes(content))
    assert len({large, with_tokenizer, BaseDigest(tmp_path).hexdigest()}) == 3
