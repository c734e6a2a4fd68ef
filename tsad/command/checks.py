"""Refuses values and combinations that types alone let through, before any work starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tsad.command.schema import nearest
from tsad.core.durations import parse_duration
from tsad.core.errors import ConfigError
from tsad.core.options import (
    AdapterOptions,
    CacheOptions,
    DownsampleOptions,
    GoldOptions,
    LoopOptions,
    QualityOptions,
    ReviewOptions,
    SamplingOptions,
    ThresholdOptions,
    TrackingOptions,
    WindowOptions,
)

STRATEGIES = ("top_score", "low_confidence", "random")
GATE_METRICS = (
    "point_precision", "point_recall", "point_f1", "interval_precision", "interval_recall", "interval_f1",
    "interval_iou50_f1", "composite_f1", "auc_pr", "vus_pr",
)  # fmt: skip
MIN_WINDOW = 16
WARNINGS = (
    "gaps", "nan", "irregular", "duplicates", "backward", "stuck", "constant", "range", "units", "clock", "future",
    "labels",
)  # fmt: skip


class Options(Protocol):
    """The options of one composed config, one attribute per group."""

    @property
    def loop(self) -> LoopOptions: ...
    @property
    def windows(self) -> WindowOptions: ...
    @property
    def threshold(self) -> ThresholdOptions: ...
    @property
    def adapter(self) -> AdapterOptions: ...
    @property
    def sampling(self) -> SamplingOptions: ...
    @property
    def gold(self) -> GoldOptions: ...
    @property
    def review(self) -> ReviewOptions: ...
    @property
    def tracking(self) -> TrackingOptions: ...
    @property
    def cache(self) -> CacheOptions: ...
    @property
    def quality(self) -> QualityOptions: ...
    @property
    def downsample(self) -> DownsampleOptions: ...


@dataclass(frozen=True)
class Range:
    """Numbers a key may take; open ends are excluded."""

    low: float
    high: float = float("inf")
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value lies inside; NaN never does."""
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        floor = f"{'above' if self.open_low else 'at least'} {self.low:g}"
        if self.high == float("inf"):
            return floor
        return f"{floor} and {'below' if self.open_high else 'at most'} {self.high:g}"


SHARE = Range(0, 1)
BELOW_ONE = Range(0, 1, open_high=True)
INSIDE = Range(0, 1, open_low=True, open_high=True)
POSITIVE = Range(0, open_low=True)
COUNT = Range(1)
NOT_NEGATIVE = Range(0)

RANGES = {
    "loop.iterations": COUNT, "loop.until_f1": SHARE, "loop.lease": POSITIVE,
    "windows.length": Range(MIN_WINDOW), "windows.context": NOT_NEGATIVE,
    "threshold.default": SHARE, "threshold.quantile": INSIDE, "threshold.shrinkage": NOT_NEGATIVE,
    "threshold.merge_gap": NOT_NEGATIVE, "threshold.min_length": NOT_NEGATIVE, "threshold.max_length": NOT_NEGATIVE,
    "adapter.r": COUNT, "adapter.alpha": COUNT, "adapter.dropout": BELOW_ONE, "adapter.learning_rate": POSITIVE,
    "adapter.weight_decay": NOT_NEGATIVE, "adapter.steps": COUNT, "adapter.batch_size": COUNT,
    "adapter.warmup": SHARE, "adapter.grad_clip": NOT_NEGATIVE, "adapter.validation_share": BELOW_ONE,
    "adapter.patience": COUNT, "adapter.eval_every": COUNT, "adapter.checkpoint_every": NOT_NEGATIVE,
    "adapter.replay_share": BELOW_ONE, "adapter.min_windows": COUNT, "adapter.min_positive": NOT_NEGATIVE,
    "sampling.windows": COUNT, "sampling.temperature": POSITIVE, "sampling.max_per_series": NOT_NEGATIVE,
    "gold.share": INSIDE, "gold.windows": COUNT, "gold.strata": COUNT, "gold.min_intervals": NOT_NEGATIVE,
    "gold.min_gain": NOT_NEGATIVE, "gold.alpha": INSIDE, "gold.resamples": Range(100),
    "review.poll_seconds": POSITIVE, "review.min_reviewed": NOT_NEGATIVE, "review.agreement_iou": SHARE,
    "review.chunk": COUNT, "review.max_channels": COUNT, "review.miss_rate": SHARE, "review.shift_rate": SHARE,
    "review.shift_points": NOT_NEGATIVE, "review.spurious_rate": SHARE,
    "tracking.timeout_seconds": POSITIVE, "tracking.keep_versions": NOT_NEGATIVE, "tracking.plots": NOT_NEGATIVE,
    "quality.gap_steps": Range(1, open_low=True), "quality.missing_share": SHARE, "quality.irregular_share": SHARE,
    "quality.mended_share": NOT_NEGATIVE, "quality.stuck_points": Range(2), "quality.stuck_factor": COUNT,
    "quality.unit_tolerance": INSIDE, "quality.label_share": SHARE, "quality.refuse_missing_share": SHARE,
    "cache.late_seconds": NOT_NEGATIVE, "cache.max_gb": NOT_NEGATIVE, "cache.memory_mb": NOT_NEGATIVE,
}  # fmt: skip

