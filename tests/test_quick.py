"""Layers by oneDNN: the same names, nearly the same logits, whatever stands beside a window in the batch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tsad.detectors.patch import quick as rules
from tsad.detectors.patch.loading import SHIPPED, load_base
from tsad.detectors.patch.model import PatchModel
from tsad.detectors.patch.quick import QuickConv, QuickLinear, quick, suits

WINDOWS = 9


def inputs(network: PatchModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values with gaps, which of them were observed, and evidence as it is stored."""
    rng, length = np.random.default_rng(5), network.config.length
    observed = torch.from_numpy(rng.random((WINDOWS, length)) > 0.1)
    values = rng.standard_normal((WINDOWS, length)).astype(np.float32)
    evidence = rng.integers(-2000, 2000, (WINDOWS, len(network.config.evidence), length)).astype(np.int16)
    return torch.from_numpy(values), observed, torch.from_numpy(evidence)


@pytest.fixture(scope="module")
def shipped() -> PatchModel:
    return load_base(SHIPPED)


def test_logits_kinds_and_restored_values_stay(shipped: PatchModel) -> None:
    fast, given = quick(copy.deepcopy(shipped)), inputs(shipped)
    assert suits(shipped) and not any(isinstance(one, torch.nn.Linear | torch.nn.Conv1d) for one in fast.modules())
    with torch.inference_mode():
        first, second = shipped(*given), fast(*given)
    for name in ("logits", "kind_logits", "expected"):
        assert torch.allclose(getattr(first, name), getattr(second, name), atol=1e-4), name
    assert first.logits.std() > 0.1


def test_a_window_has_the_same_bits_alone_and_in_company(shipped: PatchModel) -> None:
    fast, (values, observed, evidence) = quick(copy.deepcopy(shipped)), inputs(shipped)
    with torch.inference_mode():
        together = fast(values, observed, evidence).logits
        for size in (1, 2, 5):
            parts = [slice(at, at + size) for at in range(0, WINDOWS, size)]
            apart = torch.cat([fast(values[p], observed[p], evidence[p]).logits for p in parts])
            assert torch.equal(together, apart), size


def test_weights_keep_names_and_bits(shipped: PatchModel) -> None:
    before, after = shipped.state_dict(), quick(copy.deepcopy(shipped)).state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("lacks", ["processor", "library", "precision"])
def test_where_onednn_does_not_suit_the_network_stays(
    shipped: PatchModel, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = copy.deepcopy(shipped)
    if lacks == "processor":
        monkeypatch.setattr(rules.platform, "machine", lambda: "arm64")
    elif lacks == "library":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    else:
        network = network.to(torch.bfloat16)
    assert quick(network) is network and not any(isinstance(m, QuickLinear | QuickConv) for m in network.modules())
