"""The patch detector: network, windows, scoring, weights, adapters, what training needs of it."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsad.core.errors import DetectorError, WeightsError
from tsad.core.protocols import Trainable
from tsad.core.series import Series, Window
from tsad.core.types import NS_PER_SECOND
from tsad.core.windows import window_starts
from tsad.detectors.devices import resolve_device
from tsad.detectors.evidence.channels import (
    CHANNELS,
    FIRST_EDITION,
    INDEX,
    SECOND_EDITION,
    UNIT,
    Evidence,
    evidence_of,
)
from tsad.detectors.evidence.examined import Examined, channel_evidence
from tsad.detectors.numeric import combine_channels
from tsad.detectors.patch import crops, examples
from tsad.detectors.patch import detector as detector_module
from tsad.detectors.patch.blends import BLENDS, FIRST, HIGHEST, blend_for, blend_in
from tsad.detectors.patch.detector import PatchDetector
from tsad.detectors.patch.loading import EARLIER, SHIPPED, load_base
from tsad.detectors.patch.windows import (
    TOGETHER,
    add_repeated,
    cut_piece,
    pieces,
    rows_seen,
    scales_for,
    sheet_of,
    shrink,
    shrink_flags,
    shrink_rows,
)
from tsad.files.hashing import digest_of_file

LENGTH = 64
EVERY = rows_seen(CHANNELS)
TINY = {
    "length": LENGTH, "patch": 8, "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 24, "point_size": 8,
    "evidence": CHANNELS,
}  # fmt: skip
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_series(values: np.ndarray, point_id: str = "T1.PV") -> Series:
    values = np.asarray(values, float)
    values = values[:, None] if values.ndim == 1 else values
    names = tuple(f"value_{c}" for c in range(values.shape[1]))
    return Series(point_id, np.arange(len(values), dtype=np.int64) * NS_PER_SECOND, values, names)


def noise(n: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, channels))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network with random weights (large ones, so that scores differ)."""
    import torch
    from safetensors.torch import save_file

    from tsad.detectors.patch.configuration import PatchConfig
    from tsad.detectors.patch.model import PatchModel

    torch.manual_seed(0)
    model = PatchModel(PatchConfig(**TINY))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
        model.head.bias.zero_()
    folder = tmp_path_factory.mktemp("weights")
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(folder)
    return folder


def detector(weights: Path, **changes: object) -> PatchDetector:
    options = {"weights": str(weights), "batch_size": 4, "device": "cpu", "stride": 32, "blend": 0.0}
    return PatchDetector(**{**options, **changes})


def encoded(one: PatchDetector, windows: list[Window], masks: list[np.ndarray], rng: np.random.Generator) -> dict:
    return one.collate(one.encode(windows, masks, rng))