CHOICES: dict[str, Sequence[str]] = {
    "threshold.rule": ("calibrated", "fixed", "quantile", "reviewed"),
    "adapter.start_from": ("champion", "base"),
    "sampling.strategy": (*STRATEGIES, "mix"),
    "gold.origin": ("auto", "labels", "people"),
    "gold.split": ("series", "time"),
    "gold.metric": GATE_METRICS,
    "gold.guard": GATE_METRICS,
    "review.mode": ("simulated", "label_studio"),
    "cache.offline": ("allow", "refuse", "only"),
    "downsample.method": ("none", "m4", "minmax", "mean"),
}


def check(options: Options) -> None:
    """Refuse what no verb could honour.

    A group that a verb does not use is accepted: ``adapter.enabled`` with a detector that cannot be trained is
    fine for ``detect``, and ``train`` says that it has nothing to train.

    Raises:
        ConfigError: names the first key at fault, its value and what it takes.
    """
    for key, allowed in RANGES.items():
        value = _value(options, key)
        _refuse(not allowed.holds(value), f"{key} is {value}", f"It has to be {allowed}.")
    for key, names in CHOICES.items():
        value = _value(options, key)
        _refuse(value not in names, f"{key} is {value!r}", nearest(str(value), names))
    _check_names(options)
    _check_sampling(options.sampling)
    _check_review(options.review)
    _check_quality(options.quality)
    _check_downsample(options.downsample)
    _check_combinations(options)


def _value(options: Options, key: str) -> float:
    group, name = key.split(".")
    return getattr(getattr(options, group), name)


def _refuse(wrong: bool, found: str, remedy: str) -> None:
    if wrong:
        raise ConfigError(found, remedy)


def _check_names(options: Options) -> None:
    name = options.loop.name
    _refuse(
        not name.strip() or bool(re.search(r"[/:\\%\x00-\x1f]", name)) or len(name) > 100 or name != name.strip(),
        f"loop.name is {name!r}",
        "It becomes part of a model's name: letters, digits, spaces, -, _ and ., at most 100.",
    )
    offset = re.fullmatch(r"[+-](\d\d):([0-5]\d)", options.review.utc_offset)
    _refuse(
        offset is None or int(offset[1]) * 60 + int(offset[2]) > 14 * 60,
        f"review.utc_offset is {options.review.utc_offset!r}",
        "People see one fixed offset, never a zone with daylight saving, e.g. +08:00 or +00:00.",
    )
    variable = options.review.token_env
    named = re.fullmatch(r"(?![0-9a-f]{20,}$)[A-Za-z_]\w*", variable, re.ASCII)  # 40 hex digits are a token
    _refuse(
        bool(variable) and named is None,
        "review.token_env is not the name of an environment variable",
        "Put the token into a variable and name that, e.g. LABEL_STUDIO_TOKEN.",
    )
    url = options.review.url
    _refuse(
        bool(url) and not url.startswith(("http://", "https://")),
        f"review.url is {url!r}",
        'It starts with http:// or https://, or is "" for the embedded Label Studio.',
    )


