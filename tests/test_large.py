"""Training of large detectors: rows, exact accumulation, QLoRA on the CPU, resuming, what is said when it cannot."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_kit import NAMES, FlagDetector, FlagRow, in_4_bits, tiny_qwen, token_logits
from test_adapters import make_options
from test_trainer import Bar, Notebook, StopAt, digest, make_version

from tsad.adapters import lora, memory, saved
from tsad.adapters.memory import RowSize, memory_plan
from tsad.core.context import Context
from tsad.core.control import StopRequested, Switch
from tsad.core.errors import MissingPackageError, TrainingError
from tsad.core.options import AdapterOptions
from tsad.core.protocols import Answering, Trainable
from tsad.core.reviews import Purpose
from tsad.core.tuning import MemoryPlan, Tuned, Tuner, TuningCall
from tsad.training import large
from tsad.training.batches import NaturalDraws
from tsad.training.large import LargeTuner
from tsad.training.processes import Processes

FAST: dict[str, Any] = {
    "target_modules": NAMES, "modules_to_save": [], "steps": 40, "r": 8, "alpha": 16, "patience": 20, "dropout": 0.0,
    "learning_rate": 0.02, "replay_share": 0.0, "batch_size": 8,
}  # fmt: skip


def run(
    folder: Path, recorder: Notebook | None = None, detector: Any = None, start: Path | None = None,
    context: Context | None = None, **options: Any,
) -> Tuned:  # fmt: skip
    call = TuningCall(folder=folder, start_adapter=start, context=context or Context())
    settled = make_options(**{**FAST, **options})
    return LargeTuner().fit(detector or FlagDetector(), make_version(48), settled, call, recorder or Notebook())


SHORT: dict[str, Any] = {"steps": 6, "eval_every": 3, "checkpoint_every": 2}


def test_it_learns_to_answer_and_keeps_the_best(tmp_path: Path) -> None:
    detector, notes = FlagDetector(), Notebook()
    assert isinstance(detector, Answering) and isinstance(detector, Trainable) and isinstance(LargeTuner(), Tuner)
    result = run(tmp_path, notes, detector)
    assert result.adapter == tmp_path / "adapter" and result.metrics["validation_loss_start"] == 1.0
    assert result.metrics["validation_interval_f1"] > 0.7
    assert result.metrics["validation_interval_f1"] == max(detector.kept)  # the best, not the last
    assert {"rows": 32.0, "rows_too_long": 0.0, "tokens_per_row": 18.0}.items() <= result.metrics.items()
    assert {"train_loss", "learning_rate", "grad_norm", "validation_interval_f1"} <= notes.rows[-1][1].keys()
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]
    network = lora.merged(detector.network(), result.adapter)
    assert detector.validate(network, *_held(detector)).items() <= result.metrics.items()


def _held(detector: FlagDetector) -> tuple[Any, Any]:
    """The windows that validated, and their truth."""
    from tsad.training.batches import split
    from tsad.training.datasets import masks

    version, options = make_version(48), make_options()
    flags = [bool(r.intervals) for r in version.windows]
    points = [r.window.point_id for r in version.windows]
    chosen = split(points, flags, options.validation_share, options.seed).validation
    truths = masks(version)
    return [version.windows[k].window for k in chosen], [truths[k] for k in chosen]


def test_the_same_arguments_give_the_same_adapter(tmp_path: Path) -> None:
    first = digest(run(tmp_path / "a", **SHORT, dropout=0.1))
    torch.manual_seed(99)
    assert digest(run(tmp_path / "b", **SHORT, dropout=0.1)) == first
    assert digest(run(tmp_path / "c", **SHORT, dropout=0.1, seed=1)) != first
    assert digest(run(tmp_path / "d", **SHORT, dropout=0.1, gradient_checkpointing=True)) == first


@pytest.mark.parametrize("micro", [1, 3, 8])
def test_a_batch_in_pieces_is_the_batch(tmp_path: Path, micro: int) -> None:
    whole, cut = run(tmp_path / "whole", **SHORT), run(tmp_path / "cut", **SHORT, micro_batch=micro)
    assert whole.adapter and cut.adapter
    assert cut.metrics["train_loss"] == pytest.approx(whole.metrics["train_loss"], rel=1e-4)
    left, right = saved.check(whole.adapter), saved.check(cut.adapter)
    # Adam divides by the gradient's size, so where one is all but zero its sign is chance
    away = torch.cat([(left[name] - right[name]).abs().flatten() for name in left])
    assert float(away.median()) < 1e-4


def test_a_broken_run_resumes_to_the_same_adapter(tmp_path: Path) -> None:
    kept = {**SHORT, "dropout": 0.1}
    whole = run(tmp_path / "whole", **kept)
    with pytest.raises(ConnectionError):
        run(tmp_path / "broken", Notebook(6), **kept)
    again = run(tmp_path / "broken", **kept)
    assert again.resumed and digest(again) == digest(whole)
    with pytest.raises(ConnectionError):
        run(tmp_path / "other", Notebook(6), **kept)
    with pytest.raises(TrainingError, match=r"another training run: adapter\.micro_batch was None, is 2"):
        run(tmp_path / "other", **kept, micro_batch=2)


def test_a_stop_loses_no_step(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", **SHORT)
    switch, bar = Switch(), Bar()
    with pytest.raises(StopRequested):
        stopped = Context(progress=bar, control=switch)
        run(tmp_path / "a", StopAt(switch, 3), context=stopped, **SHORT)
    assert bar.told == [("training", 6, 0)] and bar.steps == 3
    again = run(tmp_path / "a", **SHORT)
    assert again.resumed and digest(again) == digest(whole)


def test_it_goes_on_from_an_adapter(tmp_path: Path) -> None:
    first = run(tmp_path / "a", steps=30)
    second = run(tmp_path / "b", start=first.adapter, **SHORT, seed=1)
    assert second.metrics["validation_loss_start"] < 1.0
    with pytest.raises(TrainingError, match=r"adapter.dora is True, but .* has False"):
        run(tmp_path / "c", start=first.adapter, **SHORT, dora=True)


@pytest.mark.parametrize("changes", [{"dora": True}, {"method": "full"}])
def test_other_methods_train_too(tmp_path: Path, changes: dict[str, Any]) -> None:
    kept = {**SHORT, **changes, "learning_rate": 0.003}
    whole = run(tmp_path / "whole", **kept)
    with pytest.raises(ConnectionError):
        run(tmp_path / "a", Notebook(6), **kept)
    assert digest(run(tmp_path / "a", **kept)) == digest(whole)
    assert whole.adapter
    adapted = token_logits(lora.for_scoring(tiny_qwen(), whole.adapter))
    assert not torch.allclose(adapted, token_logits(tiny_qwen()))


def test_rows_that_are_too_long_are_named_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Wordy(FlagDetector):
        def rows(self, reviewed: Any) -> list[FlagRow]:
            made = super().rows(reviewed)
            return [FlagRow((2,) * 40 + row.prompt, row.answer, row.window_id) for row in made[:2]] + made[2:]

    detector = Wordy()
    with caplog.at_level(logging.WARNING, "tsad"):
        result = run(tmp_path, detector=detector, **SHORT, max_tokens=20)
    assert result.metrics["rows_too_long"] == 2 and result.metrics["rows"] == 30
    assert "2 of 32 rows are longer than adapter.max_tokens=20 and do not train: " in caplog.text
    assert caplog.text.count("(58 tokens)") == 2
    assert max(row.tokens for batch in detector.collated for row in batch) == 18
    with pytest.raises(TrainingError, match=r"None of 32 rows fits adapter.max_tokens=10 \(longest: 58 tokens\)"):
        run(tmp_path, detector=Wordy(), **SHORT, max_tokens=10)


def test_replay_fills_its_share(tmp_path: Path) -> None:
    class Replaying(FlagDetector):
        def replay(self, count: int, rng: Any) -> list[FlagRow]:
            heights = rng.integers(2, 6, (count, 8))
            return [FlagRow((*map(int, row), 12), (13,) * 8 + (1,), "made") for row in heights]

    detector = Replaying()
    run(tmp_path, detector=detector, steps=2, eval_every=2, checkpoint_every=0, replay_share=0.25)
    assert [Counter(row.window_id == "made" for row in batch)[True] for batch in detector.collated] == [2, 2]


# ---- bases of 4 bits, on the CPU


def test_qlora_trains_and_scores_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    tiny_qwen().save_pretrained(tmp_path / "base")
    kept = {"quantisation": "nf4", "optimiser": "adamw_8bit", "micro_batch": 4, "gradient_checkpointing": True}
    notes = Notebook()
    result = run(tmp_path / "a", notes, FlagDetector(tmp_path / "base"), steps=12, **kept)
    assert result.adapter and notes.rows[-1][1]["train_loss"] < 0.5 * notes.rows[1][1]["train_loss"]
    scores = token_logits(lora.for_scoring(in_4_bits(tmp_path / "base"), result.adapter))
    assert not torch.allclose(scores, token_logits(in_4_bits(tmp_path / "base")))
    script = textwrap.dedent(f"""
        import torch
        torch.set_num_threads({torch.get_num_threads()})
        from llm_kit import in_4_bits, token_logits
        from safetensors.torch import save_file
        from tsad.adapters import lora
        model = lora.for_scoring(in_4_bits({str(tmp_path / "base")!r}), {str(result.adapter)!r})
        save_file({{"logits": token_logits(model)}}, {str(tmp_path / "scores.safetensors")!r})
    """)
    places = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(places)
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, timeout=240, check=True)
    from safetensors.torch import load_file

    assert torch.equal(load_file(tmp_path / "scores.safetensors")["logits"], scores)


def test_qlora_resumes_to_the_same_adapter(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    tiny_qwen(hidden=128).save_pretrained(tmp_path / "base")  # large enough for states of 8 bits
    kept = {**SHORT, "quantisation": "nf4", "optimiser": "adamw_8bit", "r": 32}
    whole = run(tmp_path / "whole", detector=FlagDetector(tmp_path / "base"), **kept)
    with pytest.raises(ConnectionError):
        run(tmp_path / "b", Notebook(6), FlagDetector(tmp_path / "base"), **kept)
    again = run(tmp_path / "b", detector=FlagDetector(tmp_path / "base"), **kept)
    assert again.resumed and digest(again) == digest(whole)


def test_the_base_has_to_be_as_the_options_say(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    with pytest.raises(TrainingError, match=r"adapter.quantisation is nf4, but .* not quantised"):
        run(tmp_path, **SHORT, quantisation="nf4")
    tiny_qwen().save_pretrained(tmp_path / "base")
    with pytest.raises(TrainingError, match=r"adapter.quantisation is none, but .* in 4 bits"):
        run(tmp_path, detector=FlagDetector(tmp_path / "base"), **SHORT)


@pytest.mark.parametrize("changes", [{"quantisation": "nf4"}, {"optimiser": "adamw_8bit"}])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"needs bitsandbytes.*qlora"):
        LargeTuner().check(make_options(**FAST, **changes))


# ---- what it says


class Planning(FlagDetector):
    def memory_plan(self, options: AdapterOptions) -> MemoryPlan:
        return memory_plan(tiny_qwen(), RowSize(18, 9), options, "tiny", degrades="users report garbage")


def test_a_full_gpu_is_named_with_what_saves_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Planning):
        def collate(self, rows: Any) -> Any:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(TrainingError, match=r"The GPU is full \(planned: 0\.8 GiB\): CUDA out of memory") as caught:
        run(tmp_path, detector=Full(), **SHORT)
    assert "Try adapter.quantisation=nf4 (saves" in str(caught.value)

    class Unplanned(FlagDetector):
        collate = Full.collate

    with pytest.raises(TrainingError, match=r"Try adapter=qlora, adapter\.micro_batch=1"):
        run(tmp_path, detector=Unplanned(), **SHORT)


def test_too_little_memory_is_said_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(large, "gpu_at_hand", lambda: ("Toy 0.1", 0.1))
    with caplog.at_level(logging.WARNING, "tsad"):
        run(tmp_path, detector=Planning(), **SHORT)
    assert "training tiny is planned to take 0.8 GiB, Toy 0.1 has 0.1. Try adapter.quantisation=nf4" in caplog.text
    assert memory.gpu_at_hand() is None or torch.cuda.is_available()
    assert large.peak_told(9.12, 9.8) == "peak 9.1 GiB, planned 9.8 GiB"
    assert large.peak_told(9.12, None) == "peak 9.1 GiB, planned nothing"


def test_what_cannot_be_trained_is_named(tmp_path: Path) -> None:
    class Silent:
        network = encode = collate = None

    with pytest.raises(TrainingError, match="Silent makes no rows of tokens"):
        run(tmp_path, detector=Silent(), **SHORT)

    class Plain(FlagDetector):
        def network(self) -> Any:
            return torch.nn.Sequential(torch.nn.Linear(4, 4))

    with pytest.raises(TrainingError, match=r"gradient_checkpointing is true, but Sequential cannot"):
        run(tmp_path, detector=Plain(), **SHORT, gradient_checkpointing=True)
    gold = make_version(purpose=Purpose.GOLD)
    with pytest.raises(TrainingError, match="Gold windows never train"):
        LargeTuner().fit(FlagDetector(), gold, make_options(**FAST), TuningCall(folder=tmp_path), Notebook())
    assert run(tmp_path, enabled=False).adapter is None


def test_bf16_is_computed_in_on_request(tmp_path: Path) -> None:
    result = run(tmp_path, **SHORT, precision="bf16")
    assert result.adapter and digest(result) != digest(run(tmp_path / "full", **SHORT, precision="float32"))
    assert all(tensor.dtype == torch.float32 for tensor in saved.check(result.adapter).values())


# ---- batches


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_every_row_comes_once_per_epoch(rows: int, size: int, seed: int, grouped: bool) -> None:
    lengths = [(k * 7) % 11 for k in range(rows)] if grouped else None
    draws, steps = NaturalDraws(rows, size, seed, lengths), -(-rows // size)
    for epoch in range(2):
        batches = [draws.at(epoch * steps + k) for k in range(steps)]
        assert sorted(row for batch in batches for row in batch) == list(range(rows))
        assert sum(len(batch) < size for batch in batches) <= 1


def test_batches_hold_rows_of_like_length() -> None:
    lengths = [(k * 37) % 101 for k in range(200)]

    def padding(draws: NaturalDraws) -> int:
        batches = [draws.at(step) for step in range(25)]
        return sum(max(lengths[k] for k in b) * len(b) - sum(lengths[k] for k in b) for b in batches)

    assert padding(NaturalDraws(200, 8, 0, lengths)) < 0.25 * padding(NaturalDraws(200, 8, 0))


def test_each_process_takes_its_rows_and_all_take_as_many_passes() -> None:
    def processes(count: int, rank: int) -> Processes:
        one = Processes()
        one.count, one.rank = count, rank
        return one

    rows = list(range(7))
    assert processes(1, 0).cut(rows, None) == [(rows, True)]
    assert processes(1, 0).cut(rows, 3) == [([0, 1, 2], True), ([3, 4, 5], True), ([6], True)]
    assert processes(2, 0).cut(rows, 2) == [([0, 2], True), ([4, 6], True)]
    assert processes(2, 1).cut(rows, 2) == [([1, 3], True), ([5], True)]
    assert processes(3, 2).cut([4, 5], None) == [([4], False)]


# ---- several processes, started by accelerate on the CPU (gloo)

TOGETHER = """
import json, sys
from pathlib import Path
from test_large import FAST, FlagDetector, LargeTuner, Notebook, TuningCall, make_options, make_version
from tsad.training.processes import rank_of_launch

