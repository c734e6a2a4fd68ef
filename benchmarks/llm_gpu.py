"""What training large language models takes on a GPU, by random weights of the published sizes: one run of ten minutes.

    python -m benchmarks.llm_gpu                    # on one GPU; without one it says so and runs tiny sizes on the CPU
    python -m benchmarks.llm_gpu --cases chatts_8b --tokens 4096 --seconds 540

Of each case: tokens per second of training (forward, backward, AdamW on the LoRA matrices), peak memory beside the plan
of ``tsad train dry_run=true``, model FLOPs utilisation, and tokens per second of answers. Utilisation is against the
rate that a product of bf16 matrices reaches on the very card. Operations per token: 4 per weight of the linear layers,
since no gradient of a frozen weight is made (2 forward, 2 backward to the activations), and 6 x layers x hidden x
tokens for attention under a causal mask; work done twice by checkpointing does not count (Chowdhery et al. 2022, arXiv
2204.02311, appendix B). Elsewhere: 14,110 tokens/s = 42.8% for a 7B LoRA at 4,096 tokens on one H100; QLoRA of 8B below
15 GB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tsad.adapters import lora
from tsad.adapters.memory import IN_16_BITS, LOST, RowSize, memory_plan
from tsad.config import compose, settings
from tsad.core.options import AdapterOptions
from tsad.detectors.llm.chatts.detector import ChatTS
from tsad.detectors.llm.chatts.tiny import chatts
from tsad.detectors.llm.tiny import tokenizer

NO_GPU = "no GPU here (torch.cuda.is_available() is false): tiny sizes on the CPU exercise the code and tell nothing"
ANSWER = 60  # tokens that are taught
GIB, WARM = 1 << 30, 2
SQUARE = {"cuda": 8192, "cpu": 512}  # side of the matrices whose product gives the rate


@dataclass(frozen=True)
class Case:
    """What is trained: a published size under options of ``adapter``."""

    size: str
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """For the table."""
        return " ".join((self.size, *(text.removeprefix("adapter.").removesuffix("=true") for text in self.options)))


CASES = {
    "chatts_8b": Case("ChatTS-8B", ("adapter.gradient_checkpointing=true",)),
    "chatts_8b_qlora": Case("ChatTS-8B", ("adapter=qlora", "adapter.gradient_checkpointing=true")),
    "chatts_14b": Case("ChatTS-14B", ("adapter.gradient_checkpointing=true",)),
    "chatts_14b_qlora": Case("ChatTS-14B", ("adapter=qlora", "adapter.gradient_checkpointing=true")),
}


def rate(device: str, dtype: torch.dtype) -> float:
    """Operations per second of a product of two square matrices: the best of five."""
    side = SQUARE[device]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(5):
        began = _now(device)
        for _ in range(4):
            a @ b
        best = max(best, 4 * 2 * side**3 / (_now(device) - began))
    return best


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def operations(network: nn.Module, tokens: int) -> float:
    """Of training one token under LoRA, see above; the output layer, which sees the answer alone, is left out."""
    config: Any = network.config
    weights = sum(m.weight.numel() for name, m in network.named_modules()
                  if isinstance(m, nn.Linear) and not name.endswith("lm_head"))  # fmt: skip
    return 4.0 * weights + 6.0 * config.num_hidden_layers * config.hidden_size * tokens


def in_4_bits(network: nn.Module, device: str) -> None:
    """Every linear layer but the kept ones becomes NormalFloat4 with double quantisation, in place."""
    import bitsandbytes

    for name, module in list(network.named_modules()):
        for child, linear in list(module.named_children()):
            whole = f"{name}.{child}".lstrip(".")
            if type(linear) is not nn.Linear or any(part in whole for part in IN_16_BITS):
                continue
            packed = bitsandbytes.nn.Linear4bit(
                linear.in_features, linear.out_features, linear.bias is not None, compute_dtype=linear.weight.dtype,
                quant_type="nf4", compress_statistics=True,
            )  # fmt: skip
            packed.weight = bitsandbytes.nn.Params4bit(
                linear.weight.data.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True
            )
            if linear.bias is not None:
                packed.bias = linear.bias
            setattr(module, child, packed.to(device))


def made(case: Case, device: str, dtype: torch.dtype) -> Any:
    """The network with random weights; on the CPU a tiny one of the same architecture."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return ChatTS.shapes(None, case.size) if device == "cuda" else chatts(tokenizer(), hidden=64, layers=2)
    finally:
        torch.set_default_dtype(before)


