"""Windows and intervals as Label Studio's tasks and regions, and back. Pure; with ``clock`` all that knows its times.

Inside, times are int64 ns UTC and intervals half-open. Label Studio shows strings without a zone, in a fixed offset
that travels with each task, to the millisecond; its region ends are inclusive; series with an integer index show
the index. A region stands for the points of the window it covers, so the way there and back is exact for any sampling,
with gaps and jitter too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsad.core.errors import ReviewError
from tsad.core.names import markup_free
from tsad.core.reviews import Annotation, Choice, Purpose
from tsad.core.series import Window
from tsad.core.types import ANOMALY, FloatArray, IntArray, Interval, TimeKind
from tsad.review.label_studio.clock import axis, instant, offset_ns, place_of, places_of, shown, shown_all
from tsad.review.label_studio.layers import Layer, champions, layers_of
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.pictures import pictures_of
from tsad.review.label_studio.template import (
    AS_PROPOSED,
    BATCH,
    CANNOT_TELL,
    CONTEXT,
    CORRECTED,
    NO_DATA,
    RESTORE,
    SERIES_KEY,
    TIME_COLUMN,
    Template,
    column,
)
from tsad.review.label_studio.view import Gap, View, view_of
from tsad.review.label_studio.words import words_of
from tsad.review.positions import Run, intervals_to_labelled_runs, labelled_runs_to_intervals

REDRAW = "Delete the region in Label Studio, draw it again and update the answer."


def regions(window: Window, intervals: Iterable[Interval], template: Template, offset: int) -> list[dict[str, Any]]:
    """Intervals as regions of a prediction or an annotation; those that cover no point of the window are left out."""
    return [
        {
            "id": f"{window.window_id}-{number}",
            "from_name": template.from_name, "to_name": template.to_name, "type": "timeserieslabels", **region,
        }
        for number, region in enumerate(_drawn_regions(window, intervals, offset), 1)
    ]  # fmt: skip


def _drawn_regions(window: Window, intervals: Iterable[Interval], offset: int) -> list[dict[str, Any]]:
    """Value, score and text of the regions of intervals, in time order."""
    items = list(intervals)
    places, kind = axis(window, offset), window.series.time_kind
    out = []
    for a, b, label in intervals_to_labelled_runs(window, items):
        stretch = Interval(int(window.timestamps[a]), int(window.timestamps[b - 1]) + 1)
        over = [i for i in items if i.overlaps(stretch) and (i.label or ANOMALY) == label]
        score, note = max((i.score, i.note) for i in over)
        out.append({
            "score": round(score, 4),
            # A region of one point has no width; as an instant one the editor draws it as a line.
            "value": {"start": shown(places[a], kind), "end": shown(places[b - 1], kind), "instant": a + 1 == b,
                      "timeserieslabels": [label]},
            **({"meta": {"text": [markup_free(note)]}} if note else {}),  # shown beside the region, never read back
        })
    return out


def aside_regions(view: View, layers: Sequence[Layer], template: Template, offset: int) -> list[dict[str, Any]]:
    """What is seen and not answered, as read-only regions: context, stretches without data, and layers of intervals.

    They lie in a control of their own, by whose name :func:`read_intervals` drops them.

    Args:
        layers: e.g. what further detectors propose, or several people's answers; their names have to be labels of the
            template (:func:`~tsad.review.label_studio.template.with_labels`).

    Returns:
        None at all where the template has no such control.
    """
    if not template.aside:
        return []
    window = view.window
    stamps, kind = window.series.timestamps, window.series.time_kind
    drawn: list[dict[str, Any]] = []
    marked = [(a, b, CONTEXT, "") for a, b in view.context]
    marked += [(gap.before, gap.after, NO_DATA, _lacking(view, gap)) for gap in view.gaps]
    for first, last, label, note in marked:
        start, end = (shown(p, kind) for p in places_of(stamps[[first, last]], kind, offset))
        value = {"start": start, "end": end, "instant": first == last, "timeserieslabels": [label]}
        drawn.append({"value": value, **({"meta": {"text": [markup_free(note)]}} if note else {})})
    for layer in layers:
        noted = [replace(i, note="; ".join(t for t in (_kind(i), layer.note, i.note) if t)) for i in layer.intervals]
        for region in (r for i in noted for r in _drawn_regions(window, [i], offset)):
            drawn.append({**region, "value": {**region["value"], "timeserieslabels": [layer.name]}})
    return [
        {
            "id": f"{window.window_id}-{template.aside}-{number}", "readonly": True,
            "from_name": template.aside, "to_name": template.to_name, "type": "timeserieslabels", **region,
        }
        for number, region in enumerate(drawn, 1)
    ]  # fmt: skip


def _kind(interval: Interval) -> str:
    """The kind of an interval, where somebody named one."""
    return "" if interval.label in ("", ANOMALY) else interval.label


def _lacking(view: View, gap: Gap) -> str:
    """Which channels have no value in a gap, where others have."""
    names = view.window.series.channels
    return ", ".join(names[c] for c in gap.channels) if 0 < len(gap.channels) < len(view.channels) else ""


def read_intervals(
    window: Window, result: Sequence[Mapping[str, Any]], template: Template, offset: int, where: str
) -> tuple[Interval, ...]:
    """Regions of an annotation as intervals, in time order, snapped to the points they cover.

    A region between two points stands for the nearer one; parts outside the window are cut off.

    Args:
        where: task and annotation, for messages.

    Raises:
        ReviewError: a region that the project's template does not know, or with two labels, or outside the window, or
            that ends before it starts, or without valid times.
    """
    places = axis(window, offset)
    runs: list[Run] = []
    for region in result:
        control = str(region.get("from_name"))
        if control in (*template.others, BATCH):
            continue
        if control != template.from_name or region.get("type") != "timeserieslabels":
            raise ReviewError(
                f"{where} has a region of control {control} ({region.get('type')}), which the template of the project "
                f"does not know: the template has changed", RESTORE,
            )
        value = region.get("value") or {}
        labels = value.get("timeserieslabels") or [ANOMALY]
        unknown = [k for k in labels if k not in template.labels]
        if unknown:
            raise ReviewError(
                f"{where} uses the label {', '.join(map(str, unknown))}, which the template of the project does not "
                f"know: the template has changed", RESTORE,
            )
        if len(labels) > 1:
            raise ReviewError(
                f"{where} has a region with {len(labels)} labels ({', '.join(map(str, labels))})",
                "Choose one for it, or draw it once for each, and update the answer.",
            )
        runs.append((*_covered(places, value, window.series.time_kind, where), str(labels[0])))
    # Through the labelled runs once more: touching and overlapping regions of one kind are one interval.
    intervals = labelled_runs_to_intervals(window, runs)
    return labelled_runs_to_intervals(window, intervals_to_labelled_runs(window, intervals))


def _covered(places: IntArray, value: Mapping[str, Any], kind: TimeKind, where: str) -> tuple[int, int]:
    """Half-open positions that an inclusive region covers."""
    try:
        start, end = place_of(value.get("start"), kind), place_of(value.get("end"), kind)
    except ValueError as error:
        raise ReviewError(f"{where} has a region whose start or end cannot be read: {error}", REDRAW) from error
    extent = f"({value.get('start')} to {value.get('end')})"
    if end < start:
        raise ReviewError(f"{where} has a region that ends before it starts {extent}", REDRAW)
    if end < places[0] or start > places[-1]:
        raise ReviewError(
            f"{where} has a region outside its window {extent}, where only the context is shown",
            "Delete the region in Label Studio, or extend it into the window, and update the answer.",
        )
    a = int(np.searchsorted(places, start, side="left"))
    b = int(np.searchsorted(places, end, side="right"))
    if a < b:
        return a, b
    nearest = int(np.abs(places - (start + end) / 2).argmin())
    return nearest, nearest + 1


def check(choices: Iterable[Choice], template: Template | None = None) -> None:
    """Refuse what one project cannot show.

    Raises:
        ReviewError: series with time beside series with an index (or unlike ``template``), a window without any value,
            sampling finer than a millisecond.
    """
    words = {"time": "time", "index": "an index"}
    first = template.time_kind if template else None
    for choice in choices:
        window, kind = choice.window, choice.window.series.time_kind
        first = first or kind
        if kind != first:
            raise ReviewError(
                f"{window.point_id} has {words[kind]} and the Label Studio project shows {words[first]}",
                "Keep series with time and with an index in two loops: loop.name=<name>.",
            )
        axis(window, 0)
        if not np.isfinite(window.values).any():
            raise ReviewError(
                f"Window {window.window_id} of {window.point_id} holds no value",
                "Leave it out: splits.reviewable does.",
            )


def drawn(choice: Choice, template: Template, options: LabelStudioOptions) -> View:
    """What a task draws of a choice's series; the edges of what is proposed stay, whatever is left out."""
    runs = [r for p in choice.proposals for r in intervals_to_labelled_runs(choice.window, p.intervals)]
    edges = {k for a, b, _ in runs for k in (a - 1, a, b - 1, b)}
    # Where nothing can mark it as context, it would look like the window.
    context = options.context if template.aside else 0.0
    return view_of(choice.window, template.channels, context, options.max_points, edges)


