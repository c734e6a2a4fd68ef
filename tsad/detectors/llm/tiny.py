"""What tiny checkpoints of the real architectures share: a tokenizer made on the spot, a start from which they learn.

They serve tests and the small models that ship; published checkpoints bring tokenizer and weights of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<ts>", "<ts/>",
)  # fmt: skip
# How Qwen2, Qwen2.5 and Qwen3 cut a text before byte-level BPE: every digit by itself, brackets and commas together.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ANSWERS = ('[[12,34],[100,140]]', "[]", '[[3,9,"spike"],[50,77,"level shift"]]', '"],["')  # fmt: skip
TEXTS = (
    "system\nYou are a helpful assistant.", "user\nassistant\n",
    "[offset=6.0772|scaling=3.6917|length=256|max=4.9979|min=-15.0000|left=0.0000|right=-8.2047]",
    "Which intervals of this series are abnormal? Answer with a JSON list of [start, end]. Series of points, channels",
    "anomalies, points, columns, flags, intervals, window, value, from top to bottom",
    "该序列的哪些区间异常？用 JSON 回答 [开始, 结束]。异常，正常，时间序列，图，通道，点，列",
)  # fmt: skip
EMBEDDING_STD = 0.3  # tokens that can be told apart from the start
INTO_RESIDUAL = ("o_proj", "down_proj", "attn.proj", "mlp.linear_fc2")  # layers whose output is added to the stream


def tokenizer(vocabulary: int = 400) -> Any:
    """A byte-level BPE tokenizer that splits as Qwen's does, speaks ChatML and knows every special token of the family.

    Every digit is one token, and so are ``[[``, ``],[``, ``]]``, ``[]``, ``,``, ``,"``, ``"],[`` and ``"]]``; any
    text goes through, bytes being the last resort. The same each time it is made.

    Args:
        vocabulary: most entries, special tokens and the 256 bytes included.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    raw.train_from_iterator([*ANSWERS * 50, *TEXTS * 4], trainer)  # answers first: their pieces are one token each
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML,
        padding_side="left", extra_special_tokens=list(SPECIAL[3:]),
    )  # fmt: skip


def wake(network: torch.nn.Module, depth: int, seed: int = 0) -> torch.nn.Module:
    """Start a tiny network by fan-in, in place, so that it learns.

    transformers' std of 0.02 is for widths in the thousands: at 96 it shrinks the signal of ChatTS's encoder about
    1,000-fold over five layers. Layers that add to the residual stream start smaller by sqrt(2 depth), as GPT-2's do;
    ChatTS's table of positions starts with sines.

    Args:
        network: a causal language model, with or without vision or series encoder.
        depth: layers of its language model.
        seed: of every number drawn.
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv3d):
            std = float(module.weight[0].numel()) ** -0.5
            if name.endswith(INTO_RESIDUAL):
                std /= (2 * depth) ** 0.5
            elif "ts_encoder" in name:
                std *= 2**0.5  # GELU halves the variance
            torch.nn.init.normal_(module.weight, std=std, generator=draw)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=draw)
            if name.endswith("ts_encoder.position_embedding"):
                _sines(module.weight)
    return network


def _sines(table: torch.Tensor) -> None:
    """[P, D] positions as sines and cosines of D/2 wavelengths: 4, 8, 16, ... points."""
    import torch

    half = table.shape[1] // 2
    angle = torch.arange(len(table))[:, None] * (2 * torch.pi / 2.0 ** torch.arange(2, half + 2)[None])
    with torch.no_grad():
        table[:, : 2 * half].copy_(torch.cat([torch.sin(angle), torch.cos(angle)], 1))
