"""What a detector is trained by, and the ``adapter`` options as they are for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsad.config.parts import located
from tsad.core.options import AdapterOptions

if TYPE_CHECKING:
    from tsad.core.tuning import Tuner
    from tsad.detectors.base import Detector


def tuner_of(detector: Detector | type[Detector]) -> Tuner:
    """The tuner that the detector's class names.

    Raises:
        ConfigError: there is none at that path.
    """
    from tsad.core.tuning import Tuner  # it imports NumPy, which help and completion do without

    return located(detector.tuner, "tuner", Tuner)()  # type: ignore[type-abstract]


def adapter_for(options: AdapterOptions, detector: Detector) -> AdapterOptions:
    """The options with the detector's own values filled in; refused where it would be trained and its tuner cannot.

    Raises:
        ConfigError: a key that the detector has no value for.
        TrainingError: an option that its tuner cannot honour.
        MissingPackageError: one that needs a package that is not installed.
    """
    from tsad.core.protocols import Trainable

    if not (options.enabled and isinstance(detector, Trainable)):
        return options  # nothing of it counts: a group that is not used is accepted
    filled = options.for_detector(detector.adapter_defaults)
    check_tunable(detector, filled)
    return filled


def check_tunable(detector: Detector | type[Detector], options: AdapterOptions) -> None:
    """Refuse options that the detector's tuner cannot honour, where it says so: a duty of no tuner.

    Raises:
        TrainingError: such an option.
        MissingPackageError: one that needs a package that is not installed.
    """
    check = getattr(tuner_of(detector), "check", None)
    if check is not None:
        check(options)
