"""How the reviews of a loop stand as one page, kept on the iteration's run in MLflow."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.printing import decimals
from tsad.loop.reviewing import ReviewStanding

if TYPE_CHECKING:
    from tsad.tracking.recorder import RunRecorder

FOLDER = "review"
MOST_ROWS = 500  # windows on the page; the rest is in standing.json
SHORT = 32  # characters of a cell that stay on one line


def keep_page(recorder: RunRecorder, standing: ReviewStanding) -> None:
    """``review/``: the page, its figures, and all of it as JSON; a later look replaces an earlier one."""
    from tsad.plots.page import png

    figures = dict(figures_of(standing))
    for name, figure in figures.items():
        recorder.figure(figure, f"{FOLDER}/{name}.png")
    recorder.json(standing.to_json(), f"{FOLDER}/standing.json")
    text = page(standing, {name: png(figure) for name, figure in figures.items()})
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "review.html").write_text(text, encoding="utf-8")
        recorder.file(Path(scratch) / "review.html", FOLDER)
    overall = standing.agreement.overall
    audits = {f"audit_{a.name.replace(' ', '_')}": a.rate for a in standing.audits}
    known = {
        "minutes_per_window": standing.minutes, "interval_f1": overall.interval_f1, "iou": overall.iou,
        "kappa": overall.kappa, "alpha": overall.alpha, **audits,
    }  # fmt: skip
    recorder.metrics({f"review/{name}": value for name, value in known.items() if math.isfinite(value)})
    recorder.flush()


def figures_of(standing: ReviewStanding) -> Iterator[tuple[str, Any]]:
    """Figures by name, those that there is something to draw of."""
    from tsad.plots.review import acceptance_figure, agreement_figure, progress_figure

    if standing.progress is not None:
        yield "progress", progress_figure({"to learn from": standing.progress.queue, "blind": standing.progress.gold})
    if standing.acceptance:
        yield "acceptance", acceptance_figure([row.to_json() for row in standing.acceptance])
    pairs = {(p.first, p.second): p.interval_f1 for p in standing.agreement.pairs}
    if pairs:
        yield "agreement", agreement_figure(pairs, sorted({person for pair in pairs for person in pair}))


def page(standing: ReviewStanding, figures: Mapping[str, bytes]) -> str:
    """The page as HTML; every text that comes from data or people is escaped.

    Args:
        figures: PNG by name.
    """
    from tsad.plots.page import cards, document, picture

    titles = {"progress": "Progress", "acceptance": "What became of proposals", "agreement": "Who agrees with whom"}
    progress = escape(str(standing.progress or "its reviews have become a dataset version"))
    parts = [
        "<h1>Reviews</h1>",
        f'<p class="soft">{escape(standing.loop)}, iteration {standing.iteration}: {progress}</p>',
        cards(_glance(standing)),
        *(f"<h2>{titles[name]}</h2>\n{picture(image, titles[name])}" for name, image in figures.items()),
        _people(standing), _kinds(standing), _audits(standing), _windows(standing),
    ]  # fmt: skip
    return document(f"Reviews: {standing.loop}", "\n".join(part for part in parts if part))


def _glance(standing: ReviewStanding) -> dict[str, str]:
    overall, states = standing.agreement.overall, standing.progress
    figures = {"minutes per window": _figure(standing.minutes, 1), "people": str(len(standing.people))}
    if states is not None:
        figures |= {"wait for people": str(states.waiting), "in conflict": str(states.conflicts)}
    if overall.windows:
        figures |= {"interval F1 of people": _figure(overall.interval_f1), "Fleiss' kappa": _figure(overall.kappa),
                    "Krippendorff's alpha": _figure(overall.alpha)}  # fmt: skip
    return figures


def _people(standing: ReviewStanding) -> str:
    with_others = standing.agreement.people
    rows = [
        (p.person, p.judged, p.skipped, _figure(p.minutes, 1),
         _figure(with_others[p.person].interval_f1) if p.person in with_others else "-")
        for p in standing.people
    ]  # fmt: skip
    return _table("People", ("id", "judged", "cannot tell", "minutes per window", "interval F1 with others"), rows)


def _kinds(standing: ReviewStanding) -> str:
    rows = [
        (kind, of.windows, _figure(of.interval_f1), _figure(of.iou), _figure(of.kappa), _figure(of.alpha))
        for kind, of in standing.agreement.kinds.items()
    ]
    return _table("Agreement by kind", ("kind", "windows", "interval F1", "IoU", "kappa", "alpha"), rows)


def _audits(standing: ReviewStanding) -> str:
    rows = [
        (a.name, a.audits, a.judged, a.errors, f"{_figure(a.rate)} [{_figure(a.low)}, {_figure(a.high)}]")
        for a in standing.audits
    ]
    return _table("Audits of batch actions", ("action", "audits", "judged", "errors", "error rate"), rows)


def _windows(standing: ReviewStanding) -> str:
    rows = [
        (w.window, w.point_id, w.start, w.state.lower(), _figure(w.confidence), ", ".join(w.kinds),
         ", ".join(w.people), w.strategy, w.batch)
        for w in standing.windows[:MOST_ROWS]
    ]  # fmt: skip
    heads = ("window", "point", "start", "state", "confidence", "kinds", "judged by", "chosen as", "batch")
    return _table("Windows", heads, rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    from tsad.plots.page import FIGURES, framed

    def cell(head: str, value: object) -> str:
        text = str(value)
        kind = "n" if head in FIGURES else "t" if len(text) <= SHORT else ""
        return f'<td class="{kind}">{escape(text)}</td>'

    cells = ["<tr>" + "".join(map(cell, heads, row)) + "</tr>" for row in rows]
    return framed(title, heads, cells) if rows else ""


def _figure(value: float, places: int = 3) -> str:
    return "-" if math.isnan(value) else decimals(value, places)