def batch_of(network: Any, rows: int, tokens: int, points: int, device: str) -> dict[str, torch.Tensor]:
    """Rows with a series each, random words, and an answer that is taught."""
    start, patches = int(network.config.ts_token_start_index), -(-points // 8)
    ids = torch.randint(3, 250, (rows, tokens), device=device)
    ids[ids == start] = 2
    ids[:, 4 : 4 + patches] = start
    labels = torch.full_like(ids, -100)
    labels[:, -ANSWER:] = ids[:, -ANSWER:]
    series = torch.ones(rows, points, 2, device=device)
    series[..., 0].normal_()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "timeseries": series}


def trained(network: Any, batch: Mapping[str, torch.Tensor], steps: int, device: str) -> float:
    """Seconds of a step."""
    weights = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, 1e-4)
    began = 0.0
    for step in range(WARM + steps):
        if step == WARM:
            began = _now(device)
        network(**batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return (_now(device) - began) / steps


def answered(network: Any, batch: Mapping[str, torch.Tensor], count: int, device: str) -> float:
    """Tokens per second of answers."""
    network.eval()
    asked = {name: tensor for name, tensor in batch.items() if name != "labels"}
    began = _now(device)
    with torch.inference_mode():
        network.generate(**asked, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    return len(asked["input_ids"]) * count / (_now(device) - began)


def measured(case: Case, given: argparse.Namespace, device: str, best: float) -> None:
    """Print the case's row."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    conf = settings(compose(["task=train", "detector=chatts_8b", "detector.weights=none", *case.options,
                             f"adapter.batch_size={given.rows}"])).adapter  # fmt: skip
    options: AdapterOptions = conf.for_detector(ChatTS.adapter_defaults)
    network = made(case, device, dtype)
    with torch.device("meta"):
        shapes = ChatTS.shapes(None, case.size) if device == "cuda" else chatts(tokenizer(), hidden=64, layers=2)
    plan = memory_plan(shapes, RowSize(given.tokens, ANSWER, False), options, case.size)
    work = operations(network, given.tokens)
    if options.quantisation == "nf4":
        in_4_bits(network, device)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    if options.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    adapted = lora.attach(network, options).to(device).train()
    batch = batch_of(network, given.rows, given.tokens, given.points, device)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = trained(adapted, batch, given.steps, device)
    peak = torch.cuda.max_memory_allocated() / GIB if device == "cuda" else float("nan")
    speed = given.rows * given.tokens / seconds
    answers = answered(adapted, batch, given.answer, device)
    print(
        f"| {case.name} | {speed:,.0f} | {peak:.1f} | {plan.total / LOST:.1f} + 10% | {speed * work / best:.1%} | "
        f"{answers:,.0f} |", flush=True,
    )  # fmt: skip


def main(words: list[str] | None = None) -> None:
    """Read the arguments and print a row per case, as many as the time allows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rows", type=int, default=8, help="in memory at once")
    parser.add_argument("--tokens", type=int, default=4096, help="of a row")
    parser.add_argument("--points", type=int, default=1024, help="of the series in it")
    parser.add_argument("--steps", type=int, default=5, help="that are timed, after two that are not")
    parser.add_argument("--answer", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--seconds", type=float, default=540.0, help="after which no further case is begun")
    given = parser.parse_args(words)
    device, began = "cuda" if torch.cuda.is_available() else "cpu", time.monotonic()
    if device == "cpu":
        print(NO_GPU)
        given.rows, given.tokens, given.points, given.steps, given.answer = 2, 160, 256, 1, 8
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    best = rate(device, dtype)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}: {best / 1e12:,.3f} TFLOP/s measured in {dtype}; {given.rows} rows of {given.tokens} tokens")
    print("| case | tokens/s, training | peak GiB | plan GiB | FLOPs utilisation | tokens/s, answers |")
    print("|---|---|---|---|---|---|", flush=True)
    for chosen in given.cases:
        if time.monotonic() - began > given.seconds:
            print(f"{chosen}: left out, the time is up", flush=True)
            continue
        try:
            measured(CASES[chosen], given, device, best)
        except torch.OutOfMemoryError as error:
            print(f"{chosen}: does not fit: {str(error).splitlines()[0]}", flush=True)
        if device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
