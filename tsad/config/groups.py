"""The groups of a config, and the option model of each that is no choice between classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tsad.core.option_model import Options
from tsad.core.options import (
    AdapterOptions,
    CacheOptions,
    DownsampleOptions,
    EngineOptions,
    GoldOptions,
    LoopOptions,
    PromptOptions,
    QualityOptions,
    ReviewOptions,
    SamplingOptions,
    ServiceOptions,
    ThresholdRuleOptions,
    TrackingOptions,
    WatchOptions,
    WindowOptions,
)

OPTIONS: dict[str, type[Options]] = {
    "loop": LoopOptions,
    "windows": WindowOptions,
    "adapter": AdapterOptions,
    "tracking": TrackingOptions,
    "cache": CacheOptions,
    "quality": QualityOptions,
    "downsample": DownsampleOptions,
    "prompt": PromptOptions,
    "engine": EngineOptions,
    "watch": WatchOptions,
    "service": ServiceOptions,
}
# Chosen by _target_; the class has the model beside it and derives from the base that is named here.
BASES = {
    "source": "tsad.sources.base.Source",
    "detector": "tsad.detectors.base.Detector",
    "threshold": "tsad.detectors.rules.base.ThresholdRule",
    "sampling": "tsad.review.strategies.base.Strategy",
    "review": "tsad.review.base.Reviewer",
    "gold": "tsad.review.gold.base.GoldRule",
}
GROUPS = (
    "loop", "source", "detector", "windows", "threshold", "adapter", "sampling", "gold", "review", "tracking", "cache",
    "quality", "downsample", "prompt", "engine", "watch", "service",
)  # fmt: skip
# How this machine works, not what an iteration computes: never frozen, so that offline=only may finish an iteration.
UNFROZEN = ("cache", "watch", "service")
# Keys that there were: what to type instead.
SUCCESSORS = {
    "review.mode": "Choose review=simulated or review=label_studio.",
    "sampling.strategy": "Choose sampling=mix, top_score, low_confidence, random, or another file of conf/sampling.",
    "threshold.rule": "Choose threshold=calibrated, fixed, quantile or reviewed.",
    "gold.origin": "Choose gold=default (labels where there are any, else people), gold=labels or gold=people.",
    "gold.split": "Whole series are held back by gold=default or gold=labels, the end of each one by gold=time or "
    "gold=labels_time.",
}


@dataclass(frozen=True, kw_only=True)
class Composed:
    """What every reader of a composed config has of it: each group's options (of classes, what they have in common).

    Attributes:
        home: the store's folder ($TSAD_HOME, else ./mlruns), absolute.
        config_yaml: the composed config with secrets masked; what an iteration freezes.
        overrides: what the user typed for this run, e.g. ``adapter.r=16``, without the verb, its keys and Hydra's.
    """

    loop: LoopOptions
    windows: WindowOptions
    threshold: ThresholdRuleOptions
    adapter: AdapterOptions
    sampling: SamplingOptions
    gold: GoldOptions
    review: ReviewOptions
    tracking: TrackingOptions
    cache: CacheOptions
    quality: QualityOptions
    downsample: DownsampleOptions
    prompt: PromptOptions
    engine: EngineOptions
    watch: WatchOptions
    service: ServiceOptions
    home: Path
    config_yaml: str
    overrides: tuple[str, ...]
