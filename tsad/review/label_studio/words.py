"""What a task says in words: the line above the drawing and the Data Manager's columns. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsad.core.names import markup_free
from tsad.core.reviews import Choice
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template
from tsad.review.label_studio.view import View


def words_of(choice: Choice, view: View, template: Template, options: LabelStudioOptions) -> dict[str, Any]:
    """Keys of a task's data that are text for people."""
    return {"title": markup_free(title(view, template, options.utc_offset))}


def title(view: View, template: Template, utc_offset: str) -> str:
    """The line above the drawing: the point, how its axis counts and, with several channels, which is which."""
    window, picked = view.window, view.channels
    text = f"{window.point_id}  ({'index' if window.series.time_kind == 'index' else f'UTC{utc_offset}'})"
    if template.channels > 1:
        names = [f"{n} = {window.series.channels[c]}" for n, c in enumerate(picked, 1)]
        names += [f"{n} = (empty)" for n in range(len(picked) + 1, template.channels + 1)]
        text += "  " + ", ".join(names)
    hidden = window.values.shape[1] - len(picked)
    text += f"; {hidden} more channels not drawn" if hidden else ""
    missing = int(np.isnan(window.values[:, list(picked)]).any(axis=1).sum())
    if missing:
        text += f"; values missing at {missing} of {len(window)} points, bridged by straight lines"
    return text
