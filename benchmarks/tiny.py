"""What the tiny language models reach, and what LoRA on a few reviewed windows adds: the figures of their cards.

    OMP_NUM_THREADS=1 python -m benchmarks.tiny held_out --detectors chatts_tiny qwen_vl_tiny [--data ../shared/data]
    OMP_NUM_THREADS=1 python -m benchmarks.tiny lora --detectors chatts_tiny --reviews 25 50 100 [--data ../shared/data]
    OMP_NUM_THREADS=1 python -m benchmarks.tiny decoding --detectors chatts_tiny

Windows of 256 points, of the generator (seeds no training uses) and of the sets in ``--data``. ``held_out``: interval
F1 at any overlap and at IoU 0.5, one to one, each beside its chance (the same answers held against other windows, ten
turns), the gain over chance with 95% bootstrap over windows; beside an untrained network, everything marked, and
``patch`` on the same windows; windows per second. Thresholds are chosen on other windows. ``lora``: before and after,
means over draws of the reviewed windows, the least and the most that one of them gains.
``decoding``: constrained against unconstrained answers of intervals: how many parse, tokens per second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tsad.config import compose, settings, workbench
from tsad.config.tuning import adapter_for, tuner_of
from tsad.config.workbench import Workbench
from tsad.core.intervals import mask_to_intervals, runs_of
from tsad.core.recording import NoRecord
from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Window
from tsad.core.tuning import TuningCall
from tsad.core.types import IntArray
from tsad.detectors.llm import measure
from tsad.detectors.llm.detector import WEIGHTS, LanguageDetector
from tsad.detectors.llm.measure import Answered
from tsad.detectors.llm.pretrain import HELD_OUT, RECIPE
from tsad.detectors.llm.pretrain_options import LanguagePretrainOptions
from tsad.detectors.llm.teaching import Lesson, lesson, series_of
from tsad.steps.sets import open_sets
from tsad.training.datasets import build

LENGTH, SEED = 256, 977
POINTS = 30_000  # of each series of a set, from its beginning
Figures = dict[str, float]


def bench_of(detector: str, *overrides: str) -> Workbench:
    """A workbench on a detector of ``conf/detector``."""
    return workbench(settings(compose(["task=train", f"detector={detector}", *overrides])))


def lessons(bench: Workbench, folders: list[Path], count: int) -> Iterator[tuple[str, Lesson, Lesson]]:
    """Name, windows to choose thresholds (or learn) on, windows to score: of the generator, then of each set."""
    learn, score = (lesson(SEED, HELD_OUT + k, LENGTH, "all") for k in (10, 11))
    first, second = (Lesson(part.values[:count], part.labels[:count]) for part in (learn, score))
    yield "synthetic", first, second
    for one in open_sets(bench, [str(f) for f in folders], POINTS) if folders else ():
        values, labels = _windows(list(one.read()))
        if len(values) >= 40:
            half = len(values) // 2  # whole series come before others: no series is on both sides, but one
            draw = np.random.default_rng(SEED)
            first, second = (
                Lesson(values[part], labels[part])
                for part in (np.sort(draw.permutation(half)[:count]) + offset for offset in (0, half))
            )
            yield one.name, first, second


def _windows(pairs: list) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the first varying channel of each series; all that hold an anomaly and as many that hold none."""
    values, labels = [], []
    for series, truth in pairs:
        column = series.values[:, int(np.argmax(np.nanstd(series.values, axis=0)))]
        for start in range(0, len(column) - LENGTH + 1, LENGTH):
            window = column[start : start + LENGTH]
            if np.isfinite(window).all() and np.ptp(window) > 0:
                values.append(window)
                labels.append(truth[start : start + LENGTH])
    x, y = np.array(values), np.array(labels, bool)
    if not len(x):
        return x, y
    abnormal = np.flatnonzero(y.any(axis=1))
    normal = np.random.default_rng(SEED).permutation(np.flatnonzero(~y.any(axis=1)))[: max(20, len(abnormal))]
    chosen = np.sort(np.concatenate([abnormal, normal]))
    return x[chosen], y[chosen]


def truths(taught: Lesson) -> list[IntArray]:
    """Labelled runs of each window."""
    return [runs_of(row) for row in taught.labels]


def reached(detector: LanguageDetector, network: object, learn: Lesson, score: Lesson) -> tuple[Figures, float]:
    """Figures at the threshold that suits the other windows, and windows per second."""
    asking = detector.asking(network)
    threshold = measure.best_threshold(measure.answered(asking, learn), truths(learn))
    began = time.perf_counter()
    said = measure.answered(asking, score)
    seconds = time.perf_counter() - began
    return measure.figures(said.at(threshold), truths(score)), len(score) / seconds


