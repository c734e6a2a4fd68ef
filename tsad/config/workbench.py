"""What every verb works with: the options of one composed config, and makers of its interchangeable parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.groups import Composed
from tsad.config.tuning import adapter_for
from tsad.core.context import Context
from tsad.core.errors import ConfigError, TsadError
from tsad.tracking.tensorboard import require_tensorboard

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.rules.base import ThresholdRule
    from tsad.review.base import Reviewer
    from tsad.review.gold.base import GoldRule
    from tsad.review.label_studio.options import LabelStudioOptions
    from tsad.review.strategies.base import Strategy
    from tsad.sources.base import Source

# What people compare between iterations: of these groups these leaves, ``None`` = all.
COMPARED: Mapping[str, tuple[str, ...] | None] = {
    "source": (), "detector": None, "threshold": None, "sampling": None, "review": (),
    "adapter": ("enabled", "start_from", "r", "alpha", "learning_rate", "steps", "seed"),
    "gold": ("metric", "margin", "alpha", "seed"), "windows": ("length",),
}  # fmt: skip
ALIASES = ("champion", "previous")  # of a loop's versions; a detector beside them goes by its YAML


@dataclass(frozen=True, kw_only=True)
class Workbench(Composed):
    """One composed config, ready to work: typed options and makers, no OmegaConf.

    Attributes:
        context: who watches this call, who may stop it, what it holds in memory.
        configs: keyword arguments and ``_target_`` of what is chosen so, by group, secrets masked.
        threshold_rule, strategy, gold_rule: what ``threshold``, ``sampling`` and ``gold`` choose.
        reviewer: the class that ``review`` chooses; see :meth:`make_reviewer`.
        detector_kind: the class of the detector.
        detector_named: builds the detector of ``conf/detector/<name>.yaml``; what the user set for the detector of
            this config counts where that is the one named.
        threshold_named: the rule of ``conf/threshold/<name>.yaml``.
        strategy_named: the strategy of ``conf/sampling/<name>.yaml``.
        source_named: the source of ``conf/source/<name>.yaml``, without a cache.
        csv_at: a CSV source over another file or folder, read as this config's source where that is one.
        label_export: a Label Studio export that labels the series (``source.labels=FILE.json``).
        label_studio: how windows look in Label Studio, also where somebody else reviews.
        thaw: builds the workbench that an iteration's frozen config describes.
    """

    context: Context
    configs: Mapping[str, Mapping[str, Any]]
    label_export: Path | None
    threshold_rule: ThresholdRule
    strategy: Strategy
    gold_rule: GoldRule
    reviewer: type[Reviewer]
    detector_kind: type[Detector]
    make_source: Callable[[], Source]
    make_detector: Callable[[], Detector]
    detector_named: Callable[[str], Detector]
    threshold_named: Callable[[str], ThresholdRule]
    strategy_named: Callable[[str], Strategy]
    source_named: Callable[[str], Source]
    csv_at: Callable[[Path], Source]
    label_studio: Callable[[], LabelStudioOptions]
    thaw: Callable[[str], Workbench]  # a workbench from the frozen config (YAML) of an iteration

    @property
    def source_config(self) -> Mapping[str, Any]:
        """Keyword arguments and ``_target_`` of the source."""
        return self.configs["source"]

    @property
    def detector_config(self) -> Mapping[str, Any]:
        """Keyword arguments and ``_target_`` of the detector."""
        return self.configs["detector"]

    def make_reviewer(self) -> Reviewer:
        """The reviewer of this loop, not yet connected.

        Raises:
            ReviewError: its address or token is not there.
        """
        reviewer = self.reviewer.of_loop(self.review, loop=self.loop.name, home=self.home)
        reviewer.context = self.context
        return reviewer

    def build_once(self, reads: bool = True) -> None:
        """Build source, detector and reviewer, and let them go: what cannot be built, and how the detector cannot be
        trained, is said before work starts.

        Args:
            reads: the source is going to be read: it is asked for its points, so that a folder that is not there is
                named before anybody is asked to start Label Studio, and before a wrong path is frozen.

        Raises:
            TsadError: one of them cannot be built; names the key.
        """
        source = self.make_source()
        if reads:
            source.points()
            source.close()
        detector = self.make_detector()
        adapter_for(self.adapter, detector)
        require_tensorboard(self.tracking)
        self._check_strategy(detector)
        for name in self.review.beside:
            self._build_beside(name)
        self.make_reviewer()

    def _check_strategy(self, detector: Detector) -> None:
        """What the strategy asks for can be had of the detector."""
        asked = self.strategy.asks_for
        if "dissent" in asked and not detector.votes:
            raise ConfigError(
                f"sampling={self.strategy.name} asks who disagrees, and detector {detector.name} has no members",
                "Choose detector=committee, or another strategy.",
            )
        if {"likeness", "embedded"} & asked and self.strategy.embedding == "base" and not detector.embeds:
            raise ConfigError(
                f"sampling.embedding is base, and detector {detector.name} has no base model that embeds",
                "Choose sampling.embedding=shape, or detector=patch.",
            )

    def _build_beside(self, name: str) -> None:
        """Build a detector that is to propose beside the champion; versions are looked up when they are asked."""
        if name in ALIASES or name.isdecimal():
            return
        try:
            self.detector_named(name)
        except TsadError as error:
            raise ConfigError(f"review.beside names {name}: {error.found}", error.remedy) from error

    def named(self, loop: str) -> Workbench:
        """The same workbench for a loop of another name, its frozen config included."""
        if loop == self.loop.name:
            return self
        import yaml

        config = yaml.safe_load(self.config_yaml)
        config["loop"]["name"] = loop
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        return replace(self, loop=self.loop.model_copy(update={"name": loop}), config_yaml=text)

    def parameters(self, *groups: str) -> dict[str, Any]:
        """The leaves people compare between iterations, by their keys; everything else is in the config artifact.

        Of an interchangeable group its name stands for what was chosen: ``detector`` = ``PatchDetector``, a class
        outside tsad in full.

        Args:
            groups: only those, and of them all leaves.
        """
        adapter = self.adapter
        if self.detector_kind.trainable and adapter.enabled:
            adapter = adapter.for_detector(self.detector_kind.adapter_defaults)
        chosen: dict[str, Mapping[str, Any]] = {
            **self.configs, "adapter": dict(adapter), "windows": dict(self.windows),
        }  # fmt: skip
        compared = dict.fromkeys(groups, None) if groups else COMPARED
        found: dict[str, Any] = {}
        for group, wanted in compared.items():
            leaves = dict(chosen[group])
            target = str(leaves.pop("_target_", ""))
            if target:
                found[group] = target.rpartition(".")[2] if target.startswith("tsad.") else target
            found |= {f"{group}.{k}": v for k, v in leaves.items() if v is not None and (wanted is None or k in wanted)}
        return found
