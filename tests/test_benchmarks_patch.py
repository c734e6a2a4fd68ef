"""Means of weights, other scales and other engines: what the card of ``patch`` is printed from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.average import mean_of, write
from benchmarks.engines import Inputs, Logits, by_torch, eight_bits, measured
from benchmarks.variants import scales_named
from tsad.detectors.patch.loading import SHIPPED, load_base
from tsad.detectors.patch.windows import scales_for
from tsad.files.hashing import digest_of_file

EDITIONS = [SHIPPED / "second_edition", SHIPPED]


def test_the_mean_of_weights_is_written_as_a_base_that_says_what_it_is_of(tmp_path: Path) -> None:
    first, second = (load_base(folder).state_dict() for folder in EDITIONS)
    write(mean_of([load_base(folder) for folder in EDITIONS]), EDITIONS, tmp_path)
    mean = load_base(tmp_path).state_dict()
    for name, weights in mean.items():
        assert torch.allclose(weights, (first[name] + second[name]) / 2, atol=2e-3, rtol=1e-3), name
    recipe = json.loads((tmp_path / "config.json").read_text())["recipe"]
    assert recipe["mean_of"] == [digest_of_file(folder / "model.safetensors") for folder in EDITIONS]


def test_networks_of_other_shapes_have_no_mean() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        mean_of([load_base(SHIPPED), load_base(SHIPPED / "first_edition")])


def test_scales_are_named_as_they_are_taken() -> None:
    for total in (5, 1024, 1025, 3000, 9000, 70_000, 10**6):
        assert scales_named("1,4,fit")(total, 1024) == scales_for(total, 1024)
    assert scales_named("1,4,16,fit")(10**6, 1024) == [1, 4, 16, 64] and scales_named("fit")(9000, 1024) == [9]


def test_other_engines_answer_for_the_same_windows() -> None:
    network = load_base(SHIPPED)
    rng, length = np.random.default_rng(0), network.config.length
    values = torch.from_numpy(rng.standard_normal((3, length)).astype(np.float32))
    rows = torch.zeros((3, len(network.config.evidence), length), dtype=torch.int16)
    batches: list[Inputs] = [(values, torch.ones((3, length), dtype=torch.bool), rows)]
    module = Logits(network)
    plain, rate = measured(by_torch(module), batches, 1)
    assert plain.shape == (3, length) and rate > 0
    for answer, away in ((by_torch(module, torch.bfloat16), 0.5), (eight_bits(module), 3.0)):
        other, _ = measured(answer, batches, 1)
        assert 0 < np.abs(other - plain).max() < away, "near, and computed in another way"