def make_adapter(weights: Path, folder: Path, zero: bool = False) -> Path:
    """A peft adapter with random (or zero) B matrices and a decoder trained in full."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    saved = ["decoder", "head"]
    model = get_peft_model(load_base(weights), LoraConfig(r=2, target_modules=LINEARS, modules_to_save=saved))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".lora_B." in name and not zero:
                p.normal_(0, 0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


# ---- windows


def test_shrinking_keeps_spikes_and_passes_over_missing_points() -> None:
    x = np.array([1, 1, 1, 9, 5, 5, 5, 5, 2, 7], np.float32)
    seen = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0], bool)
    assert np.allclose(shrink(x, seen, 4), [0.5 * 3 + 0.5 * 9, 5.0, 2.0])  # all missing: as filled in
    assert np.allclose(shrink(-x, seen, 4), -shrink(x, seen, 4))
    assert np.allclose(shrink(x, np.ones(10, bool), 4)[:2], [6.0, 5.0])
    assert shrink_flags(seen, 4).tolist() == [True, False, True]
    assert shrink(x, seen, 1) is x and shrink_flags(seen, 1) is seen


@pytest.mark.parametrize("scale", [2, 4, 16, 64])
def test_a_one_point_spike_survives_every_scale(scale: int) -> None:
    x, seen = np.zeros(1000, np.float32), np.ones(1000, bool)
    x[501] = 8.0
    small = shrink(x, seen, scale)
    assert len(small) == -(-1000 // scale) and small.argmax() == 501 // scale and small.max() > 4.0
    rows = np.stack((x, -x)).astype(np.int16)
    rows = shrink_rows(rows, scale, np.arange(2))
    assert rows[:, 501 // scale].tolist() == [8, -8] and np.abs(rows).sum() == 16


def test_evidence_of_a_scale_is_what_lies_farthest_from_zero() -> None:
    evidence = evidence_of(noise(202)[:, 0])
    for scale in (4, 16):
        sheet = sheet_of(evidence, scale, EVERY)
        part = evidence.rows[:, :scale]
        expected = part[np.arange(len(part)), np.abs(part).argmax(axis=1)].copy()
        expected[INDEX["log_period"]] -= round(np.log2(scale) / 4 / UNIT)  # periods are shorter in points of this scale
        assert np.array_equal(sheet.rows[:, 0], expected)
        assert sheet.rows.shape[1] == len(sheet.values) == -(-202 // scale)
    assert sheet_of(evidence, 1, EVERY).rows is evidence.rows


def test_scales_reach_from_every_point_to_the_whole_series() -> None:
    assert scales_for(1024, 1024) == [1] and scales_for(1025, 1024) == [1, 4] == scales_for(4096, 1024)
    assert scales_for(10_000, 1024) == [1, 4, 10] and scales_for(10**7, 1024) == [1, 4, 64]


def test_pieces_cover_the_series_and_flag_what_is_filled() -> None:
    x = noise(150)[:, 0]
    x[10:20] = np.nan
    evidence = evidence_of(x)
    made = list(pieces(evidence, 1, EVERY, window_starts(len(x), LENGTH, 32), LENGTH))
    assert [p.start for p in made] == [0, 32, 64, 86]
    assert not made[0].observed[10:20].any() and made[0].observed[20:].all()
    assert not made[0].rows[:, 10:20].any() and np.array_equal(made[1].rows, evidence.rows[:, 32:96])
    (short,) = pieces(evidence_of(x[:50]), 1, EVERY, [0], LENGTH)
    assert short.size == 50 and not short.observed[50:].any() and not short.rows[:, 50:].any()
    assert short.values.shape == (LENGTH,) and short.rows.shape == (len(CHANNELS), LENGTH)


@pytest.mark.parametrize("scale", [1, 4, 7])
@pytest.mark.parametrize("holes", [False, True])
def test_windows_of_a_long_series_are_those_of_the_whole_of_it(scale: int, holes: bool) -> None:
    x = noise(9001)[:, 0]
    if holes:
        x[10:3000] = np.nan
        x[::3] = np.nan
    evidence = evidence_of(x)
    sheet = sheet_of(evidence, scale, EVERY)
    starts = window_starts(len(sheet.values), LENGTH, 24)
    assert len(starts) > TOGETHER
    for piece, start in zip(pieces(evidence, scale, EVERY, starts, LENGTH), starts, strict=True):
        whole = cut_piece(sheet, start, LENGTH)
        assert (piece.start, piece.size) == (start, whole.size)
        for name in ("values", "observed", "rows"):
            assert np.array_equal(getattr(piece, name), getattr(whole, name)), name


@pytest.mark.parametrize("scale", [1, 4, 64])
def test_a_figure_of_some_points_is_added_to_each_of_them(scale: int) -> None:
    total, figures = noise(130)[:, 0], noise(-(-130 // scale))[:, 0]
    expected = total + np.repeat(figures, scale)[:130]
    add_repeated(total, figures, scale)
    assert np.array_equal(total, expected)


# ---- scoring


def test_scores_are_probabilities_and_missing_or_constant_points_score_zero(weights: Path) -> None:
    x = noise(300)
    x[40:50] = np.nan
    (scores,) = detector(weights).score([make_series(x)])
    assert scores.shape == (300,) and scores.dtype == np.float64
    assert np.all(scores[40:50] == 0) and np.all((np.delete(scores, range(40, 50)) > 0) & (scores.max() < 1))
    for dull in (np.full(90, 2.5), np.full(90, np.nan), np.empty(0), np.ones(1)):
        assert np.all(detector(weights).score([make_series(dull)])[0] == 0)


def test_scores_depend_neither_on_company_nor_on_batch_size(weights: Path) -> None:
    many = [make_series(noise(n, n), f"P{n}") for n in (1, 5, 64, 65, 333, 1000)] + [make_series(noise(200, 7, 3))]
    together = detector(weights).score(many)
    for size in (1, 3, 100):
        for one, scores in zip(many, together, strict=True):
            assert np.allclose(detector(weights, batch_size=size).score([one])[0], scores, rtol=0, atol=1e-6)


def test_same_series_same_bits(weights: Path) -> None:
    one = make_series(noise(500))
    assert np.array_equal(detector(weights).score([one])[0], detector(weights).score([one])[0])


def test_scores_ignore_offset_and_unit(weights: Path) -> None:
    x = noise(500)
    plain, moved = detector(weights).score([make_series(x), make_series(x * 1e3 - 5e7)])
    assert np.allclose(plain, moved, atol=1e-4)
    for unit in (1e300, 1e-300):
        (scores,) = detector(weights).score([make_series(x * unit)])
        assert np.allclose(scores, plain, atol=1e-4)


def test_channels_combine_by_their_maximum(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.detectors.evidence.examined.cross_residuals", np.zeros_like)  # nothing of each other
    x = noise(200, 3, channels=3)
    x[:, 2] = 4.0  # a constant channel adds nothing
    (all_,) = detector(weights).score([make_series(x)])
    singles = [detector(weights).score([make_series(x[:, c])])[0] for c in (0, 1)]
    assert np.allclose(all_, np.maximum(*singles), atol=1e-6)


def test_of_many_channels_the_highest_eighth_counts() -> None:
    rows = [np.full(5, c / 40) for c in range(40)]
    assert np.allclose(combine_channels(rows, 40), np.mean([35, 36, 37, 38, 39]) / 40)
    assert np.allclose(combine_channels(rows[:15], 15), 14 / 40)
    assert np.allclose(combine_channels(rows[4:5], 40), 0.1 / 5)  # constant channels score 0
    assert np.allclose(combine_channels(rows[4:6], 40), (0.1 + 0.125) / 5)


def test_scales_are_averaged_as_probabilities(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, found = make_series(noise(500)), []
    for scales in ([1], [4], [8], [1, 4, 8]):
        monkeypatch.setattr("tsad.detectors.patch.detector.scales_for", lambda *_, chosen=scales: chosen)
        found.append(detector(weights).score([one])[0])
    assert np.allclose(found[3], np.mean(found[:3], axis=0)) and np.ptp(found[2][:8]) == 0


def test_evidence_reaches_the_network(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(300)
    told = detector(weights).score([make_series(x)])[0]

    def unknown(series: Series, *given: Any) -> Iterator[tuple[int, Evidence]]:
        for channel, evidence in channel_evidence(series, *given):
            evidence.rows[:] = 0
            yield channel, evidence

    monkeypatch.setattr("tsad.detectors.patch.detector.channel_evidence", unknown)
    assert np.abs(detector(weights).score([make_series(x)])[0] - told).max() > 1e-3


def test_blending_moves_the_log_odds_by_the_evidence(weights: Path) -> None:
    x = noise(300)
    x[200] += 30
    plain, half = (detector(weights, blend=b).score([make_series(x)])[0] for b in (0.0, 0.5))
    evidence = evidence_of(x[:, 0])
    told = sum(weight * evidence.row(name) for name, weight in FIRST.weights.items()) - FIRST.usual
    odds = np.log(plain / (1 - plain)) + 0.5 * told
    assert np.allclose(half, 1 / (1 + np.exp(-odds)), atol=1e-5) and half[200] > plain[200]
    sure = np.array([0.0, 1.0])
    blend_in(sure, evidence_of(np.zeros(2)), 1.0)
    assert np.isfinite(sure).all() and 0 < sure[0] < sure[1] < 1


def test_the_weights_name_their_blend() -> None:
    evidence = evidence_of(noise(300)[:, 0])
    rows = [evidence.row(name) for name in ("short_neighbour", "middle_neighbour", "neighbour")]
    told = 2 * rows[0] + evidence.row("energy") + 2 * np.max(rows, axis=0) - 3
    assert np.allclose(HIGHEST.told(evidence), told, atol=1e-5)
    assert {name: blend_for(name, 15) for name in BLENDS} == BLENDS and blend_for("highest", 16) is FIRST
    assert blend_for("features", 16) is BLENDS["features"] and set(BLENDS["features"].weights) <= set(SECOND_EDITION)
    evidence, scores = evidence_of(noise(300)[:, 0]), np.full(300, 0.25)
    blend_in(scores, evidence, 1.0, BLENDS["features"])
    expected = 0.5 * np.log(0.25 / 0.75) + BLENDS["features"].told(evidence)
    assert np.allclose(np.log(scores / (1 - scores)), expected, atol=1e-4), "the network counts half"
    balanced = BLENDS["balanced"]
    assert replace(balanced, network=0.5) == BLENDS["features"] and balanced.network > 0.5, "it tells more"
    from tsad.detectors.patch.configuration import PatchConfig

    assert PatchConfig().blend == "sum" and PatchConfig(blend="highest").to_dict()["blend"] == "highest"


def test_examined_scores_and_rows_are_those_of_each_series(weights: Path) -> None:
    many = [make_series(noise(90, 1)), make_series(np.ones(40)), make_series(noise(300, 2, 3)), make_series(np.ones(0))]
    base = detector(weights)
    for one, examined, scores in zip(many, base.examine(many), base.score(many), strict=True):
        assert np.array_equal(examined.scores, scores)
        assert np.array_equal(examined.rows, Examined.plain(one, scores).rows)
        assert examined.rows.shape == (len(CHANNELS), len(one))
    assert [e.scores.tolist() for e in base.examine([])] == []


def test_batches_stay_small_however_long_the_series(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tsad.detectors.patch.model import PatchModel

    sizes, plain = [], PatchModel.forward
    monkeypatch.setattr(PatchModel, "forward", lambda self, **kw: sizes.append(len(kw["values"])) or plain(self, **kw))
    detector(weights, batch_size=5).score([make_series(noise(3000))])
    assert max(sizes) == 5 and sum(sizes) == 93 + 23 + 1  # every point, four as one, all in one window


def test_nothing_is_fetched_from_the_network(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = make_adapter(weights, tmp_path / "adapter")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    detector(weights).with_adapter(adapter).score([make_series(noise(100))])


# ---- options and weights


def test_it_is_rebuilt_from_its_description(weights: Path) -> None:
    config = json.loads(json.dumps(detector(weights).describe()))
    assert config.pop("_target_") == "tsad.detectors.patch.detector.PatchDetector"
    assert PatchDetector(**config).config_hash == detector(weights).config_hash
    assert isinstance(detector(weights), Trainable) and PatchDetector.trainable


def test_base_reference_names_the_file(weights: Path) -> None:
    reference = detector(weights).base_reference()
    digest = digest_of_file(weights / "model.safetensors")
    assert reference == {"id": "tsad/patch", "path": str(weights), "sha256": digest}


WRONG: list[dict] = [{"batch_size": 0}, {"stride": 0}, {"blend": -0.1}, {"blend": float("nan")}]


@pytest.mark.parametrize("wrong", WRONG)
def test_impossible_options_are_refused(weights: Path, wrong: dict) -> None:
    with pytest.raises(DetectorError, match=next(iter(wrong))):
        detector(weights, **wrong)


def test_devices_are_never_swapped_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(DetectorError, match="no CUDA device"):
        resolve_device("cuda")
    with pytest.raises(DetectorError, match="device=tpu"):
        resolve_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_missing_weights_are_named_at_once(weights: Path, tmp_path: Path, name: str) -> None:
    folder = copy_of(weights, tmp_path / "copy")
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=rf"{name} is missing.*tsad pretrain"):
        detector(folder)


def test_damaged_weights_are_named(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of(weights, tmp_path / "copy")
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be loaded"):
        detector(folder).network()
    file.write_bytes(whole)
    tensors = load_file(file)
    tensors.pop("head.bias")
    save_file(tensors, file)
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be loaded"):
        detector(folder).network()
    (folder / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"config\.json describes"):
        detector(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json is corrupted"):
        detector(folder)


def test_transformers_reads_and_writes_the_same_network(weights: Path, tmp_path: Path) -> None:
    import torch

    from tsad.detectors.patch.model import PatchModel

    model = PatchModel.from_pretrained(str(weights), local_files_only=True).eval()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    values = torch.from_numpy(noise(2 * LENGTH)[:, 0].reshape(2, LENGTH).astype(np.float32))
    with torch.inference_mode():
        first = load_base(weights)(values=values).logits
        second = PatchModel.from_pretrained(str(tmp_path), local_files_only=True).eval()(values=values).logits
    assert torch.equal(first, second)


# ---- adapters


def test_an_adapter_changes_scores_and_a_zero_one_does_not(weights: Path, tmp_path: Path) -> None:
    base, one = detector(weights), [make_series(noise(300))]
    adapted = base.with_adapter(make_adapter(weights, tmp_path / "a"))
    plain = base.score(one)[0]
    assert np.abs(adapted.score(one)[0] - plain).max() > 1e-3
    assert np.array_equal(adapted.with_adapter(None).score(one)[0], plain)
    zeroed = base.with_adapter(make_adapter(weights, tmp_path / "z", zero=True))
    assert np.array_equal(zeroed.score(one)[0], plain)
    assert np.array_equal(base.score(one)[0], plain)


def test_adapted_scores_equal_those_of_peft(weights: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    folder = make_adapter(weights, tmp_path / "a")
    wrapped = PeftModel.from_pretrained(load_base(weights), str(folder)).eval()
    evidence = evidence_of(noise(LENGTH)[:, 0])
    inputs = {"values": torch.from_numpy(evidence.values)[None], "evidence": torch.from_numpy(evidence.rows)[None]}
    with torch.inference_mode():
        logits = wrapped(**inputs).logits[0].numpy()
    adapted = detector(weights).with_adapter(folder)
    (scores,) = adapted.score([make_series(noise(LENGTH))])
    assert np.allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_unusable_adapters_are_named(weights: Path, tmp_path: Path) -> None:
    good = make_adapter(weights, tmp_path / "good")
    base = detector(weights)
    with pytest.raises(WeightsError, match=r"nowhere is missing"):
        base.with_adapter(tmp_path / "nowhere")
    cut = copy_of(good, tmp_path / "cut")
    file = cut / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"adapter_model\.safetensors is corrupted"):
        base.with_adapter(cut)
    file.write_bytes(b"junk")
    with pytest.raises(WeightsError, match=r"adapter_model\.safetensors is corrupted"):
        base.with_adapter(cut)
    file.rename(cut / "adapter_model.bin")
    with pytest.raises(WeightsError, match=r"adapter_model\.bin may hold pickled code"):
        base.with_adapter(cut)
    (cut / "adapter_model.bin").unlink()
    with pytest.raises(WeightsError, match=r"adapter_model\.safetensors is missing"):
        base.with_adapter(cut)


def test_a_flipped_bit_or_a_foreign_or_infinite_adapter_is_refused(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    good = make_adapter(weights, tmp_path / "good")
    base = detector(weights)
    flipped = copy_of(good, tmp_path / "flipped")
    file = flipped / "adapter_model.safetensors"
    both = (file, flipped / "adapter_config.json")
    (flipped / "adapter.sha256").write_text("".join(f"{digest_of_file(path)}  {path.name}\n" for path in both))
    base.with_adapter(flipped)
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(WeightsError, match="SHA-256"):
        base.with_adapter(flipped)
    tensors = load_file(good / "adapter_model.safetensors")
    first = sorted(tensors)[0]
    for change, words in (("drop", "does not fit"), ("shape", "does not fit"), ("infinite", "not finite")):
        odd = copy_of(good, tmp_path / change)
        other = dict(tensors)
        if change == "drop":
            other.pop(first)
        else:
            other[first] = tensors[first][:1].clone() if change == "shape" else tensors[first] * float("inf")
        save_file(other, odd / "adapter_model.safetensors")
        with pytest.raises(WeightsError, match=words):
            base.with_adapter(odd)


# ---- training


def test_encode_sees_what_scoring_sees(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example is bit for bit a window that scoring could cut from the same series."""
    series = make_series(noise(900))
    evidence = evidence_of(series.values[:, 0])
    monkeypatch.setattr(examples, "scales_for", lambda *_: [1, 4])
    window, mask = Window(series, 400, 432), np.zeros(32, bool)
    mask[5:9] = True
    found = set()
    for seed in range(30):
        made = examples.from_window(window, mask, [evidence], np.random.default_rng(seed), length=LENGTH, seen=EVERY)
        inside = np.flatnonzero(made.weight)
        scale = 32 // len(inside)
        found.add(scale)
        assert np.array_equal(made.labels[inside], shrink_flags(mask, scale))
        same = cut_piece(sheet_of(evidence, scale, EVERY), 400 // scale - int(inside[0]), LENGTH)
        assert np.array_equal(made.values, same.values) and np.array_equal(made.rows, same.rows)
    assert found == {1, 4}


def test_what_is_missing_is_not_judged(weights: Path) -> None:
    x = noise(64)[:, 0]
    x[10:30] = np.nan
    batch = encoded(detector(weights), [Window(make_series(x), 0, 64)], [np.ones(64, bool)], np.random.default_rng(0))
    assert batch["weight"][0].tolist() == (~np.isnan(x)).tolist() == batch["observed"][0].tolist()


@pytest.mark.parametrize(("total", "start", "stop"), [(20, 0, 20), (64, 10, 30), (70, 40, 70), (500, 100, 300)])
def test_examples_fit_any_window(weights: Path, total: int, start: int, stop: int) -> None:
    window = Window(make_series(noise(total, 1, 2)), start, stop)
    mask = np.zeros(stop - start, bool)
    mask[3:6] = True
    for truth in (mask, np.zeros_like(mask)):
        batch = encoded(detector(weights), [window] * 6, [truth] * 6, np.random.default_rng(0))
        rows = {"evidence": (6, len(CHANNELS), LENGTH)}
        assert {k: tuple(v.shape) for k, v in batch.items()} == rows | dict.fromkeys(
            ("values", "observed", "labels", "weight"), (6, LENGTH)
        )
        judged = batch["weight"].numpy() > 0
        assert judged.any(axis=1).all() and not (batch["labels"].numpy() & ~judged).any()


def test_people_label_machines_so_the_telling_channel_trains(weights: Path) -> None:
    values = noise(200, 0, channels=4)
    values[100:104, 2] += 30
    window, mask = Window(make_series(values), 80, 112), np.zeros(32, bool)
    mask[20:24] = True
    evidence: list = [evidence_of(v) for v in values.T]
    assert examples._telling_channel(window, mask, evidence, [0, 1, 2, 3]) == 2
    assert examples._telling_channel(window, mask, [None, evidence[1], None, evidence[3]], [1, 3]) in (1, 3)
    batch = encoded(detector(weights), [Window(make_series(np.ones(80)), 0, 32)], [mask], np.random.default_rng(0))
    assert not batch["weight"].any()  # a constant series teaches nothing


def test_the_loss_looks_at_reviewed_points_only(weights: Path) -> None:
    import torch

    base = detector(weights)
    batch = base.collate(base.replay(4, np.random.default_rng(0)))
    assert set(batch) == {"values", "observed", "labels", "weight", "evidence"}
    batch["weight"][:, :32] = 0
    network = base.network()
    loss = network(**batch).loss
    batch["labels"][:, :32] = ~batch["labels"][:, :32]
    assert torch.equal(loss, network(**batch).loss) and bool(torch.isfinite(loss))
    batch["weight"][:] = 0
    assert float(network(**batch).loss.detach()) == 0.0


def test_networks_are_fresh_copies(weights: Path) -> None:
    import torch

    base = detector(weights)
    with torch.no_grad():
        base.network().head.bias.add_(5.0)
    assert float(base.network().head.bias.detach()) == 0.0


def test_lora_finds_every_linear_layer_by_name(weights: Path) -> None:
    from torch import nn

    names = {n.rpartition(".")[2] for n, m in load_base(weights).blocks.named_modules() if isinstance(m, nn.Linear)}
    assert names == set(LINEARS)


def test_a_few_steps_learn_a_reviewed_pattern(weights: Path) -> None:
    import torch

    values = noise(400)
    values[200:210] += 6
    window, mask = Window(make_series(values), 190, 222), np.zeros(32, bool)
    mask[10:20] = True
    base, rng = detector(weights), np.random.default_rng(0)
    network = base.network().train()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = network(**encoded(base, [window] * 4, [mask] * 4, rng)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])