def task(
    choice: Choice, template: Template, options: LabelStudioOptions, push: str, version: str = ""
) -> dict[str, Any]:
    """One window as a task to import, with what is proposed for it (nothing for gold windows) and what is seen beside.

    Missing values are bridged by the straight line that the editor itself would draw, and marked: sent as
    null they would stretch the editor's scale to 0 and break its overview (seen with Label Studio 1.23).

    Args:
        push: names the push, so that it can be withdrawn.
        version: the model version that the project shows, for tasks that nobody proposed anything for.

    Raises:
        ReviewError: see :func:`check`.
    """
    check([choice], template)
    window, kind = choice.window, choice.window.series.time_kind
    view, offset = drawn(choice, template, options), offset_ns(options.utc_offset)
    places, values = axis(window, offset), view.values
    seen = places_of(window.series.timestamps[view.rows], kind, offset)
    rows: dict[str, Any] = {TIME_COLUMN: shown_all(seen, kind)}
    for number in range(1, template.channels + 1):
        # A project has one number of columns; a series with fewer channels gets flat ones that its title calls empty.
        present = number <= len(view.channels)
        rows[column(number)] = _rounded(values[:, number - 1]) if present else [0] * len(seen)
    gold = choice.purpose is Purpose.GOLD
    data = {
        "window_id": window.window_id, "point_id": markup_free(window.point_id),
        **words_of(choice, view, template, options), **pictures_of(choice, view, template, options),
        "start": str(shown(places[0], kind)).split(".")[0], "end": str(shown(places[-1], kind)).split(".")[0],
        "confidence": None if gold else round(choice.confidence, 4),
        "model_version": markup_free(choice.origin.model_version) if choice.origin and not gold else "",
        "purpose": str(choice.purpose), "state": "", "push": push, "utc_offset": options.utc_offset, SERIES_KEY: rows,
    }
    made = prediction(choice, view, template, options.utc_offset, version)
    return {"data": data, "predictions": [made] if made else []}


