"""What the config groups say, as typed frozen dataclasses. The values live in ``conf/``, not here.

``config.py`` fills them from YAML and refuses unknown keys and wrong types by name; rooms take
them (or their fields) and know nothing of Hydra.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """``windows``: how series are cut for people and for training."""

    length: int  # points per window: one review task
    context: int  # points kept on either side of a window in a dataset version


@dataclass(frozen=True, kw_only=True)
class ThresholdOptions:
    """``threshold``: from scores to intervals."""

    rule: str  # calibrated | fixed | quantile | reviewed
    default: float  # threshold before any review, 0..1; rule=calibrated: 0 = that of the default weights
    quantile: float  # rule=quantile: share of points below the threshold
    shrinkage: float  # rule=reviewed: weight of the default, in reviewed windows
    merge_gap: int  # points: proposals this close become one
    min_length: int  # points: shorter proposals are dropped
    max_length: int  # points: longer proposals are cut down to their highest part; 0 = unbounded


@dataclass(frozen=True, kw_only=True)
class AdapterOptions:
    """``adapter``: LoRA on the detector's linear layers, and how it is trained."""

    enabled: bool
    start_from: str  # champion | base
    r: int
    alpha: int
    dropout: float
    target_modules: list[str]
    modules_to_save: list[str]  # trained in full beside the LoRA matrices, e.g. the head
    learning_rate: float
    weight_decay: float
    steps: int
    batch_size: int
    warmup: float  # share of the steps
    grad_clip: float
    validation_share: float  # share of the reviewed windows kept for early stopping
    patience: int  # evaluations without improvement before stopping
    eval_every: int  # steps
    checkpoint_every: int  # steps; a killed run goes on from the last checkpoint
    replay_share: float  # share of each batch from synthetic windows, against forgetting
    min_windows: int  # fewer usable reviewed windows than this: no training
    min_positive: int  # fewer windows with an anomaly than this: no training
    seed: int


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """``sampling``: which windows people see."""

    strategy: str  # top_score | low_confidence | random | mix
    windows: int  # per iteration
    mix: dict[str, float]  # strategy=mix: share of each strategy; random must be > 0
    temperature: float  # how sharply score or uncertainty drives the choice; small = sharper
    max_per_series: int  # 0 = no limit
    seed: int


@dataclass(frozen=True, kw_only=True)
class GoldOptions:
    """``gold``: the fixed set every iteration is scored on, and the gate in front of the champion."""

    origin: str  # auto | labels | people
    split: str  # series | time
    share: float  # share of the series (split=series) or of each series' end (split=time)
    windows: int  # origin=people: windows drawn for people
    strata: int  # origin=people: strata of the first detector's score
    min_intervals: int  # fewer true gold intervals: "not enough evidence"
    metric: str  # the gate's metric, e.g. interval_f1
    guard: str  # a second metric that may not fall beyond chance, e.g. composite_f1
    min_gain: float  # the metric must rise by at least this much
    alpha: float  # one-sided level of the paired bootstrap
    resamples: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """``review``: who reviews, and where."""

    mode: str  # simulated | label_studio
    wait: bool  # label_studio: block with a progress line instead of stopping
    poll_seconds: float
    min_reviewed: int  # queue windows to be reviewed before the loop goes on; 0 = all
    agreement_iou: float  # below it, two people's answers are a CONFLICT; equality with the proposal at 1.0
    url: str  # label_studio: "" = the embedded one
    token_env: str  # label_studio: name of the environment variable that holds the token
    project: str  # label_studio: "" = tsad-<loop>
    template: str  # label_studio: file in label_studio/
    utc_offset: str  # label_studio: fixed offset people see, e.g. +08:00
    chunk: int  # label_studio: tasks per import call
    max_channels: int  # label_studio: channels drawn per task
    miss_rate: float  # simulated: share of true intervals overlooked
    shift_rate: float  # simulated: share of true intervals with shifted edges
    shift_points: int  # simulated: largest shift of an edge, points
    spurious_rate: float  # simulated: share of normal windows given a false interval
    seed: int


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """``tracking``: the MLflow store."""

    uri: str  # "" = SQLite under the store's folder ($TSAD_HOME, else ./mlruns)
    timeout_seconds: float  # how long an unreachable server may take to be called so
    system_metrics: bool
    keep_versions: int  # model versions whose artifacts stay besides champion, previous and tagged ones
    plots: int  # series drawn per step


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """``cache``: what stands between a source and whoever reads it. Not part of an iteration's frozen config."""

    enabled: bool  # false: every read goes to the source
    offline: str  # allow | refuse | only
    late_seconds: float  # ranged sources: the newest part of a cached range that is fetched again
    max_gb: float  # on disk; the entries that were read least recently go first; 0 = unbounded
    memory_mb: float  # the working set of this process


@dataclass(frozen=True, kw_only=True)
class QualityOptions:
    """``quality``: what a data-quality report looks for, and which of it keeps a point out; see conf/quality."""

    gap_steps: float  # usual steps: a longer distance between points is a gap
    missing_share: float  # warn: gaps, nan
    irregular_share: float  # warn: steps off the usual one
    mended_share: float  # warn: duplicates, backward steps
    stuck_points: int  # warn: runs of one value, at least this long
    stuck_factor: float  # ... and so many times as long as 99 of 100 runs of the channel
    unit_factors: list[float]  # warn: lasting changes of level and spread by one of them
    unit_tolerance: float
    future: str  # warn: a duration after now
    label_share: float  # warn
    refuse: list[str]  # names of warnings that keep a point out
    refuse_missing_share: float  # share of missing values that keeps a point out; 1 = never


@dataclass(frozen=True, kw_only=True)
class DownsampleOptions:
    """``downsample``: series made shorter after they are read; see conf/downsample."""

    method: str  # none | m4 | minmax | mean
    every: str | None  # a duration: mean distance of the points that are kept
    count: int | None  # about how many points are kept; exactly one of the two unless method=none


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """``loop``: the name everything hangs on, and when to stop."""

    name: str
    iterations: int  # stop after this many
    until_f1: float  # stop when the champion's gate metric reaches this; 0 = never
    fresh: bool  # true: when the loop has reached its end, start NAME-2, NAME-3, ... instead of saying so
    lease: float  # seconds: a claim on another host without heartbeat is dead after this