# ---- what ships


def test_a_registered_version_finds_the_shipped_base_it_was_made_on(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    newest = PatchDetector(weights="", batch_size=4, device="cpu", stride=32, blend=0.0)
    earlier = detector(weights)
    series = make_series(noise(300)[:, 0])
    monkeypatch.setattr(detector_module, "EARLIER", (weights,))
    found = newest.on_base(earlier.base_reference())
    assert found.base_reference()["sha256"] == earlier.base_reference()["sha256"]
    assert np.array_equal(found.score([series])[0], earlier.score([series])[0])
    assert found.describe() == newest.describe() and found.config_hash == newest.config_hash, "it stays what it was"
    assert newest.on_base(newest.base_reference()) is newest
    assert newest.on_base({"sha256": "0" * 64}) is newest, "weights that nobody has are named by check_base"
    assert earlier.on_base(newest.base_reference()) is earlier, "weights that were asked for are not exchanged"


def test_versions_of_every_edition_find_their_base() -> None:
    newest = PatchDetector(weights="", batch_size=4, device="cpu", stride=896, blend=1.0)
    assert [folder.name for folder in EARLIER] == ["first_edition", "second_edition"]
    known = {newest.base_reference()["sha256"]}
    for folder in EARLIER:
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        earlier = newest.on_base({"sha256": digest})
        assert earlier.folder == folder and (folder / "MODEL_CARD.md").is_file()
        known.add(earlier.base_reference()["sha256"])
    assert len(known) == 1 + len(EARLIER), "each has weights of its own"
    begun_from = json.loads((SHIPPED / "config.json").read_text())["recipe"]["start"]
    assert begun_from in known, "those it was trained further from ship, too"


def test_shipped_weights_find_what_anybody_sees() -> None:
    x = np.sin(np.arange(3000) * 2 * np.pi / 60) + 0.1 * noise(3000)[:, 0]
    x[1500:1510] += 4.0
    base = PatchDetector(weights="", batch_size=16, device="cpu", stride=896, blend=1.0)
    (scores,) = base.score([make_series(x)])
    assert scores[1500:1510].max() > 5 * np.median(scores) and 1495 <= int(scores.argmax()) < 1515
    config = json.loads((SHIPPED / "config.json").read_text())
    assert config["recipe"]["step"] > 0 and 1.0e6 < sum(p.numel() for p in base.network().parameters()) < 1.5e6


def test_rows_that_only_the_first_edition_reads_cost_nothing_under_the_second() -> None:
    first, second = crops.Seen(1024, FIRST_EDITION), crops.Seen(1024, SECOND_EDITION)
    assert first.needed == CHANNELS, "proposals are made of the newer rows too"
    assert second.needed == SECOND_EDITION == crops.Seen(1024, ()).needed and crops.Seen(1024).needed == CHANNELS
    shipped = load_base(SHIPPED).config.evidence
    assert set(crops.Seen(1024, tuple(shipped)).needed) >= set(shipped)
