"""Shape of the patch network."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class PatchConfig(PretrainedConfig):
    """What ``config.json`` beside the weights says; every size is in points, channels or layers.

    Args:
        length: points per network window, a multiple of ``patch``.
        patch: points per token.
        margin: points on either side of a network window that set its level and scale too (see ``windows.py``).
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
        patch: int = 16,
        margin: int = 512,
        hidden_size: int = 128,
        layers: int = 6,
        heads: int = 4,
        intermediate_size: int = 344,
        point_size: int = 32,
        kinds: int = 19,
        **kwargs: Any,
    ) -> None:
        self.length, self.patch, self.margin = length, patch, margin
        self.hidden_size, self.layers, self.heads = hidden_size, layers, heads
        self.intermediate_size, self.point_size, self.kinds = intermediate_size, point_size, kinds
        super().__init__(**kwargs)
