"""The ``chatts`` detector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from tsad.core.option_model import Refusal
from tsad.core.options import EngineOptions
from tsad.detectors.llm.chatts.checkpoint import NAME, ChatTSCheckpoint
from tsad.detectors.llm.chatts.published import DEGRADES, LONGEST, PUBLISHED
from tsad.detectors.llm.chatts.reader import ChatTSReader
from tsad.detectors.llm.chatts.tiny import PATCH
from tsad.detectors.llm.detector import LanguageDetector, LanguageOptions
from tsad.detectors.llm.loading import tokenizer_of

if TYPE_CHECKING:
    import torch

    from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions


class ChatTSOptions(LanguageOptions):
    """Keyword arguments of :class:`ChatTS`."""

    prefix: Literal["current", "older", "none"]
    published: Literal["", "ChatTS-8B", "ChatTS-14B"]

    @field_validator("engine")
    @classmethod
    def _here(cls, engine: EngineOptions) -> EngineOptions:
        if engine.kind == "openai":
            raise Refusal("{key} is openai, and there is no ChatTS plug-in for vLLM", "Take engine=transformers, or "
                          "another detector for the server: detector=text or detector=qwen_vl_8b.")  # fmt: skip
        return engine


class ChatTS(LanguageDetector):
    """ChatTS: the series themselves as tokens of a language model (arXiv 2412.03104), on Qwen2, Qwen3 or Llama.

    Args:
        weights: folder of a checkpoint, or ``chatts_tiny``, which ships with tsad.
        device: auto | cpu | cuda.
        dtype: of the weights; auto = bfloat16 on CUDA, float32 on the CPU.
        quantisation: none, or nf4 = 4-bit weights (QLoRA).
        length: points of the series in a prompt.
        stride: points between the starts of neighbouring prompts.
        most_points: that a prompt shows; of longer windows so many are kept by ``reduce``.
        reduce: m4 or minmax.
        channels: of a series in one prompt.
        batch_size: prompts at once.
        decoding: constrained, or free = as the model likes, mended by a parser.
        samples: answers per prompt that are taken together; 1 = the likeliest.
        temperature: of these draws.
        prompt: what is asked; see ``conf/prompt``.
        prefix: what is written before each series: current, older or none, as the checkpoint was taught.
        published: the published checkpoint whose shapes plans take while none is at hand; "" = none.

    Raises:
        WeightsError: no checkpoint of ChatTS.
        DetectorError: impossible options, or CUDA asked for where there is none.
    """

    name = NAME
    options_model = ChatTSOptions
    settings: ChatTSOptions
    checkpoint: ChatTSCheckpoint
    shipped = ("chatts_tiny",)
    degrades = DEGRADES
    adapter_defaults: Mapping[str, Any] = {
        **LanguageDetector.adapter_defaults, "encoder_modules": ("ts_encoder.mlp.*",)
    }  # fmt: skip

    @classmethod
    def shapes(cls, folder: Path | None, published: str) -> torch.nn.Module:
        from tsad.detectors.llm.chatts.model import BACKBONES

        if folder is not None:
            told = ChatTSCheckpoint.at(folder)
            made: torch.nn.Module = BACKBONES[told.backbone][1](told.configuration())
            return made
        backbone, config = PUBLISHED[published]
        kind, network = BACKBONES[backbone]
        return network(kind(**config))

    @classmethod
    def tokens_of(cls, options: LanguageOptions) -> tuple[int, int]:
        patches = -(-min(options.length, options.most_points) // PATCH)
        return patches, patches  # of one channel; each further one takes as many again

    @classmethod
    def tiny(cls, tokenizer: Any, sizes: LanguagePretrainOptions, seed: int) -> torch.nn.Module:
        from tsad.detectors.llm.chatts.tiny import chatts

        return chatts(tokenizer, sizes.hidden_size, sizes.layers, seed=seed)

    @classmethod
    def checkpoint_at(cls, folder: Path, *, bare: bool = False) -> ChatTSCheckpoint:
        return ChatTSCheckpoint.at(folder)

    @classmethod
    def plain_reader(cls, options: LanguageOptions) -> ChatTSReader:
        assert isinstance(options, ChatTSOptions)
        folder, patch, longest = cls._at(options.weights), PATCH, LONGEST
        if folder.is_dir():
            told = ChatTSCheckpoint.at(folder)
            patch, longest = told.patch, told.longest
        return ChatTSReader(None, patch=patch, longest=longest, prefix=options.prefix)

    def read_checkpoint(self) -> ChatTSReader:
        told = self.checkpoint
        return ChatTSReader(
            tokenizer_of(self.folder, self.name), patch=told.patch, longest=told.longest, prefix=self.settings.prefix,
            placeholder=told.config.get("ts_token_start_index"),
        )  # fmt: skip

    def load(self, device: str, dtype: torch.dtype) -> torch.nn.Module:
        reader = self.reader
        assert isinstance(reader, ChatTSReader)
        nf4 = self.settings.quantisation == "nf4"
        return self.checkpoint.load(reader.placeholder, device=device, dtype=dtype, nf4=nf4)
