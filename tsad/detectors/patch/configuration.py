"""Shape of the patch network."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

USUAL: dict[str, Any] = {
    "length": 1024, "patch": 32, "evidence": (), "hidden_size": 128, "layers": 4, "heads": 4, "intermediate_size": 344,
    "point_size": 32, "kinds": 20, "stem": (5, 3), "embeds_inputs": True, "believes": False, "blend": "sum",
}  # fmt: skip


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
        stem: points that the two convolutions of the stem see at once.
        embeds_inputs: whether tokens see inputs beside what the stem makes of them, as in the first edition.
        believes: whether the network weighs each row of evidence at each point and adds them to the logits.
        blend: which sum of evidence (``blends.BLENDS``) the score adds to the network's log odds.
    """

    model_type = "tsad_patch"

    length: int
    patch: int
    evidence: list[str]
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    point_size: int
    kinds: int
    stem: list[int]
    embeds_inputs: bool
    believes: bool
    blend: str

    def __init__(self, **given: Any) -> None:
        shape = {name: given.pop(name, usual) for name, usual in USUAL.items()}
        for name, value in shape.items():
            setattr(self, name, value)
        self.evidence, self.stem = list(shape["evidence"]), list(shape["stem"])
        super().__init__(**given)
