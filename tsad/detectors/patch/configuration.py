"""Shape of the patch network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PretrainedConfig


class PatchConfig(PretrainedConfig):
    """What ``config.json`` beside the weights says; every size is in points, channels or layers.

    Args:
        length: points per network window, a multiple of ``patch``.
        patch: points per token.
        evidence: rows of the whole series' evidence that go in beside the values, by name (``evidence.channels``).
        hidden_size: width of a token.
        layers: transformer layers.
        heads: attention heads; ``hidden_size / heads`` must be even.
        intermediate_size: width of the gated feed-forward layer.
        point_size: channels per point in stem and decoder.
        kinds: kinds of anomaly told apart in pre-training, 0 = normal included.
    """

    model_type = "tsad_patch"

    def __init__(
        self,
        length: int = 1024,
        patch: int = 32,
        evidence: Sequence[str] = (),
        hidden_size: int = 128,
        layers: int = 4,
        heads: int = 4,
        intermediate_size: int = 344,
        point_size: int = 32,
        kinds: int = 20,
        **kwargs: Any,
    ) -> None:
        self.length, self.patch, self.evidence = length, patch, list(evidence)
        self.hidden_size, self.layers, self.heads = hidden_size, layers, heads
        self.intermediate_size, self.point_size, self.kinds = intermediate_size, point_size, kinds
        super().__init__(**kwargs)
