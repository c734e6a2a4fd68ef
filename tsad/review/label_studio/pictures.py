"""Pictures that travel with a task as data URIs: the whole series with the window marked, and a thumbnail. Pure."""

from __future__ import annotations

from tsad.core.reviews import Choice
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.view import View


def pictures_of(choice: Choice, view: View, options: LabelStudioOptions) -> dict[str, str]:
    """Keys of a task's data that are pictures."""
    return {}