def _check_sampling(sampling: SamplingOptions) -> None:
    shares = sampling.mix
    for name, share in shares.items():
        _refuse(name not in STRATEGIES, f"unknown key sampling.mix.{name}", nearest(name, STRATEGIES, "sampling.mix"))
        _refuse(not SHARE.holds(share), f"sampling.mix.{name} is {share}", f"It has to be {SHARE}.")
    if sampling.strategy == "mix":
        total = sum(shares.values())
        _refuse(abs(total - 1) > 1e-6, f"the shares of sampling.mix add up to {total:g}", "They have to add up to 1.")
        _refuse(
            shares.get("random", 0.0) <= 0,
            "sampling.mix.random is 0",
            "Without a random share some windows are never seen and no estimate is fair; give it at least 0.1.",
        )


def _check_review(review: ReviewOptions) -> None:
    if review.mode == "simulated":
        _refuse(
            review.shift_rate > 0 and review.shift_points == 0,
            f"review.shift_rate is {review.shift_rate} but review.shift_points is 0",
            "Say by how many points edges may shift.",
        )


def _check_quality(quality: QualityOptions) -> None:
    parse_duration(quality.future, "quality.future")
    for factor in quality.unit_factors:
        _refuse(not factor > 1, f"quality.unit_factors holds {factor:g}", "Give those above 1; inverses are implied.")
    for name in quality.refuse:
        _refuse(name not in WARNINGS, f"quality.refuse holds {name!r}", nearest(name, WARNINGS))


def _check_downsample(downsample: DownsampleOptions) -> None:
    method, every, count = downsample.method, downsample.every, downsample.count
    given = [f"downsample.{k}={v}" for k, v in (("every", every), ("count", count)) if v is not None]
    if method == "none":
        remedy = "Choose downsample=m4, minmax or mean."
        _refuse(bool(given), f"{' and '.join(given)} with downsample.method=none", remedy)
        return
    _refuse(
        len(given) != 1,
        f"downsample.method={method} with {' and '.join(given) or 'neither downsample.every nor downsample.count'}",
        "Give exactly one: downsample.every=60s downsample.count=null, or downsample.every=null downsample.count=5000.",
    )
    if every is not None:
        parse_duration(every, "downsample.every")
    too_few = count is not None and count < MIN_WINDOW
    _refuse(too_few, f"downsample.count is {count}", f"It has to be at least {MIN_WINDOW}.")


def _check_combinations(options: Options) -> None:
    adapter, gold, threshold = options.adapter, options.gold, options.threshold
    _refuse(
        options.review.mode == "simulated" and gold.origin == "people",
        "gold.origin=people with review.mode=simulated: there is nobody to ask",
        "Use gold.origin=labels, or review=label_studio.",
    )
    _refuse(
        0 < threshold.max_length < threshold.min_length,
        f"threshold.max_length is {threshold.max_length}, below threshold.min_length={threshold.min_length}",
        "No interval could be both; use max_length=0 for no limit.",
    )
    _refuse(
        options.cache.offline == "only" and not options.cache.enabled,
        "cache.offline=only with cache.enabled=false: nobody may answer",
        "Leave one of the two out.",
    )
    _refuse(
        gold.strata > gold.windows,
        f"gold.strata is {gold.strata} but gold.windows is {gold.windows}",
        "Every stratum needs a window; lower gold.strata.",
    )
    _refuse(
        options.review.min_reviewed > options.sampling.windows,
        f"review.min_reviewed is {options.review.min_reviewed} but sampling.windows is {options.sampling.windows}",
        "The loop would wait for ever; lower review.min_reviewed.",
    )
    _refuse(
        adapter.enabled and not adapter.target_modules,
        "adapter.enabled is true but adapter.target_modules is empty",
        "Name the linear layers that LoRA is to sit on, or use adapter=none.",
    )