def shown_version(choice: Choice, version: str = "") -> str:
    """The model version that the pre-annotation of a choice bears; see :func:`prediction`."""
    if choice.purpose is Purpose.GOLD or choice.proposal is None:
        return version or CONTEXT
    return choice.origin.model_version if choice.origin else "unversioned"


def prediction(
    choice: Choice, view: View, template: Template, utc_offset: str, version: str = "", answers: Sequence[Layer] = ()
) -> dict[str, Any] | None:
    """The pre-annotation of a choice: the champion's intervals and, beside them, what is seen and not answered.

    Of gold windows, and where nobody proposed anything, only the latter; ``None`` where there is nothing at all.

    Args:
        version: the model version that the project shows (it shows no other's predictions).
        answers: what people who disagree have answered, seen beside the rest.
    """
    offset = offset_ns(utc_offset)
    if choice.purpose is Purpose.GOLD or choice.proposal is None:
        aside = aside_regions(view, answers, template, offset)
        return {"model_version": shown_version(choice, version), "result": aside} if aside else None
    own = regions(choice.window, champions(choice) if template.aside else choice.proposal, template, offset)
    return {
        "model_version": shown_version(choice, version),
        "score": round(choice.confidence, 4),
        "result": [*own, *aside_regions(view, (*layers_of(choice), *answers), template, offset)],
    }


