"""The network of ``patch`` computed in other ways on one core: how fast, and how far its answers move.

    OMP_NUM_THREADS=1 python -m benchmarks.engines
    pip install onnx onnxscript onnxruntime       # for the last row; without them it says so

Windows of 1,024 points per second of processor time, the best of ``--passes``; the largest change of a point's
probability against torch's own layers in float32; AUC-PR over the points of held-out synthetic windows. ``bf16`` is
autocast, ``int8`` dynamic quantisation of the linear layers (weights kept in 8 bits, activations as they come),
``compiled`` torch's own compiler (it needs a C++ compiler; its minutes are not counted). Evidence stays as it is:
``python -m benchmarks.detectors budget`` says what share of a point's time the network has.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from tsad.core.types import FloatArray
from tsad.detectors.patch.crops import Seen, held_out
from tsad.detectors.patch.loading import SHIPPED, load_base
from tsad.detectors.patch.model import PatchModel
from tsad.detectors.patch.quick import quick
from tsad.metrics.ranking import auc_pr

Inputs = tuple[Tensor, Tensor, Tensor]  # values, observed, evidence
Answer = Callable[[Inputs], FloatArray]  # logits [B, L]


class Logits(nn.Module):
    """The network as other engines take it: tensors in, logits alone out."""

    def __init__(self, model: PatchModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: Tensor, observed: Tensor, evidence: Tensor) -> Tensor:
        """[B, L] logits."""
        return self.model(values, observed, evidence).logits


def by_torch(module: Callable[..., Tensor], precision: torch.dtype | None = None) -> Answer:
    """Answers of a torch module or function, under autocast where a precision is named."""

    def answer(inputs: Inputs) -> FloatArray:
        with torch.inference_mode(), torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            return np.asarray(module(*inputs).float().numpy(), np.float64)

    return answer


def eight_bits(module: nn.Module) -> Answer:
    """The linear layers in 8 bits; convolutions have no dynamic form in torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a successor package
        return by_torch(torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8))


def by_onnx(module: nn.Module, like: Inputs) -> Answer:
    """ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    names = ("values", "observed", "evidence")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "patch.onnx"
        with torch.inference_mode():
            torch.onnx.export(module, like, file, input_names=names, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda inputs: np.asarray(
        session.run(None, {n: t.numpy() for n, t in zip(names, inputs, strict=True)})[0], np.float64
    )


def measured(answer: Answer, batches: list[Inputs], passes: int) -> tuple[FloatArray, float]:
    """Logits of all windows [N, L], and windows per second of processor time."""
    answer(batches[0])  # what is compiled or allocated at the first call
    best, logits = 0.0, list[FloatArray]()
    for _ in range(passes):
        started = time.process_time()
        logits = [answer(inputs) for inputs in batches]
        best = max(best, sum(len(one[0]) for one in batches) / (time.process_time() - started))
    return np.concatenate(logits), best


def engines(module: Logits, like: Inputs) -> dict[str, Callable[[], Answer]]:
    """What is compared, by name, made when its turn comes."""
    return {
        "torch's own layers": lambda: by_torch(module),
        "oneDNN, as it ships": lambda: by_torch(Logits(quick(copy.deepcopy(module.model)))),
        "bf16": lambda: by_torch(module, torch.bfloat16),
        "int8": lambda: eight_bits(module),
        "compiled": lambda: by_torch(torch.compile(module)),
        "compiled, bf16": lambda: by_torch(torch.compile(module), torch.bfloat16),
        "ONNX Runtime": lambda: by_onnx(module, like),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--windows", type=int, default=256, help="held-out synthetic ones")
    parser.add_argument("--passes", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_base(given.weights)
    batches = held_out(np.random.default_rng((1, 1 << 31)), given.windows, Seen.by(model.config))
    inputs: list[Inputs] = [(b["values"], b["observed"], b["evidence"]) for b in batches]
    seen = np.concatenate([b["observed"].numpy() for b in batches]).astype(bool)
    truth = np.concatenate([b["labels"].numpy() for b in batches])[seen]
    print(f"{'engine':<22}{'windows/s':>10}{'times':>7}{'moved by at most':>18}{'AUC-PR':>8}", flush=True)
    first: FloatArray | None = None
    base = 0.0
    for name, make in engines(Logits(model), inputs[0]).items():
        try:
            logits, rate = measured(make(), inputs, given.passes)
        except ImportError as error:
            print(f"{name:<22} not measured: {error}. pip install onnx onnxscript onnxruntime", flush=True)
            continue
        chance = expit(logits[seen])
        first, base = (chance, rate) if first is None else (first, base)
        moved, area = np.abs(chance - first).max(), auc_pr(truth, logits[seen])
        print(f"{name:<22}{rate:>10,.0f}{rate / base:>7.2f}{moved:>18.5f}{area:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
