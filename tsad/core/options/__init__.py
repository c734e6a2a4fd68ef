"""What the config groups say, as frozen models that several rooms read. The values live in ``conf/``, not here.

``config`` fills them from YAML; rooms take them (or their fields) and know nothing of Hydra. Where a group is one of
several classes (reviewer, strategy, threshold and gold rule), this is what they have in common, and
the rest is declared beside each class.
"""

from __future__ import annotations

from tsad.core.options.adapter import AdapterOptions
from tsad.core.options.cache import CacheOptions
from tsad.core.options.downsample import DownsampleOptions
from tsad.core.options.engine import EngineOptions
from tsad.core.options.gold import GoldOptions
from tsad.core.options.loop import LoopOptions
from tsad.core.options.prompt import PromptOptions
from tsad.core.options.quality import QualityOptions
from tsad.core.options.review import ReviewOptions
from tsad.core.options.sampling import SamplingOptions
from tsad.core.options.service import ServiceOptions
from tsad.core.options.threshold import ThresholdOptions, ThresholdRuleOptions
from tsad.core.options.tracking import TrackingOptions
from tsad.core.options.watch import WatchOptions
from tsad.core.options.windows import WindowOptions

__all__ = [
    "AdapterOptions", "CacheOptions", "DownsampleOptions", "EngineOptions", "GoldOptions", "LoopOptions",
    "PromptOptions", "QualityOptions", "ReviewOptions", "SamplingOptions", "ServiceOptions", "ThresholdOptions",
    "ThresholdRuleOptions", "TrackingOptions", "WatchOptions", "WindowOptions",
]  # fmt: skip
