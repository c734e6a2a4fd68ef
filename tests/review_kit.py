"""The options of ``review=label_studio`` as their YAML has them, apart from what a test changes."""

from __future__ import annotations

from typing import Any

from tsad.config.composing import option
from tsad.review.label_studio.options import LabelStudioOptions


def label_studio_options(**changes: Any) -> LabelStudioOptions:
    """With these changes; a key that came later needs no change here."""
    values = {k: v for k, v in option("review", "label_studio").items() if k != "_target_"}
    return LabelStudioOptions(**{**values, **changes})
