"""The champion of a loop: found, or registered for the first time as the unadapted base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.errors import RegistryError
from tsad.core.options.threshold import kept_threshold
from tsad.core.reviews import DatasetVersion
from tsad.core.series import Series
from tsad.core.types import Origin
from tsad.loop.model_notes import note_version
from tsad.loop.results import ADAPTED_ROLE, BASE_ROLE, IMPORTED_ROLE, LoggedModel

if TYPE_CHECKING:
    from pathlib import Path

    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.registry import Registry, Version
    from tsad.tracking.runs import LoopStore, StepRun

IMPORTED = "tsad.imported"  # tag of a version: what was imported, by its content


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """A detector as it is to be registered.

    Attributes:
        adapter: its folder; ``None`` = the base alone.
        trained_on: ``None`` = nothing was learned from people yet.
        channels: names of the value columns of the series it is for.
        imported: what was trained elsewhere, known by its content; "" = nothing.
    """

    detector: Detector
    threshold: float
    adapter: Path | None = None
    proposer: Proposer | None = None
    trained_on: DatasetVersion | None = None
    channels: Sequence[str] = ("value",)
    imported: str = ""

    @property
    def role(self) -> str:
        """What a version of it is in its loop."""
        if self.imported:
            return IMPORTED_ROLE
        return ADAPTED_ROLE if self.trained_on else BASE_ROLE


def registry_of(bench: Workbench, loop: LoopStore) -> Registry:
    """The loop's registered model."""
    return loop.registry(bench.make_detector().name)


def load_registered(bench: Workbench, registry: Registry, version: Version) -> LoadedVersion:
    """A registered version, ready to score; of classes outside tsad only the config's own detector is built.

    It is not asked again what it has been asked before, where that is dear: a killed stage loses no answer, and the
    members of a committee that an iteration leaves as they are answer once for all its versions.
    """
    from tsad.tracking.pyfunc_model import load_version

    loaded = load_version(registry, version, allowed=(str(bench.detector_config["_target_"]),))
    detector, language = remembering(bench, loaded.detector.on_engine(bench.engine)), bench.label_studio().language
    return replace(loaded, detector=detector, language=language)


def remembering(bench: Workbench, detector: Detector) -> Detector:
    """The detector, which keeps its answers in the store's cache."""
    from tsad.sources.cache import states_folder

    return detector.keeping_answers(states_folder(bench.home))


def load_named(bench: Workbench, loop: LoopStore, name: str, remedy: str) -> LoadedVersion:
    """The version of the loop's model with this alias or number.

    Raises:
        RegistryError: there is none; ``remedy`` says what to do.
    """
    registry = registry_of(bench, loop)
    version = registry.resolve(name)
    if version is None:
        raise RegistryError(f"{registry.name} has no version or alias {name!r}", remedy)
    return load_registered(bench, registry, version)


def unregistered(bench: Workbench, detector: Detector) -> LoadedVersion:
    """A detector as configured that no registry holds, at the threshold that suits it before any review."""
    from tsad.tracking.pyfunc_model import LoadedVersion

    origin = Origin(detector.name, f"{detector.name}:base", None, detector.config_hash)
    proposer = bench.threshold_rule.first_proposer(detector.rated_as)
    threshold = proposer.threshold if proposer else bench.threshold.default
    return LoadedVersion(detector, threshold, kept_threshold(dict(bench.threshold)), origin, None, proposer)


def ensure_champion(bench: Workbench, loop: LoopStore, step: StepRun, pool: Sequence[Series]) -> Version:
    """The champion; where the loop has none yet, the unadapted base becomes version 1 and champion.

    A base that a killed attempt registered without an alias is found by its tag and taken.
    """
    registry = registry_of(bench, loop)
    champion = registry.alias("champion")
    if champion is not None:
        return champion
    for version in registry.versions():
        if version.tags.get("tsad.role") == BASE_ROLE:
            registry.promote(version)
            return version
    detector = bench.make_detector()
    proposer = bench.threshold_rule.first_proposer(detector.rated_as)
    threshold = proposer.threshold if proposer else first_threshold(bench, detector, pool)
    channels = list(dict.fromkeys(name for series in pool for name in series.channels))
    candidate = Candidate(detector=detector, threshold=threshold, proposer=proposer, channels=channels)
    version = register_candidate(bench, loop, step, candidate)
    registry.promote(version)
    return version


def register_candidate(bench: Workbench, loop: LoopStore, step: StepRun, candidate: Candidate) -> Version:
    """Log a candidate and register it, with its note, as a new version without an alias."""
    registry = registry_of(bench, loop)
    model = log_candidate(bench, step, candidate)
    version = registry.register(run_id=step.run_id, model_uri=model.model_uri, tags=model.tags)
    note_version(loop, registry, version)
    return version


def log_candidate(bench: Workbench, step: StepRun, candidate: Candidate) -> LoggedModel:
    """Log a detector as a pyfunc model under the step's run.

    The base is referenced by id, path and hash, never copied; only the adapter travels.
    """
    from tsad.tracking.pyfunc_model import Described, log_model

    detector, version = candidate.detector, candidate.trained_on.digest if candidate.trained_on else None
    base = detector.base_reference()
    origin = {"detector": detector.name, "dataset_version": version, "config_hash": detector.config_hash}
    described = Described(
        detector=dict(detector.describe()), base=base, threshold=candidate.threshold,
        threshold_options=bench.configs["threshold"], origin=origin, proposer=_described(candidate.proposer),
        channels=candidate.channels,
    )
    work = bench.home / "work" / step.run_id / "model"
    uri = log_model(step, described, candidate.adapter, work, detector.memory)
    tags = {
        "tsad.role": candidate.role,
        IMPORTED: candidate.imported,
        "tsad.dataset_version": version or "",
        "tsad.threshold": f"{candidate.threshold:.6f}",
    }
    return LoggedModel(uri, tags)


def _described(proposer: Proposer | None) -> dict[str, Any] | None:
    from tsad.detectors.proposals.proposer import to_state

    if proposer is None:
        return None
    return {"_target_": f"{type(proposer).__module__}.{type(proposer).__qualname__}", "state": to_state(proposer)}


def first_threshold(bench: Workbench, detector: Detector, pool: Sequence[Series]) -> float:
    """The threshold before any review: from the options alone, or from unlabelled scores."""
    from tsad.detectors.rules.base import KnownScores

    rule = bench.threshold_rule
    return rule.choose(KnownScores(unlabelled=detector.confidence(list(pool)) if rule.reads_unlabelled else []))