@dataclass(frozen=True)
class Answers:
    """What people submitted for a task.

    Attributes:
        problems: why answers cannot be read and what to do, one each; those are not among ``annotations``.
    """

    annotations: tuple[Annotation, ...]
    problems: tuple[str, ...] = ()


def read_annotations(found: Mapping[str, Any], choice: Choice, template: Template) -> Answers:
    """What people submitted for a task, read in the offset in which the task was shown. Drafts do not count.

    An answer that cannot be read is no problem where the same person has answered again since.

    Args:
        found: the task as Label Studio gives it, with ``id``, ``data`` and ``annotations``.
    """
    offset = offset_ns(str(found["data"].get("utc_offset", "+00:00")))
    read: list[Annotation] = []
    faults: list[tuple[str, int, str]] = []
    for item in found.get("annotations") or ():
        where = f"Annotation {item.get('id')} of task {found.get('id')} ({choice.window.point_id})"
        who = item.get("completed_by")
        submitted = Annotation(
            annotator=str(who.get("id") if isinstance(who, Mapping) else who),
            intervals=(),
            submitted_at=instant(item.get("updated_at") or item.get("created_at")),
            skipped=bool(item.get("was_cancelled")),
            annotation_id=str(item.get("id")),
            seconds=float(item.get("lead_time") or 0.0),
            batch=batch_of(item.get("result") or ()),
        )
        try:
            read.append(_judged(submitted, item.get("result") or (), choice, template, (offset, where)))
        except ReviewError as error:
            faults.append((submitted.annotator, submitted.submitted_at, str(error)))
    again = {a.annotator: max(b.submitted_at for b in read if b.annotator == a.annotator) for a in read}
    return Answers(tuple(read), tuple(text for who, at, text in faults if again.get(who, -1) <= at))


def batch_of(result: Iterable[Mapping[str, Any]]) -> str:
    """The batch action that made an annotation of these regions, in words; "" = a person did."""
    marks = [r["value"]["text"] for r in result if r.get("from_name") == BATCH]
    return str(marks[0][0]) if marks else ""


def _judged(
    submitted: Annotation, result: Sequence[Mapping[str, Any]], choice: Choice, template: Template,
    offset_and_where: tuple[int, str],
) -> Annotation:
    """The annotation with its intervals, verdict and reason.

    Raises:
        ReviewError: see :func:`read_intervals`; or the verdict contradicts the intervals.
    """
    offset, where = offset_and_where
    verdict, note = _texts(result, template.verdict, "choices"), _texts(result, template.reason, "text")
    told = replace(submitted, verdict=verdict, note=note)
    if submitted.skipped or verdict == CANNOT_TELL:
        return replace(told, skipped=True)
    intervals = read_intervals(choice.window, result, template, offset, where)
    if choice.proposal is not None and verdict in (AS_PROPOSED, CORRECTED):
        given, proposed = (intervals_to_labelled_runs(choice.window, own) for own in (intervals, choice.proposal))
        if (given == proposed) != (verdict == AS_PROPOSED):
            are = "are" if given == proposed else "are not"
            raise ReviewError(
                f"{where} says {verdict!r}, but its intervals {are} those proposed",
                "Change one of the two in Label Studio and update the answer.",
            )
    return replace(told, intervals=intervals)


def _texts(result: Sequence[Mapping[str, Any]], control: str, key: str) -> str:
    """What was chosen or written in a control, "" where nothing was or the template has no such control."""
    values = [(r.get("value") or {}).get(key) for r in result if control and r.get("from_name") == control]
    texts = [str(t) for v in values if v for t in (v if isinstance(v, list) else [v])]
    return "\n".join(t.strip() for t in texts if t.strip())


def _rounded(values: FloatArray) -> list[float]:
    """One column as drawn, [N]: nine significant digits, more than a screen shows."""
    return [float(f"{v:.9g}") for v in values.tolist()]
