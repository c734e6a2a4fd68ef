"""ChatTS on current transformers: the plain Qwen2, Qwen3 and Llama classes behind a series encoder, no remote code.

Names in the state dict are those of the published checkpoints: ``model.*``, ``lm_head.weight`` and ``ts_encoder.*``.
Source of the architecture: NetManAIOps/ChatTS, arXiv 2412.03104.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from tsad.core.errors import DetectorError, WeightsError
from tsad.detectors.llm.loss import answer_loss


class TimeSeriesEncoder(nn.Module):
    """Patches of values with a position embedding per value -> MLP -> hidden size of the language model.

    The tail of a series is padded with its last value, and its positions with a reserved one. All series of a batch go
    through at once; equal to the published loop over them.

    Args:
        ts: ``patch_size``, ``num_layers``, ``embedding_dim``, ``hidden_size`` and ``max_sequence_length`` (older:
            ``max_length``) as the checkpoint's config has them.

    Raises:
        WeightsError: a variant of the encoder that is not known.
    """

    def __init__(self, ts: dict[str, Any]) -> None:
        super().__init__()
        if ts.get("use_position_idx") or not ts.get("use_position_embedding", True):
            raise WeightsError(
                "ChatTS: the checkpoint's encoder has no position embeddings (ts.use_position_embedding=false)",
                "Only checkpoints with position embeddings are known: ChatTS-8B and ChatTS-14B have them.",
            )
        self.patch, width = int(ts["patch_size"]), int(ts["hidden_size"])
        self.longest = int(ts.get("max_sequence_length") or ts["max_length"])
        embedding = int(ts.get("embedding_dim", 16))
        self.position_embedding = nn.Embedding(self.longest + 1, embedding)
        sizes = [self.patch * (1 + embedding)] + [width] * int(ts["num_layers"])
        layers: list[nn.Module] = []
        for number, (a, b) in enumerate(itertools.pairwise(sizes)):
            layers += ([nn.GELU()] if number else []) + [nn.Linear(a, b)]
        self.mlp = nn.Sequential(*layers)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """[N, L, 2] values with validity mask -> [patches of all series in order, hidden]."""
        lengths = series[..., 1].long().sum(1)
        counts = (lengths + self.patch - 1) // self.patch
        room = int(counts.max()) * self.patch
        at = torch.arange(room, device=series.device)
        index = torch.minimum(at[None], (lengths - 1).clamp(min=0)[:, None])
        values = series[..., 0].gather(1, index)
        where = self.position_embedding(torch.where(at[None] < lengths[:, None], at[None], self.longest))
        n, p = len(series), room // self.patch
        rows = torch.cat([values.view(n, p, -1).to(where.dtype), where.view(n, p, -1)], -1)
        used = torch.arange(p, device=series.device)[None] < counts[:, None]
        return self.mlp(rows[used])


class ChatTSModel:
    """Mixed into a causal language model: encodes the series once, at prefill, in place of its placeholder tokens."""

    config: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        self.ts_encoder = TimeSeriesEncoder({**config.ts, "hidden_size": config.hidden_size})
        self.post_init()  # type: ignore[attr-defined]

    def merged(self, input_ids: torch.Tensor, timeseries: torch.Tensor) -> torch.Tensor:
        """[B, S, H] embeddings of the tokens, those of the placeholders replaced by patches in order.

        Raises:
            DetectorError: another number of placeholders than of patches.
        """
        embeds = self.get_input_embeddings()(input_ids)  # type: ignore[attr-defined]
        patches = self.ts_encoder(timeseries)
        places = input_ids == self.config.ts_token_start_index
        if int(places.sum()) != len(patches):
            raise DetectorError(
                f"ChatTS: {int(places.sum())} placeholders in the text, {len(patches)} patches of series",
                "The prompt and the series do not belong together: read both by the same reader.",
            )
        return embeds.masked_scatter(places[..., None], patches.to(embeds.dtype))

    def forward(
        self, input_ids: Any = None, attention_mask: Any = None, timeseries: Any = None, labels: Any = None,
        logits_to_keep: Any = 0, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """As the backbone's; ``timeseries`` [series of the batch, L, 2]. With labels, logits are made of the positions
        that are taught alone, and only the loss comes back."""
        # attention_mask and logits_to_keep by name: generate looks for them in this signature
        kwargs |= {"attention_mask": attention_mask}
        if timeseries is not None and kwargs.get("inputs_embeds") is None:
            kwargs["inputs_embeds"], input_ids = self.merged(input_ids, timeseries), None
        if labels is None:
            return super().forward(  # type: ignore[misc]
                input_ids=input_ids, logits_to_keep=logits_to_keep, **kwargs
            )
        kwargs |= {"use_cache": False}
        hidden = self.model(  # type: ignore[attr-defined]
            input_ids=input_ids, **kwargs
        )[0]
        return CausalLMOutputWithPast(loss=answer_loss(self.lm_head, hidden, labels))  # type: ignore[attr-defined]

    def prepare_inputs_for_generation(
        self, input_ids: Any, timeseries: Any = None, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """The series goes in at the first step alone: afterwards its patches are in the cache, where there is one."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(  # type: ignore[misc]
            input_ids, is_first_iteration=is_first_iteration, **kwargs
        )
        if is_first_iteration or not kwargs.get("use_cache", True):
            inputs["timeseries"] = timeseries
        return inputs


class Qwen2TSConfig(Qwen2Config):
    """Qwen2 with the keys of the series encoder."""

    model_type = "chatts_qwen2"
    ts: dict | None = None
    ts_token_start_index: int = 151665  # overwritten by the checkpoint's own
    ts_token_end_index: int = 151666


class Qwen3TSConfig(Qwen3Config):
    """Qwen3 with the keys of the series encoder."""

    model_type = "chatts_qwen3"
    ts: dict | None = None
    ts_token_start_index: int = 151669
    ts_token_end_index: int = 151670


class LlamaTSConfig(LlamaConfig):
    """Llama with the keys of the series encoder."""

    model_type = "chatts_llama"
    ts: dict | None = None
    ts_token_start_index: int = 0
    ts_token_end_index: int = 0


class Qwen2TSForCausalLM(ChatTSModel, Qwen2ForCausalLM):  # type: ignore[misc]
    """ChatTS on Qwen2 and Qwen2.5: the published ChatTS-14B."""

    config_class = Qwen2TSConfig


class Qwen3TSForCausalLM(ChatTSModel, Qwen3ForCausalLM):  # type: ignore[misc]
    """ChatTS on Qwen3: the published ChatTS-8B."""

    config_class = Qwen3TSConfig


class LlamaTSForCausalLM(ChatTSModel, LlamaForCausalLM):  # type: ignore[misc]
    """ChatTS on Llama: what small models with these layers take."""

    config_class = LlamaTSConfig


BACKBONES = {
    "qwen2": (Qwen2TSConfig, Qwen2TSForCausalLM), "qwen3": (Qwen3TSConfig, Qwen3TSForCausalLM),
    "llama": (LlamaTSConfig, LlamaTSForCausalLM),
}  # fmt: skip
for _config in (Qwen2TSConfig, Qwen3TSConfig, LlamaTSConfig):  # else AutoTokenizer warns of an unknown model type
    AutoConfig.register(str(_config.model_type), _config, exist_ok=True)