class Looking(FlagDetector):
    def validate(self, network, windows, masks):
        self.parts = sorted({type(p).__name__ for p in network.parameters()})
        return super().validate(network, windows, masks)

folder, detector = Path(sys.argv[1]) / str(rank_of_launch()), Looking()
options = make_options(**{**FAST, **json.loads(sys.argv[2])})
result = LargeTuner().fit(detector, make_version(48), options, TuningCall(folder=folder), Notebook())
told = {"metrics": dict(result.metrics), "parts": detector.parts, "adapter": (folder / "adapter").exists()}
folder.mkdir(exist_ok=True)
(folder / "told.json").write_text(json.dumps(told))
"""


def test_what_several_processes_cannot_do_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(TrainingError, match=r"DeepSpeed, which nothing here drives.*fsdp\.yaml"):
        run(tmp_path, **SHORT)
    monkeypatch.delenv("ACCELERATE_USE_DEEPSPEED")
    monkeypatch.setattr(Processes, "__init__", _cut_up)
    with pytest.raises(TrainingError, match=r"adapter\.method=full under FSDP"):
        run(tmp_path, **SHORT, method="full")


def _cut_up(processes: Processes) -> None:
    processes.count, processes.rank, processes.sharded = 2, 0, True


@pytest.mark.parametrize("config", ["", "fsdp"])
def test_two_processes_train_as_one_does(tmp_path: Path, config: str) -> None:
    kept = {"steps": 12, "batch_size": 7, "micro_batch": 2}
    alone = run(tmp_path / "alone", **kept)
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root / "tests"), str(root), os.environ.get("PYTHONPATH", "")])
    sharded = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"} if config else {}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script),
         str(tmp_path), json.dumps(kept)],
        env={**os.environ, "PYTHONPATH": path, "ACCELERATE_USE_CPU": "true", **sharded}, timeout=280,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / rank / "told.json").read_text()) for rank in "01")
    assert first["adapter"] and not second["adapter"]  # one of them keeps it
    assert first["parts"] == (["DTensor"] if config else ["Parameter"])
    assert first["metrics"]["train_loss"] == pytest.approx(alone.metrics["train_loss"], rel=1e-4)
    assert second["metrics"]["validation_loss"] == first["metrics"]["validation_loss"]
    saved.check(tmp_path / "0" / "adapter")


def test_four_bit_weights_are_not_repacked_for_one_kind_of_cpu() -> None:
    from tsad.adapters.lora import plain_on_cpus

    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    network[0].support_avx512bf16_for_cpu = True  # as bitsandbytes' layers say on such a CPU
    plain_on_cpus(network)
    assert network[0].support_avx512bf16_for_cpu is False and not hasattr(network[1], "support_avx512bf16_for_cpu")
