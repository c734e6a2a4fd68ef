"""What further detectors propose for a queue, beside the champion: people see it, locked, each in its colour."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tsad.config.composing import options_of
from tsad.config.workbench import Workbench
from tsad.core.errors import RegistryError, TsadError
from tsad.core.intervals import clip
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series
from tsad.core.types import Detection, Proposal
from tsad.loop.champion import load_registered, registry_of, unregistered
from tsad.loop.detections import loaded_detections

if TYPE_CHECKING:
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import LoopStore

log = logging.getLogger("tsad")


@dataclass(frozen=True, eq=False)
class Beside:
    """A queue with what others propose for it too.

    Attributes:
        choices: in the order given, the champion's proposal first in each.
        asked: model versions that were asked.
        left_out: why others could not be, a sentence for each that begins with its name.
    """

    choices: list[Choice]
    asked: tuple[str, ...]
    left_out: tuple[str, ...]


def ask_beside(bench: Workbench, loop: LoopStore, choices: Sequence[Choice]) -> Beside:
    """Ask every detector of ``review.beside`` about the series of the windows to learn from; blind ones stay blind.

    One that fails is left out of this iteration's queue; the others and the champion are not held up by it.
    """
    shown, asked, left_out = list(choices), [], []
    series = list({id(c.window.series): c.window.series for c in choices if c.purpose is Purpose.TRAIN}.values())
    for name in bench.review.beside if series else ():
        try:
            loaded = _loaded(bench, loop, name)
            detections = loaded_detections(bench.context, loaded, series)
        except TsadError as error:
            left_out.append(f"{name} proposes nothing beside the champion in this iteration: {error}")
            log.warning("%s", left_out[-1])
            continue
        shown = _with_further(shown, series, detections)
        asked.append(loaded.origin.model_version)
    return Beside(shown, tuple(asked), tuple(left_out))


def _loaded(bench: Workbench, loop: LoopStore, name: str) -> LoadedVersion:
    """A detector of ``conf/detector`` as configured, else a version of the loop's model by its alias or number.

    Raises:
        TsadError: there is none, or it cannot be loaded.
    """
    if name in options_of("detector"):
        return unregistered(bench, bench.detector_named(name))
    registry = registry_of(bench, loop)
    version = registry.resolve(name)
    if version is None:
        raise RegistryError(f"{registry.name} has no version {name} yet")
    return load_registered(bench, registry, version)


def _with_further(choices: Sequence[Choice], series: Sequence[Series], detections: Sequence[Detection]) -> list[Choice]:
    own = {id(s): d for s, d in zip(series, detections, strict=True)}
    shown = []
    for choice in choices:
        detection = own.get(id(choice.window.series)) if choice.purpose is Purpose.TRAIN else None
        if detection is not None:
            further = Proposal(clip(detection.intervals, *choice.window.span), detection.origin)
            choice = replace(choice, proposals=(*choice.proposals, further))
        shown.append(choice)
    return shown
