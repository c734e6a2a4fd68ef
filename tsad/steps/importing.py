"""Adapters that were trained elsewhere, taken into the loop's registry as challengers."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tsad.config.workbench import Workbench
from tsad.core.errors import DetectorError
from tsad.core.protocols import Trainable
from tsad.core.results import Result
from tsad.files.hashing import digest_of_text
from tsad.loop.champion import IMPORTED, Candidate, first_threshold, load_registered, register_candidate, registry_of
from tsad.loop.common import load_series
from tsad.loop.opening import open_loop, standalone

if TYPE_CHECKING:
    import torch

    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer
    from tsad.tracking.registry import Registry

log = logging.getLogger("tsad")


@dataclass(frozen=True, eq=False)
class Imported(Result):
    """An adapter that was taken in.

    Attributes:
        path: the folder that it came from.
        version: the one under the alias ``challenger``.
        new: whether it was registered now; ``False`` where the same content was there already.
        base: the base it sits on here; ``named_base`` what it calls its own, "" = it does not say.
        layers: how many it sits on.
    """

    path: str
    model: str
    version: int
    new: bool
    base: str
    named_base: str
    r: int
    alpha: float
    layers: int
    threshold: float


def import_adapter(bench: Workbench, path: Path) -> Imported:
    """Check an adapter folder against the detector's base and register it as a version with the alias ``challenger``.

    Its threshold and proposer are the champion's; where there is none, the threshold rule's first ones.

    Raises:
        DetectorError: a detector without a network.
        WeightsError: see ``adapters.foreign.take``.
        ClaimError: another process works on the loop.
    """
    from tsad.adapters import foreign, saved

    detector = bench.make_detector()
    if not isinstance(detector, Trainable):
        raise DetectorError(
            f"The detector {detector.name} has no network that an adapter could sit on",
            "Choose the detector that the adapter was trained for, e.g. detector=chatts_8b.",
        )
    base = detector.base_reference()
    work = bench.home / "work" / f"import-{digest_of_text(str(path.absolute()))[:12]}"
    try:
        taken = foreign.take(path, _skeleton(detector), base["id"], work)
        if taken.base and Path(taken.base).name.lower() != base["id"].rpartition("/")[2].lower():
            log.info("the adapter calls its base %s; it fits %s and is registered for it", taken.base, base["id"])
        content = digest_of_text("|".join((saved.weights_digest(work), base["sha256"], detector.config_hash)))[:16]
        loop = open_loop(bench)
        with standalone(loop, "IMPORT") as (held, step):
            held.becomes_loop()
            registry = registry_of(bench, held)
            alike = [v for v in registry.versions() if v.tags.get(IMPORTED) == content and not v.pruned]
            version = alike[-1] if alike else register_candidate(
                bench, held, step, _candidate(bench, registry, detector, work, content)
            )
            registry.set_alias("challenger", version)
            imported = Imported(
                path=str(path), model=registry.name, version=version.version, new=not alike, base=base["id"],
                named_base=taken.base, r=taken.r, alpha=taken.alpha, layers=taken.layers,
                threshold=float(version.tags["tsad.threshold"]),
            )  # fmt: skip
            step.result(imported.to_json())
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return imported


def _skeleton(detector: Detector) -> torch.nn.Module:
    """The detector's network; of a language model its shapes alone, without any weight in memory."""
    import torch

    from tsad.detectors.llm.detector import LanguageDetector

    if isinstance(detector, LanguageDetector):
        with torch.device("meta"):
            return detector.shapes(detector.folder, "")
    assert isinstance(detector, Trainable)
    return detector.network()


def _candidate(bench: Workbench, registry: Registry, detector: Detector, adapter: Path, content: str) -> Candidate:
    """The detector under its adapter, with what the champion proposes by, else what the rule begins with."""
    detector, champion = detector.with_adapter(adapter), registry.alias("champion")
    if champion is not None:
        current = load_registered(bench, registry, champion)
        proposer, threshold = cast("Proposer | None", current.proposer), current.threshold
        detector = detector.with_memory(current.detector.memory)
    else:
        rule = bench.threshold_rule
        proposer = rule.first_proposer(detector.rated_as)
        pool = load_series(bench) if proposer is None and rule.reads_unlabelled else []
        threshold = proposer.threshold if proposer else first_threshold(bench, detector, pool)
    return Candidate(detector=detector, threshold=threshold, adapter=adapter, proposer=proposer, imported=content)
