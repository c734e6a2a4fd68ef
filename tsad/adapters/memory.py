"""What training a language model takes, from its shapes on the device ``meta``: no weight is loaded, nothing is run.

The sum of weights, trained parameters with gradients and optimiser states, activations that wait for the backward pass,
logits, one layer unpacked from 4 bits and the CUDA context, and a tenth that the allocator loses.
Activations were checked against what autograd keeps on small networks: 1.14 times it without, 0.79 to 0.89 with
gradient checkpointing (masks and rotary tables, which do not grow with the network). Frozen vision blocks keep none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tsad.adapters import lora
from tsad.core.options import AdapterOptions
from tsad.core.tuning import MemoryPlan, Saving

if TYPE_CHECKING:
    import torch

GIB = 2**30
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes per weight: 4 bits, an 8-bit scale per 64, a float32 scale per 256 of them
CUDA_CONTEXT = 0.7 * GIB
LOST = 1.1  # of the sum: what the allocator cannot use
IN_16_BITS = ("lm_head", "ts_encoder", "visual")  # modules that stay as they are in a base of 4 bits


@dataclass(frozen=True)
class RowSize:
    """Tokens of one training row.

    Attributes:
        tokens: of the whole row, placeholders expanded.
        answer: of them those that the loss looks at.
        all_logits: whether the network makes logits at every token, not on the answer alone.
    """

    tokens: int
    answer: int
    all_logits: bool = False


def memory_plan(
    network: torch.nn.Module, row: RowSize, options: AdapterOptions, base: str,
    kept: Sequence[str] = IN_16_BITS, degrades: str = "",
) -> MemoryPlan:  # fmt: skip
    """What training ``network`` under ``options`` takes, and what each option saves.

    Args:
        network: of transformers, made under ``torch.device("meta")``, not quantised; is not changed.
        row: tokens of a usual row.
        options: with the detector's own values filled in (``AdapterOptions.for_detector``).
        base: name of the network.
        kept: modules that a base of 4 bits keeps in 16.
        degrades: what is known of this base in 4 bits, e.g. "users report garbage answers"; "" = nothing bad.

    Raises:
        TrainingError: targets that the network does not have.
    """
    sizes = _Sizes.of(network, options, kept)
    parts = _parts(sizes, row, options)
    total = LOST * sum(parts.values())
    savings = tuple(_saving(sizes, row, options, key, value) for key, value in _switches(options))
    return MemoryPlan(
        base=base, parameters=sizes.parameters, trainable=sizes.trainable(options), tokens=row.tokens,
        rows=_rows(options), steps=options.steps, parts={name: size / GIB for name, size in parts.items()},
        total=total / GIB, savings=savings, warnings=_warnings(sizes, row, options, base, degrades),
    )  # fmt: skip


@dataclass(frozen=True)
class _Sizes:
    """Counts of a network.

    Attributes:
        linear: weights of the layers that a base of 4 bits packs.
        lora: trained numbers per rank; ``outputs``: output features of the targets; ``whole``: numbers trained in full.
        targets: per layer of the language model.
    """

    parameters: int
    linear: int
    lora: int
    outputs: int
    whole: int
    targets: float
    hidden: int
    inner: int
    keys: int
    layers: int
    vocabulary: int

    @classmethod
    def of(cls, network: torch.nn.Module, options: AdapterOptions, kept: Sequence[str]) -> _Sizes:
        from torch import nn

        config = network.config.get_text_config()  # type: ignore[union-attr, operator]
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        packed = [
            module.weight.numel() for name, module in network.named_modules()
            if isinstance(module, nn.Linear) and not _below(name, kept)
        ]  # fmt: skip
        adapted = [] if options.method == "full" else lora.adapted(network, options)
        inside = [name for name, _ in adapted if not _below(name, kept)]
        return cls(
            parameters=sum(p.numel() for p in network.parameters()), linear=sum(packed),
            lora=sum(sum(_ends(module)) for _, module in adapted), outputs=sum(_ends(m)[1] for _, m in adapted),
            whole=_in_full(network, options), targets=len(inside) / config.num_hidden_layers,
            hidden=config.hidden_size, inner=config.intermediate_size, keys=config.num_key_value_heads * head,
            layers=config.num_hidden_layers, vocabulary=config.vocab_size,
        )  # fmt: skip

    def trainable(self, options: AdapterOptions) -> int:
        if options.method == "full":
            return self.parameters
        return options.r * self.lora + (self.outputs if options.dora else 0) + self.whole


def gpu_at_hand() -> tuple[str, float] | None:
    """Name and memory (GiB) of the GPU that training would take here; ``None`` where torch sees none."""
    import torch

    if not torch.cuda.is_available():
        return None
    about = torch.cuda.get_device_properties(torch.cuda.current_device())
    return about.name, about.total_memory / GIB


def _below(name: str, modules: Sequence[str]) -> bool:
    return any(part in modules for part in name.split("."))


def _ends(module: Any) -> tuple[int, int]:
    """Input and output features."""
    return module.weight.shape[1:].numel(), module.weight.shape[0]


def _in_full(network: torch.nn.Module, options: AdapterOptions) -> int:
    if options.method == "full":
        return 0
    names = options.settled("modules_to_save")
    modules = [m for name, m in network.named_modules() if any(name == n or name.endswith(f".{n}") for n in names)]
    return sum(p.numel() for module in modules for p in module.parameters())


def _rows(options: AdapterOptions) -> int:
    return min(options.micro_batch or options.batch_size, options.batch_size)


def _parts(sizes: _Sizes, row: RowSize, options: AdapterOptions) -> dict[str, float]:
    """Bytes by part."""
    width = 4 if options.precision == "float32" else 2
    nf4, rows = options.quantisation == "nf4", _rows(options)
    rest = sizes.parameters - sizes.linear
    # LoRA matrices are float32 with float32 gradients; two moments each in float32, or in a byte.
    trained = 3 * width if options.method == "full" else 16
    if options.optimiser == "adamw_8bit":
        trained = width + 2 if options.method == "full" else 10
    logits = rows * (row.tokens if row.all_logits else row.answer)
    return {
        "weights": sizes.linear * NF4 + rest * width if nf4 else sizes.parameters * width,
        "adapter, gradients, optimiser": sizes.trainable(options) * trained,
        "activations": _activations(sizes, rows * row.tokens, options, width),
        "logits": logits * sizes.vocabulary * (width + 8),  # as computed, in float32 for the loss, and its gradient
        "a layer unpacked": width * sizes.hidden * sizes.inner if nf4 else 0,
        "CUDA context": CUDA_CONTEXT,
    }


def _activations(sizes: _Sizes, tokens: int, options: AdapterOptions, width: int) -> float:
    """Bytes alive when the backward pass starts: of every layer; or of one, and each layer's input.

    Per token and layer: norms (with float32 copies), q k v and their turned copies, attention's output, the MLP's four
    products, and r for each adapted layer.
    """
    adapted = 0.0 if options.method == "full" else sizes.targets * options.r
    products = 7 * sizes.hidden + 5 * sizes.keys + 4 * sizes.inner + adapted
    layer = tokens * (width * products + 4 * (2 * sizes.hidden + 2))
    if options.gradient_checkpointing:
        return tokens * sizes.layers * sizes.hidden * width + layer
    return sizes.layers * layer


def _total(sizes: _Sizes, row: RowSize, options: AdapterOptions, **changes: Any) -> float:
    return LOST * sum(_parts(sizes, row, options.model_copy(update=changes)).values()) / GIB


def _switches(options: AdapterOptions) -> list[tuple[str, Any]]:
    """Options that save memory, by key and value."""
    nf4: list[tuple[str, Any]] = [] if options.method == "full" else [("quantisation", "nf4")]
    rows: list[tuple[str, Any]] = [("micro_batch", options.micro_batch or 1)] if options.batch_size > 1 else []
    return [*nf4, ("gradient_checkpointing", True), ("optimiser", "adamw_8bit"), *rows]


def _saving(sizes: _Sizes, row: RowSize, options: AdapterOptions, key: str, value: Any) -> Saving:
    without = {"quantisation": "none", "gradient_checkpointing": False, "optimiser": "adamw", "micro_batch": None}[key]
    used = getattr(options, key) == value
    total = _total(sizes, row, options, **{key: value})
    text = str(value).lower() if isinstance(value, bool) else value
    return Saving(f"adapter.{key}={text}", used, total, _total(sizes, row, options, **{key: without}) - total)


def _warnings(
    sizes: _Sizes, row: RowSize, options: AdapterOptions, base: str, degrades: str
) -> tuple[str, ...]:
    if not degrades or options.quantisation != "nf4":
        return ()
    packed, plain = _total(sizes, row, options), _total(sizes, row, options, quantisation="none")
    return (
        f"adapter.quantisation=nf4 with {base}: {degrades}. It saves {plain - packed:.1f} GiB ({packed:.1f} instead "
        f"of {plain:.1f}); where {plain:.1f} GiB are there, use adapter.quantisation=none, else compare on your own "
        "gold set",
    )
