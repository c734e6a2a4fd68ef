"""The patch network: values of a window and the evidence of its series in, one logit per point out.

A convolutional stem reads points, a transformer reads patches of 32 points, and a convolutional decoder puts both
together, so that edges stay sharp and context is 1,024 points; what lies beyond them comes in as evidence. Linear
layers carry the names that Llama and Qwen use: one LoRA target list serves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from tsad.detectors.evidence.channels import UNIT
from tsad.detectors.patch.configuration import PatchConfig
from tsad.detectors.patch.loss import Truth, segmentation_loss

FEATURES = 4  # channels that :func:`features` makes of a window
PRIOR_LOGIT = -3.0  # an untrained network calls about 5% of the points abnormal


@dataclass
class PatchOutput(ModelOutput):
    """``loss`` scalar; ``logits`` [B, L]; ``kind_logits`` [B, L / patch, kinds]; ``expected`` [B, L] normal values."""

    loss: Tensor | None = None
    logits: Tensor = None  # type: ignore[assignment]  # ModelOutput wants a default
    kind_logits: Tensor = None  # type: ignore[assignment]
    expected: Tensor = None  # type: ignore[assignment]


class Read(NamedTuple):
    """Windows as the decoder takes them: tokens [B, T, D], points [B, P, L], evidence [B, E, L]; level and spread."""

    tokens: Tensor
    points: Tensor
    rows: Tensor
    level: Tensor
    spread: Tensor


class RMSNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich 2019, arXiv 1910.07467, equation 4)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-6)


class Attention(nn.Module):
    """Self-attention over tokens with rotary positions (Su et al. 2021, arXiv 2104.09864). [B, T, D] -> [B, T, D]."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.heads
        self.q_proj = nn.Linear(size, size, bias=False)
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size, bias=False)
        self.o_proj = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        batch, tokens, size = x.shape
        query, key, value = (
            layer(x).view(batch, tokens, self.heads, size // self.heads).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(rotate(query, turn), rotate(key, turn), value, attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, tokens, size))


class FeedForward(nn.Module):
    """Gated feed-forward layer, SwiGLU (Shazeer 2020, arXiv 2002.05202). [B, T, D] -> [B, T, D]."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Tokens [B, T, D] and points [B, P, L] -> [B, P, L]; trained in full beside LoRA (``modules_to_save``)."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        self.patch, self.size = config.patch, config.point_size
        self.unpatch = nn.Linear(config.hidden_size, config.patch * config.point_size)
        self.mix = nn.Conv1d(2 * config.point_size, config.point_size, 3, padding=1)

    def forward(self, tokens: Tensor, points: Tensor) -> Tensor:
        wide = self.unpatch(tokens).view(len(tokens), -1, self.size).transpose(1, 2)
        return F.silu(self.mix(torch.cat((wide, points), 1)))


class PatchModel(PreTrainedModel):
    """Per-point anomaly logits of windows of one channel; see :meth:`forward`."""

    config_class = PatchConfig
    base_model_prefix = "patch"
    main_input_name = "values"

    def __init__(self, config: PatchConfig) -> None:
        super().__init__(config)
        size = config.point_size
        inputs = FEATURES + len(config.evidence)
        first, second = config.stem
        self.stem = nn.Sequential(
            nn.Conv1d(inputs, size, first, padding=first // 2), nn.SiLU(),
            nn.Conv1d(size, size, second, padding=second // 2), nn.SiLU(),
        )  # fmt: skip
        embedded = size + inputs if config.embeds_inputs else size
        self.embed = nn.Conv1d(embedded, config.hidden_size, config.patch, stride=config.patch)
        self.blocks = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.norm = RMSNorm(config.hidden_size)
        self.decoder = Decoder(config)
        self.head = nn.Conv1d(size, 1, 1)
        believed = len(config.evidence) if config.believes else 0
        self.belief = nn.Conv1d(size, believed, 1) if believed else None
        self.restore = nn.Conv1d(size, 1, 1)
        self.kind = nn.Linear(config.hidden_size, config.kinds)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Small normal weights for linear layers; convolutions keep torch's own; the head starts at the prior."""
        if isinstance(module, nn.Linear) and not getattr(module.weight, "_is_hf_initialized", False):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        bias = self.head.bias
        if module is self.head and bias is not None and not getattr(bias, "_is_hf_initialized", False):
            nn.init.constant_(bias, PRIOR_LOGIT)

    def forward(
        self,
        values: Tensor,
        observed: Tensor | None = None,
        evidence: Tensor | None = None,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
        **more: Any,
    ) -> PatchOutput:
        """Logits, and the loss where ``labels`` are given.

        Args:
            values: [B, L] float, one channel each, as ``windows.cut_piece`` makes them; L a multiple of ``patch``.
            observed: [B, L] bool, false where a value was filled in or lies beyond the series; ``None`` = all true.
            evidence: [B, E, L] int16 or float, the rows that ``config.evidence`` names; ``None`` = nothing is known.
            labels: [B, L] true where abnormal.
            weight: [B, L] >= 0, what each point counts in the loss; 0 outside the reviewed window.
            more: in pre-training ``kinds``, [B, L] int, kind of anomaly, 0 = normal: adds the loss of the kind head;
                and ``clean``, [B, L] float, the values without their anomalies: adds the loss of the restoring head.
        """
        read = self._read(values, observed, evidence)
        tokens, points, rows = read.tokens, read.points, read.rows
        decoded = self.decoder(tokens, points)
        logits = self.head(decoded).squeeze(1)
        if self.belief is not None:
            logits = logits + (self.belief(decoded) * rows).sum(1)
        out = PatchOutput(
            logits=logits,
            kind_logits=self.kind(tokens),
            expected=self.restore(decoded).squeeze(1),
        )
        if labels is not None:
            clean = more.get("clean")
            target = None if clean is None else torch.asinh((clean - read.level) / read.spread)
            truth = Truth(labels, weight, more.get("kinds"), target)
            out.loss = segmentation_loss(out.logits, out.kind_logits, out.expected, truth)
        return out

    def hidden(self, values: Tensor, observed: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states of the last layer [B, T, D], and which tokens hold an observed point [B, T] bool."""
        held = observed.view(len(observed), -1, self.config.patch).any(-1)
        return self._read(values, observed, evidence).tokens, held

    def _read(self, values: Tensor, observed: Tensor | None, evidence: Tensor | None) -> Read:
        """Stem and transformer over windows; see :meth:`forward`."""
        seen = torch.ones_like(values) if observed is None else observed.to(values.dtype)
        inputs, level, spread = features(values, seen)
        rows = self._evidence(evidence, inputs)
        inputs = torch.cat((inputs, rows), 1)
        points = self.stem(inputs)
        tokens = self.embed(torch.cat((points, inputs), 1) if self.config.embeds_inputs else points).transpose(1, 2)
        turn = rotary(tokens.shape[1], self.config.hidden_size // self.config.heads, tokens)
        mask = self._token_mask(seen)
        for block in self.blocks:
            tokens = block(tokens, turn, mask)
        return Read(self.norm(tokens), points, rows, level, spread)

    def _evidence(self, evidence: Tensor | None, like: Tensor) -> Tensor:
        if evidence is None:
            return like.new_zeros(len(like), len(self.config.evidence), like.shape[2])
        return evidence.to(like.dtype) * UNIT if evidence.dtype == torch.int16 else evidence.to(like.dtype)

    def _token_mask(self, seen: Tensor) -> Tensor:
        """[B, 1, 1, T] true where a token holds an observed point; all true where none does. Kept even where nothing
        is missing, so that a window's logits do not depend on its neighbours in the batch."""
        held = seen.view(len(seen), -1, self.config.patch).amax(-1) > 0
        return (held | ~held.any(1, keepdim=True))[:, None, None, :]


def features(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Four views of the values of each window, [B, 4, L], with the window's level and spread, [B, 1] each.

    asinh of: the z-score within the window, the difference over its usual size there, and the value as it came
    (relative to the series); then the flag of what was observed. Statistics are those of observed points.
    """
    count = seen.sum(1, keepdim=True).clamp(min=1)
    level = (values * seen).sum(1, keepdim=True) / count
    spread = (((values - level) * seen).square().sum(1, keepdim=True) / count).sqrt()
    spread = spread.clamp(min=0.02) + 1e-6  # a flat window in a lively series stays flat
    step = F.pad(values[:, 1:] - values[:, :-1], (1, 0))
    usual = (step.abs() * seen).sum(1, keepdim=True) / count + 0.02 * spread
    views = torch.stack(((values - level) / spread, step / usual, values), 1)
    return torch.cat((torch.asinh(views) * seen[:, None], seen[:, None]), 1), level, spread


def rotary(tokens: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, [T, size / 2] each."""
    half = size // 2
    speed = 1000.0 ** (-torch.arange(half, dtype=torch.float32, device=like.device) / half)
    angle = torch.arange(tokens, dtype=torch.float32, device=like.device)[:, None] * speed
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs of channels by the token's position. [B, H, T, D] -> the same."""
    cos, sin = turn
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
