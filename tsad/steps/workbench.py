"""What every verb works with: the options of one composed config, and makers of its interchangeable parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.options import (
    AdapterOptions,
    GoldOptions,
    LoopOptions,
    ReviewOptions,
    SamplingOptions,
    ThresholdOptions,
    TrackingOptions,
    WindowOptions,
)

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """One composed config, ready to work: typed options and makers, no OmegaConf.

    Attributes:
        home: the store's folder ($TSAD_HOME, else ./mlruns), absolute.
        config_yaml: the composed config with secrets masked; what an iteration freezes.
        source_config: keyword arguments and ``_target_`` of the source.
        detector_config: keyword arguments and ``_target_`` of the detector.
        overrides: what the user typed for this run, e.g. ``adapter.r=16``.
        label_studio_token: reads the token where it is kept; raises ReviewError where it is not.
        thaw: builds the workbench that an iteration's frozen config describes.
    """

    loop: LoopOptions
    windows: WindowOptions
    threshold: ThresholdOptions
    adapter: AdapterOptions
    sampling: SamplingOptions
    gold: GoldOptions
    review: ReviewOptions
    tracking: TrackingOptions
    home: Path
    config_yaml: str
    source_config: Mapping[str, Any]
    detector_config: Mapping[str, Any]
    overrides: tuple[str, ...]
    make_source: Callable[[], Source]
    make_detector: Callable[[], Detector]
    label_studio_token: Callable[[], str]
    thaw: Callable[[str], Workbench]  # a workbench from the frozen config (YAML) of an iteration