def patch_reached(learn: Lesson, score: Lesson) -> tuple[Figures, float]:
    """The same of ``detector=patch`` on the windows alone."""
    detector = bench_of("patch").make_detector()
    edges = np.arange(LENGTH + 1)

    def said(taught: Lesson) -> Answered:
        return Answered(np.array(detector.score([series_of(v) for v in taught.values])), edges, ()).at(0.5)

    threshold = measure.best_threshold(said(learn), truths(learn))
    began = time.perf_counter()
    found = said(score)
    seconds = time.perf_counter() - began
    return measure.figures(found.at(threshold), truths(score)), len(score) / seconds


def held_out(args: argparse.Namespace) -> None:
    """The table of the cards."""
    import torch

    bench, sections = bench_of("patch"), list[str]()
    for name, learn, score in lessons(bench, args.data, args.count):
        rows: dict[str, Figures] = {}
        speeds: dict[str, float] = {}
        for one in args.detectors:
            detector = bench_of(one, *_weights(args)).make_detector()
            assert isinstance(detector, LanguageDetector)
            rows[one], speeds[one] = reached(detector, detector.network(), learn, score)
            fresh = detector.network()
            with torch.no_grad():
                draw = torch.Generator().manual_seed(0)
                for parameter in fresh.parameters():
                    if parameter.ndim > 1:
                        std = float(parameter[0].numel()) ** -0.5
                        parameter.copy_(torch.randn(parameter.shape, generator=draw) * std)
            rows[f"{one}, untrained"], _ = reached(detector, fresh, learn, score)
        rows["patch"], speeds["patch"] = patch_reached(learn, score)
        rows["everything marked"] = measure.figures(measure.marked_whole(truths(score), LENGTH), truths(score))
        told = [f"{name}: {len(score)} windows, {int(rows['patch']['true'])} labelled intervals", ""]
        told += [*measure.card_rows(rows), ""]
        print("\n".join(told), flush=True)
        print("windows per second, one core: " + ", ".join(f"{k} {v:.0f}" for k, v in speeds.items()), flush=True)
        sections += told
    for one in args.detectors if args.card else ():
        _write_card(one, sections, args)


def _write_card(one: str, sections: list[str], args: argparse.Namespace) -> None:
    """The model card beside the weights."""
    folder = WEIGHTS / one
    recipe = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    made = " ".join(f"{key}={recipe[key]}" for key in ("seed", "steps", "batch_size", "learning_rate", "warmup"))
    sizes = " ".join(f"language.{key}={recipe[key]}" for key in LanguagePretrainOptions.model_fields)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.name != "README.md")
    told = [
        f"# {one}", "",
        f"A tiny language model of the real architecture ({size / 1e6:.1f} MB with its tokenizer), taught on "
        f"synthetic windows alone (generator {recipe['generator']}; in the end: {recipe['kinds']} kinds). It lets a "
        "laptop and CI run the path of the large ones; it is no detector to work with: compare it with `patch` below.",
        "", f"Made by `tsad pretrain detector={one} output=DIR {made} {sizes}`.",
        f"This card by `python -m benchmarks.tiny held_out --card --detectors {' '.join(args.detectors)} --data "
        f"{' '.join(map(str, args.data))}`.", "",
        "Interval F1 on windows of 256 points, one to one. Chance: the same answers held against other windows. "
        "Any overlap flatters (see the row that marks everything); IoU 0.5 does not. Thresholds were chosen on other "
        "windows.", "",
        *sections,
    ]  # fmt: skip
    (folder / "README.md").write_text("\n".join(told).rstrip() + "\n", encoding="utf-8")


