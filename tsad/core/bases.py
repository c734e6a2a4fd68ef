"""What an artifact's classes are checked against before they are built: no other class of a store is ever run."""

from __future__ import annotations

from abc import ABC


class DetectorBase(ABC):  # noqa: B024 - what a detector does is said by detectors.base.Detector
    """Every detector; it is built from the keyword arguments that its ``describe`` gave."""


class ProposerBase(ABC):  # noqa: B024 - what it does is said by detectors.proposals
    """Everything that makes proposals of a detector's scores; it is built from the one keyword ``state``."""
