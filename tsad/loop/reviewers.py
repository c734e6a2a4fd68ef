"""The reviewer a config asks for: people in Label Studio, or the simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.protocols import Reviewer

if TYPE_CHECKING:
    from tsad.review.label_studio import LabelStudioReviewer


def label_studio(bench: Workbench) -> LabelStudioReviewer:
    """The loop's Label Studio project."""
    from tsad.review.label_studio import LabelStudioReviewer
    from tsad.review.server import service_url

    return LabelStudioReviewer(
        bench.review, url=service_url(bench.review, bench.home), token=bench.label_studio_token(), loop=bench.loop.name
    )


def make_reviewer(bench: Workbench) -> Reviewer:
    """The configured reviewer, not yet connected."""
    if bench.review.mode == "label_studio":
        return label_studio(bench)
    from tsad.review.simulated import SimulatedReviewer

    return SimulatedReviewer(bench.review)
