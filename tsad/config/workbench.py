"""What every verb works with: the options of one composed config, and makers of its interchangeable parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.context import Context
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

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """One composed config, ready to work: typed options and makers, no OmegaConf.

    Attributes:
        context: who watches this call, who may stop it, what it holds in memory.
        home: the store's folder ($TSAD_HOME, else ./mlruns), absolute.
        config_yaml: the composed config with secrets masked; what an iteration freezes.
        source_config: keyword arguments and ``_target_`` of the source.
        detector_config: keyword arguments and ``_target_`` of the detector.
        overrides: what the user typed for this run, e.g. ``adapter.r=16``.
        detector_named: builds the detector of ``conf/detector/<name>.yaml``; what the user set for the detector of
            this config counts where that is the one named.
        csv_at: a CSV source over another file or folder, read as this config's source where that is one.
        label_export: a Label Studio export that labels the series (``source.labels=FILE.json``).
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
    cache: CacheOptions
    quality: QualityOptions
    downsample: DownsampleOptions
    context: Context
    home: Path
    config_yaml: str
    source_config: Mapping[str, Any]
    detector_config: Mapping[str, Any]
    overrides: tuple[str, ...]
    label_export: Path | None
    make_source: Callable[[], Source]
    make_detector: Callable[[], Detector]
    detector_named: Callable[[str], Detector]
    csv_at: Callable[[Path], Source]
    label_studio_token: Callable[[], str]
    thaw: Callable[[str], Workbench]  # a workbench from the frozen config (YAML) of an iteration

    def named(self, loop: str) -> Workbench:
        """The same workbench for a loop of another name, its frozen config included."""
        if loop == self.loop.name:
            return self
        import yaml

        config = yaml.safe_load(self.config_yaml)
        config["loop"]["name"] = loop
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        return replace(self, loop=replace(self.loop, name=loop), config_yaml=text)

    def parameters(self) -> dict[str, Any]:
        """The leaves people compare between iterations; everything else is in the config artifact."""
        groups = {
            "adapter": asdict(self.adapter), "threshold": asdict(self.threshold), "sampling": asdict(self.sampling),
            "gold": asdict(self.gold), "windows": asdict(self.windows), "detector": dict(self.detector_config),
            "source": dict(self.source_config),
        }
        found: dict[str, Any] = {"loop.name": self.loop.name, "review.mode": self.review.mode}
        for group, leaves in groups.items():
            found |= {f"{group}.{key}": value for key, value in leaves.items() if value is not None}
        return found
