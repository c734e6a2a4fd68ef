"""A project's labelling config: made for the windows that it is to show, and made to fit further ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tsad.core.reviews import Choice
from tsad.review.label_studio import template
from tsad.review.label_studio.kinds import Kind
from tsad.review.label_studio.layers import layers_of
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.scale import common_ranges, extents


def filled(path: Path, kinds: tuple[Kind, ...], choices: Sequence[Choice], settings: LabelStudioOptions) -> str:
    """A new project's config from a template file: kinds, channels, ranges, language.

    Where all series have the same channels and all of these fit, each plot has its channel's name and, where the
    series have one scale, its range. Else plots have numbers, which the title of each task explains: the editor takes
    names from the template alone.

    Args:
        kinds: to offer beside those that detectors and labels name.

    Raises:
        ReviewError: see :func:`~tsad.review.label_studio.template.fill`.
    """
    widths = [c.window.values.shape[1] for c in choices]
    drawn = min(max(widths), settings.max_channels)
    names = {c.window.series.channels for c in choices}
    same = len(names) == 1 and drawn == widths[0]
    look = template.Look(
        kinds=kinds, layers=_layers(choices), language=settings.language, verdict=settings.verdict,
        ranges=common_ranges(choices, drawn) if same else (),
        detector=next((c.origin.detector for c in choices if c.origin is not None), ""),
    )  # fmt: skip
    config = template.fill(
        path.read_text(encoding="utf-8"), kinds=_kinds(choices),
        legends=next(iter(names)) if same else [str(n) for n in range(1, drawn + 1)],
        time_kind=choices[0].window.series.time_kind, name=str(path), look=look,
    )  # fmt: skip
    return config if settings.pictures else template.without_overview(config)


def fitted(config: str, choices: Sequence[Choice], project: str) -> str:
    """A project's config with what further windows need: kinds, layers, ranges that hold their values.

    What people changed besides stays; where nothing is missing the config comes back as it is.
    """
    grown = template.with_labels(config, _kinds(choices), project, _layers(choices))
    names = {c.window.series.channels for c in choices}
    if "dataRange" not in config or len(names) > 1:
        return grown
    channels = min(template.read(config, project).channels, len(names.pop()))
    return template.widened(grown, extents(choices, channels), project)


def _kinds(choices: Sequence[Choice]) -> set[str]:
    """Kinds that proposals and labels of these windows name."""
    return {i.label for c in choices for i in (*(c.proposal or ()), *(c.window.series.labels or ()))}


def _layers(choices: Sequence[Choice]) -> tuple[str, ...]:
    """Whose intervals are shown beside the champion's."""
    return tuple(sorted({layer.name for c in choices for layer in layers_of(c)}))