def lora(args: argparse.Namespace) -> None:
    """Before and after LoRA on so many reviewed windows, means over draws; thresholds from the reviewed ones."""
    print("| set | detector | reviewed | F1, any (chance): before | after | F1, IoU 0.5 (chance): before | after | "
          "gain, any | gain, IoU 0.5 | seconds |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, learn, score in lessons(bench_of("patch"), args.data, args.count):
        if name == "synthetic" and args.sets_only:
            continue
        score = Lesson(score.values[: args.scored], score.labels[: args.scored])
        for one in args.detectors:
            bench = bench_of(one, *_weights(args), *args.overrides)
            detector = bench.make_detector()
            assert isinstance(detector, LanguageDetector)
            for count in args.reviews:
                if count > len(learn):
                    print(f"| {name} | {one} | {count} | only {len(learn)} windows to learn from |", flush=True)
                    continue
                pairs, began = [], time.perf_counter()
                for seed in range(args.seeds):
                    rows = np.sort(np.random.default_rng((SEED, seed, count)).permutation(len(learn))[:count])
                    part = Lesson(learn.values[rows], learn.labels[rows])
                    before, _ = reached(detector, detector.network(), part, score)
                    pairs.append((before, _adapted(bench, detector, part, score)))
                cells = [*_means(pairs), f"{(time.perf_counter() - began) / args.seeds:.0f}"]
                print(f"| {name} | {one} | {count} | {' | '.join(cells)} |", flush=True)


def _means(pairs: list[tuple[Figures, Figures]]) -> list[str]:
    """Figures before and after with their chance, at any overlap and at IoU 0.5; gains with lowest and highest."""
    cells, gains = [], []
    for name in ("f1", "f1_iou50"):
        for told in zip(*pairs, strict=True):
            mean, chance = (float(np.mean([f[key] for f in told])) for key in (name, f"chance_{name}"))
            cells.append(f"{mean:.3f} ({chance:.3f})")
        gained = np.array([after[name] - before[name] for before, after in pairs])
        gains.append(f"{gained.mean():+.3f} [{gained.min():+.3f}, {gained.max():+.3f}]")
    return [*cells, *gains]


def _adapted(bench: Workbench, detector: LanguageDetector, part: Lesson, score: Lesson) -> Figures:
    reviewed = []
    for k, (values, label) in enumerate(zip(part.values, part.labels, strict=True)):
        series = series_of(values)
        window = Window(type(series)(f"w{k}", series.timestamps, series.values), 0, LENGTH)
        truth = mask_to_intervals(label, window.timestamps)
        choice = Choice(window, 1.0, "benchmark", Purpose.TRAIN)
        reviewed.append(ReviewedWindow(choice, (Annotation("labels", truth),), ReviewState.CORRECTED, truth))
    version = build(reviewed, Purpose.TRAIN, 0)
    with tempfile.TemporaryDirectory() as folder:
        call = TuningCall(folder=Path(folder))
        options = adapter_for(bench.adapter, detector)
        tuned = tuner_of(detector).fit(detector, version, options, call, NoRecord())
        if tuned.adapter is None:
            raise SystemExit(f"nothing was trained: {tuned.reason}")
        adapted = detector.with_adapter(tuned.adapter)
        return reached(adapted, adapted._scoring(), part, score)[0]


def decoding(args: argparse.Namespace) -> None:
    """Constrained against free answers of intervals, of networks that were never taught to give them."""
    for one in args.detectors:
        score = lesson(SEED, HELD_OUT + 11, LENGTH, "all")
        few = Lesson(score.values[: args.count], score.labels[: args.count])
        for how in ("constrained", "free"):
            words = ("detector.prompt=${prompt}", "prompt=range", f"detector.decoding={how}")
            bench = bench_of(one, *_weights(args), *words)
            detector = bench.make_detector()
            assert isinstance(detector, LanguageDetector)
            asking = detector.asking(detector.network())
            from tsad.detectors.llm.keeping import Kept
            from tsad.detectors.llm.teaching import pieces_of

            began = time.perf_counter()
            answers = list(asking.answers(list(pieces_of(few)), Kept(None)))
            seconds = time.perf_counter() - began
            whole = sum(not a.mended for a in answers) / len(answers)
            print(f"{one}, {how}: {100 * whole:.0f}% well formed, {len(answers) / seconds:.1f} answers/s", flush=True)


def _weights(args: argparse.Namespace) -> list[str]:
    return [f"detector.weights={args.weights}"] if args.weights else []


def main() -> None:
    """Read the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="held_out", choices=("held_out", "lora", "decoding"))
    parser.add_argument("--detectors", nargs="+", default=["chatts_tiny", "qwen_vl_tiny"])
    parser.add_argument("--data", nargs="*", type=Path, default=[])
    parser.add_argument("--reviews", nargs="+", type=int, default=[25, 50, 100])
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3, help="draws of the reviewed windows (lora)")
    parser.add_argument("--scored", type=int, default=256, help="windows that are scored, at most (lora)")
    parser.add_argument("--sets-only", action="store_true", help="no synthetic windows (lora)")
    parser.add_argument("--weights", default="")
    parser.add_argument("--card", action="store_true", help="write README.md beside the weights")
    parser.add_argument("--overrides", nargs="*", default=[])
    args = parser.parse_args()
    {"held_out": held_out, "lora": lora, "decoding": decoding}[args.what](args)


if __name__ == "__main__":
    main()
