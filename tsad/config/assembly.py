"""From checked settings to the workbench: makers of the interchangeable parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.command.naming import nearest
from tsad.command.secrets import masked
from tsad.config.checked import Settings, settings
from tsad.config.composing import option, options_of
from tsad.config.freeze import thawed
from tsad.config.groups import Composed
from tsad.config.parts import Chosen, part
from tsad.config.validation import validated
from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.core.errors import ConfigError
from tsad.core.options import CacheOptions
from tsad.review.label_studio.options import LabelStudioOptions

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.rules.base import ThresholdRule
    from tsad.review.strategies.base import Strategy
    from tsad.sources.base import Source


def workbench(checked: Settings, context: Context | None = None) -> Workbench:
    """Makers of the interchangeable parts; source and detector are built when asked for.

    Args:
        context: what the call shares; ``None`` = one that nobody watches.
    """
    context = context or Context()
    source, export = checked.parts["source"], None
    if str(source.config.get("labels") or "").lower().endswith(".json"):
        # A Label Studio export is read by the review room, which no source may import.
        export = Path(str(source.config["labels"])).expanduser()
        source = replace(source, config={**source.config, "labels": None})
    return Workbench(
        **{field.name: getattr(checked, field.name) for field in fields(Composed)},
        context=context,
        configs={group: masked(checked.parts[group].config) for group in checked.parts},
        label_export=export,
        threshold_rule=checked.parts["threshold"].build(),
        strategy=checked.parts["sampling"].build(),
        gold_rule=checked.parts["gold"].build(),
        reviewer=checked.parts["review"].kind,
        make_source=lambda: _cached(source.build(), checked.home, checked.cache, context),
        detector_kind=checked.parts["detector"].kind,
        make_detector=checked.parts["detector"].build,
        detector_named=lambda name: _detector_named(name, checked.parts["detector"]),
        threshold_named=lambda name: _threshold_named(name, checked.groups["threshold"]),
        strategy_named=_strategy_named,
        source_named=lambda name: part("source", option("source", name)).build(),
        csv_at=lambda place: _csv_at(place, source.config),
        label_studio=lambda: _label_studio(checked),
        thaw=lambda text: workbench(settings(thawed(text, checked.groups, checked.config_yaml)), context),
    )


def _detector_named(name: str, composed: Chosen[Detector]) -> Detector:
    """A detector by the name of its YAML; the composed one, with the user's own keys, where that is the one named.

    Raises:
        ConfigError: there is none of that name.
    """
    names = options_of("detector")
    if name not in names:
        raise ConfigError(f"there is no detector {name!r}", nearest(name, names))
    config = option("detector", name)
    if config["_target_"] == composed.config["_target_"]:  # of several files for one class, the one most like it
        likeness = {other: _likeness(option("detector", other), composed.config) for other in names}
        if likeness[name] == max(likeness.values()):
            return composed.build()
    made: Detector = part("detector", config).build()
    return made


def _likeness(config: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """How many values two configs share; none where they are of different classes."""
    if config["_target_"] != other["_target_"]:
        return 0
    return sum(other.get(key) == value for key, value in config.items())


def _threshold_named(name: str, composed: Mapping[str, Any]) -> ThresholdRule:
    """A rule by the name of its YAML; what the composed rule says of the same keys counts."""
    config = option("threshold", name)
    shared = {key: value for key, value in composed.items() if key in config and key != "_target_"}
    made: ThresholdRule = part("threshold", config | shared).build()
    return made


def _strategy_named(name: str) -> Strategy:
    """A strategy by the name of its YAML.

    Raises:
        ConfigError: there is none of that name.
    """
    names = options_of("sampling")
    if name not in names:
        raise ConfigError(f"there is no sampling strategy {name!r}", nearest(name, names))
    made: Strategy = part("sampling", option("sampling", name)).build()
    return made


def _csv_at(place: Path, source: Mapping[str, Any]) -> Source:
    """A CSV source over ``place``, with the composed source's other keys where that reads CSV files too."""
    csv = option("source", "csv")
    keys = source if source.get("_target_") == csv["_target_"] else csv
    made: Source = part("source", {**keys, "root": str(place), "labels": None}).build()
    return made


def _label_studio(checked: Settings) -> LabelStudioOptions:
    """How windows look in Label Studio: as the composed reviewer has it, else as its YAML says."""
    if isinstance(checked.review, LabelStudioOptions):
        return checked.review
    return validated(LabelStudioOptions, option("review", "label_studio"), "review")


def _cached(source: Source, place: Path, options: CacheOptions, context: Context) -> Source:
    """The cache in front of sources that gain from one; the sources of a call share its working set."""
    if not source.cacheable:
        return source
    from tsad.sources.cache import CachedSource, WorkingSet, cache_folder

    memory = context.shared(("working set", place), lambda: WorkingSet(int(options.memory_mb * 1e6)))
    return CachedSource(
        source, cache_folder(place), memory, enabled=options.enabled, offline=options.offline,
        late_seconds=options.late_seconds, max_bytes=int(options.max_gb * 1e9),
    )
