"""An option is declared once: what is refused at the door, what old configs become, what users add themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tsad.config import BASES, GROUPS, UNFROZEN, Settings, options_of, settings, thawed, yaml_text
from tsad.config.freeze import ADDED, FORMER, differences, translated
from tsad.config.parts import base_of, located, model_of
from tsad.config.typed import TypedKeys
from tsad.config.validation import OptionsError, validated
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.option_model import Options, Refusal
from tsad.core.options.threshold import ThresholdOptions, kept_threshold
from tsad.loop.iteration import iterate
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import open_store

Make = Callable[..., Settings]
Bench = Callable[..., Workbench]
FROZEN = Path(__file__).parent / "frozen"  # what the version before options were models froze, as it was written


# --- refused at the door -----------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_said_at_once(options: Make) -> None:
    with pytest.raises(OptionsError) as caught:
        options(
            "review=simulated", "adapter.r=0", "adapter.validation_share=0.7", "gold.windows=2", "sampling.windows=x",
            "review.miss_rate=2", "+detector.nonsense=1", "cache.offline=only", "cache.enabled=false",
        )  # fmt: skip
    text = str(caught.value)
    assert text.startswith("7 options are wrong: (1) ") and len(caught.value.faults) == 7
    for said in (
        "adapter.r is 0. It has to be at least 1",
        "adapter.validation_share is 0.7. It has to be at least 0 and at most 0.5",
        "gold.strata is 4 but gold.windows is 2. Every stratum needs a window; lower gold.strata",
        "sampling.windows is 'x' (str). It takes a whole number",
        "review.miss_rate is 2. It has to be at least 0 and at most 1",
        "unknown key detector.nonsense",
        "cache.offline=only with cache.enabled=false: nobody may answer",
    ):
        assert said in text


def test_a_single_fault_reads_as_one(options: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        options("adapter.validation_share=0.7")
    assert caught.value.found == "adapter.validation_share is 0.7"
    assert caught.value.remedy == "It has to be at least 0 and at most 0.5."


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["review.mode=simulated"], ["unknown key review.mode", "review=simulated or review=label_studio"]),
        (["sampling.strategy=random"], ["unknown key sampling.strategy", "sampling=mix"]),
        (["threshold.rule=fixed"], ["unknown key threshold.rule", "threshold=calibrated, fixed"]),
        (["gold.split=time"], ["unknown key gold.split", "gold=time"]),
        (["gold.origin=people"], ["unknown key gold.origin", "gold=people"]),
        (["+gold.origin=people"], ["unknown key gold.origin", "gold=people"]),
        (["threshold.shrinkage=1"], ["unknown key threshold.shrinkage", "It is a key of threshold=reviewed"]),
        (["review=simulated", "review.url=http://x"], ["unknown key review.url", "review=label_studio"]),
        (["threshold=best"], ["threshold", "best", "calibrated"]),
        (["threshold._target_=tsad.sources.csv.CsvSource"], ["threshold._target_", "is no ThresholdRule"]),
        (["review._target_=os.system"], ["review._target_", "is no Reviewer"]),
        (["adapter.enabled=1"], ["adapter.enabled is 1", "true or false"]),
        (["adapter.r=true"], ["adapter.r is True", "whole number"]),
        (["adapter.learning_rate=inf"], ["adapter.learning_rate is inf", "above 0"]),
        (["tracking.uri=null"], ["tracking.uri is null", "a text"]),
        (["loop.name=???"], ["loop.name is not set", "Type e.g. loop.name=plant"]),
        (["review.wait=no"], ["review.wait"]),
    ],
)
def test_refused_with_what_to_type(options: Make, overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        options(*overrides)
    for word in words:
        assert word in str(caught.value)


def test_nothing_is_frozen_before_everything_could_be_built(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tsad.sources.synthetic import SyntheticSource

    def broken(*_: Any, **__: Any) -> None:
        raise ConfigError("source.points is a prime number", "Give another.")

    one = bench("source=synthetic", "review=simulated", "detector=robust_zscore", "loop.name=door")
    monkeypatch.setattr(SyntheticSource, "__init__", broken)
    with pytest.raises(ConfigError, match="prime"):
        iterate(one)
    assert "door" not in open_store(one.tracking, one.home).loops()


def test_a_verb_s_own_keys_are_refused_with_the_rest(options: Make, home: Path) -> None:
    from tsad.config import compose

    class Keys(Options):
        count: int

    cfg = compose(["adapter.r=0", "+count=many", "+cuont=2"])
    with pytest.raises(OptionsError) as caught:
        settings(cfg, keys=Keys, verb="train")
    assert [fault.found for fault in caught.value.faults] == [
        "adapter.r is 0", "count is 'many' (str)", "train has no key cuont",
    ]  # fmt: skip
    assert "Did you mean count?" in str(caught.value)


def test_a_refusal_never_reads_values_as_templates() -> None:
    class Pair(Options):
        low: int
        name: str

        def model_post_init(self, _: Any) -> None:
            raise Refusal("{low} goes badly with {name}={0}", "Change {name}.", self.name)

    with pytest.raises(ConfigError, match=r"g\.low goes badly with g\.name={low}\. Change g\.name\."):
        validated(Pair, {"low": 1, "name": "{low}"}, "g")


# --- what null stands for --------------------------------------------------------------------------------------

QWEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def test_null_stands_for_the_detector_s_own(bench: Bench) -> None:
    from tsad.config.tuning import adapter_for

    plant = ["source=synthetic", "review=simulated"]
    one = bench(*plant)
    assert [getattr(one.adapter, key) for key in ("target_modules", "modules_to_save", "learning_rate")] == [None] * 3
    filled = adapter_for(one.adapter, one.make_detector())
    assert (filled.target_modules, filled.modules_to_save, filled.learning_rate) == (QWEN, ["decoder", "head"], 0.001)
    assert filled.for_detector(one.detector_kind.adapter_defaults) == filled
    assert one.parameters()["adapter.learning_rate"] == 0.001
    assert one.parameters("adapter")["adapter.target_modules"] == QWEN
    typed = bench(*plant, "adapter.learning_rate=0.1", "adapter.target_modules=[q_proj]")
    filled = adapter_for(typed.adapter, typed.make_detector())
    assert (filled.target_modules, filled.learning_rate) == (["q_proj"], 0.1)
    untrained = bench(*plant, "detector=robust_zscore", "adapter=qlora")  # a group that is not used is accepted
    assert adapter_for(untrained.adapter, untrained.make_detector()) == untrained.adapter


def test_an_encoder_joins_the_targets(options: Make) -> None:
    own = {"target_modules": ("q_proj",), "modules_to_save": (), "learning_rate": 1e-4}
    series = own | {"encoder_modules": ("ts_encoder.mlp.*",)}
    asked = options("adapter.train_encoder=true").adapter
    filled = asked.for_detector(series)
    assert filled.target_modules == ["q_proj", "ts_encoder.mlp.*"] and filled.for_detector(series) == filled
    assert options("adapter.train_encoder=true", "adapter.target_modules=all-linear").adapter.for_detector(
        series
    ).target_modules == "all-linear"
    with pytest.raises(ConfigError, match="has no encoder of its own"):
        asked.for_detector(own)
    with pytest.raises(ConfigError, match=r"beside the expression adapter\.target_modules=q_\.\*"):
        options("adapter.train_encoder=true", "adapter.target_modules=q_.*").adapter.for_detector(series)
    with pytest.raises(ConfigError, match=r"adapter\.learning_rate is null, and the detector has no value"):
        asked.for_detector({"target_modules": ("q_proj",), "modules_to_save": ()})


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["adapter=full", "adapter.quantisation=nf4"], ["adapter.method is full", "adapter.quantisation=nf4"]),
        (["adapter=full", "adapter.dora=true"], ["adapter.method is full", "adapter.dora=true"]),
        (["adapter=full", "adapter.train_encoder=true"], ["adapter.train_encoder=true"]),
        (["adapter.quantisation=int8"], ["adapter.quantisation is 'int8'", "nf4"]),
        (["adapter.optimiser=sgd"], ["adapter.optimiser", "adamw"]),
        (["adapter.precision=fp16"], ["adapter.precision", "bf16"]),
        (["adapter.micro_batch=0"], ["adapter.micro_batch is 0", "at least 1"]),
        (["adapter.max_tokens=0"], ["adapter.max_tokens is 0"]),
        (["adapter.method=dora"], ["adapter.method", "lora"]),
        (["adapter.group_by_length=1"], ["adapter.group_by_length is 1", "true or false"]),
    ],
)
def test_what_of_adapter_is_refused(options: Make, overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        options(*overrides)
    for word in words:
        assert word in str(caught.value)


def test_what_a_tuner_cannot_honour_is_refused_before_anything_is_frozen(bench: Bench) -> None:
    from tsad.core.errors import TrainingError
    from tsad.loop.train import train_challenger

    plant = ["source=synthetic", "review=simulated", "loop.name=door"]
    for words, said in (
        (["adapter=qlora"], r"adapter\.quantisation is nf4, which only large detectors"),
        (["adapter.optimiser=adamw_8bit"], r"adapter\.optimiser is adamw_8bit"),
        (["adapter.gradient_checkpointing=true"], r"adapter\.gradient_checkpointing is True"),
        (["adapter.micro_batch=2"], r"adapter\.micro_batch is 2.*adapter\.micro_batch=null"),
        (["adapter.precision=bf16"], r"adapter\.precision is bf16"),
    ):
        one = bench(*plant, *words)
        with pytest.raises(TrainingError, match=said):
            iterate(one)
        with pytest.raises(TrainingError, match=said):
            train_challenger(one, "latest")
        assert not one.home.exists() or "door" not in open_store(one.tracking, one.home).loops()


# --- old configs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "words"), [
    ("people", ["source=csv", "source.root=/data/plant", "loop.name=old", "gold=people", "review.utc_offset=+08:00",
                "sampling.windows=30", "sampling.once=0"]),
    ("simulated", ["experiment=demo", "sampling=top_score", "threshold=reviewed", "threshold.shrinkage=12", "gold=time",
                   "review.miss_rate=0.1", "sampling.once=0"]),
])  # fmt: skip
def test_a_config_frozen_by_an_older_version_thaws_to_the_same(options: Make, name: str, words: list[str]) -> None:
    text, now = (FROZEN / f"{name}.yaml").read_text("utf-8"), options(*words)
    assert differences(now.config_yaml, text, TypedKeys(frozenset(GROUPS))) == []
    again = settings(thawed(text, options().groups, options().config_yaml))
    for group in set(GROUPS) - set(UNFROZEN):
        assert again.groups[group] == now.groups[group], group
    assert [again.parts[g].kind for g in again.parts] == [now.parts[g].kind for g in now.parts]
    then = translated(yaml.safe_load(text))  # groups that came later are those of the config in use
    assert {g: v for g, v in yaml.safe_load(again.config_yaml).items() if g in then} == then
    other = options(*words, "sampling.windows=7").config_yaml
    typed = TypedKeys.of(["sampling.windows=7"])
    assert differences(other, text, typed) == [f"sampling.windows=7 (frozen: {now.sampling.windows})"]


@pytest.mark.parametrize("group", BASES)
def test_a_frozen_config_cannot_choose_what_is_imported(
    options: Make, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'sprung')!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    now = options("source=synthetic", "review=simulated")
    frozen = yaml.safe_load(now.config_yaml)
    frozen[group]["_target_"] = "planted.Thing"
    with pytest.raises(ConfigError, match=f"names planted.Thing as its {group}, which neither tsad nor your config"):
        thawed(yaml.safe_dump(frozen), now.groups, now.config_yaml)
    assert not (tmp_path / "sprung").exists()
    folder = tmp_path / "conf" / group  # the user's own words
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("_target_: planted.Thing\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert thawed(yaml.safe_dump(frozen), now.groups, now.config_yaml)[group]["_target_"] == "planted.Thing"


def test_every_former_choice_is_a_class_that_takes_what_is_left() -> None:
    for group, former in FORMER.items():
        targets = set()
        for chosen, choice in former.choices.items():
            kind: type[Any] = located(choice.target, group, base_of(group))
            later = {addition.key for addition in ADDED.get(group, ()) if addition.beside in choice.keys}
            assert set(choice.keys) | later == set(model_of(kind).model_fields), chosen
            targets.add(choice.target)
        assert targets <= {yaml.safe_load(yaml_text(f"{group}/{o}") or "")["_target_"] for o in options_of(group)}


def test_what_was_translated_is_left_alone_and_nonsense_is_refused() -> None:
    new = {"review": {"_target_": "x", "mode": "simulated"}, "loop": {"name": "a"}, "task": 3}
    assert translated(new) == new
    with pytest.raises(ConfigError, match=r"gold\.origin=luck and gold\.split=series"):
        translated({"gold": {"origin": "luck", "split": "series"}})


def test_a_registered_version_keeps_how_its_scores_become_intervals() -> None:
    flat = {"rule": "quantile", "default": 0.5, "quantile": 0.99, "shrinkage": 8.0, "merge_gap": 3, "min_length": 2,
            "max_length": 9}  # fmt: skip
    wanted = ThresholdOptions(default=0.5, merge_gap=3, min_length=2, max_length=9)
    assert kept_threshold(flat) == wanted
    assert kept_threshold({"_target_": "tsad.x.Y", "quantile": 0.99, **dict(wanted)}) == wanted
    assert kept_threshold({"default": 0.0}) == ThresholdOptions(default=0.0, merge_gap=0, min_length=1, max_length=0)


# --- a new one is one file and one YAML -------------------------------------------------------------------

MODULE = '''
from typing import Any

import numpy as np
from pydantic import Field

from tsad.core.options import GoldOptions, SamplingOptions, ThresholdOptions
from tsad.core.reviews import ReviewState, ReviewedWindow
from tsad.detectors.rules.base import ThresholdRule
from tsad.review.base import Reviewer
from tsad.review.gold.labels import LabelsGold
from tsad.review.strategies.base import Component, Strategy


class FirstOptions(SamplingOptions):
    favour: float = Field(gt=1)


class First(Strategy):
    name = "first"
    options_model = FirstOptions

    def parts(self, pool):
        return [Component(self.name, 1.0, np.linspace(self.settings.favour, 1.0, len(pool)))]


class HalfOptions(ThresholdOptions):
    way: float = Field(ge=0, le=1)


class Half(ThresholdRule):
    options_model = HalfOptions

    def choose(self, evidence):
        return self.settings.default * self.settings.way


class Yes(Reviewer):
    needs_labels = True

    def push(self, choices):
        return len(choices)

    def pull(self, choices):
        return [
            ReviewedWindow(c, (), ReviewState.ACCEPTED, c.proposal or ()) for c in choices
        ]


class Even(LabelsGold):
    def starts(self, labelled, length):
        return {id(s): 0 for s in labelled[::2]}
'''
GATE = """
min_intervals: 1
metric: interval_f1
guard: composite_f1
margin: 0.05
min_gain: 0.0
alpha: 0.1
resamples: 100
seed: 0
"""
RUNS = "merge_gap: 4\nmin_length: 1\nmax_length: 0\n"
YAMLS = {
    "sampling/first": "_target_: my_loop_parts.First\nwindows: 6\nfavour: 3.0\nmax_per_series: 0\nseed: 0\n",
    "threshold/half": f"_target_: my_loop_parts.Half\ndefault: 0.9\nway: 0.5\n{RUNS}",
    "review/yes": "_target_: my_loop_parts.Yes\nwait: false\npoll_seconds: 1.0\nmin_reviewed: 0\nagreement_iou: 0.5\n",
    "gold/even": f"_target_: my_loop_parts.Even\nshare: 0.5{GATE}",
}


def test_a_new_strategy_rule_and_reviewer_are_a_file_and_a_yaml_each(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_loop_parts.py").write_text(MODULE)
    for name, text in YAMLS.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# mine\n{text}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = [
        "sampling=first", "threshold=half", "review=yes", "gold=even", "source=synthetic", "source.series=6",
        "source.points=1200", "detector=robust_zscore", "windows.length=128", "windows.context=128", "tracking.plots=0",
        "tracking.system_metrics=false", "loop.iterations=1", "loop.name=mine", "adapter=none",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"sampling\.favour is 0\.5\. It has to be above 1"):
        bench(*mine, "sampling.favour=0.5")
    one = bench(*mine)
    iterate(one)
    (done,) = LoopStore(open_store(one.tracking, one.home), "mine", 300.0).iterations()
    detected = done.finished("DETECT")
    assert done.state == "COMPLETED" and detected is not None
    assert detected.result["threshold"] == pytest.approx(0.45) and detected.result["queued"] == 6
    assert done.params["sampling.favour"] == "3.0" and done.params["review"] == "my_loop_parts.Yes"
    assert one.thaw(done.config_yaml).reviewer is one.reviewer


def test_learned_thresholds_by_name_take_what_the_composed_rule_says_too(bench: Bench) -> None:
    rule = bench("threshold.default=0.3").threshold_named("reviewed")
    assert type(rule).__name__ == "ReviewedRule" and rule.settings.default == 0.3
    rule = bench("threshold=fixed", "threshold.merge_gap=9").threshold_named("reviewed")
    assert rule.settings.merge_gap == 9 and np.isclose(rule.settings.default, 0.5)  # type: ignore[attr-defined]


def test_history_is_found_again_by_the_words_it_was_always_kept_under(options: Make) -> None:
    assert f"{options().downsample!r}" == "DownsampleOptions(method='none', every=None, count=None)"
