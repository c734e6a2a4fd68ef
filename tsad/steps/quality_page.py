"""A data-quality report as one page: no outside resources, no scripts, readable in MLflow's artifact viewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol, TypeVar

from tsad.core.durations import format_duration
from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND
from tsad.plots.page import cards, document, framed, picture
from tsad.sources.quality import Quality
from tsad.sources.quality_findings import SEVERITIES, Finding

MAX_ROWS = 2000  # of the table of all series; the rest is in quality.json
WORDS = {"refuse": "refused", "warn": "warning", "note": "note"}


class Rated(Protocol):
    """What series are sorted and counted by."""

    @property
    def missing_share(self) -> float: ...
    @property
    def findings(self) -> Sequence[Any]: ...
    def of(self, severity: Any) -> Sequence[Any]: ...


Q = TypeVar("Q", bound=Rated)


def badness(quality: Rated) -> tuple[float, ...]:
    """What series are sorted by, worst first: refusals, warnings, what is missing, notes (all negative)."""
    refused, warned = (-len(quality.of(severity)) for severity in ("refuse", "warn"))
    return refused, warned, -quality.missing_share, -len(quality.findings)


def worst_first(found: Iterable[Q]) -> list[Q]:
    """Refusals before warnings before notes; then what misses most; else in the order given."""
    return sorted(found, key=badness)


def counts(found: Sequence[Rated]) -> dict[str, int]:
    """Series by the worst that was found: refused, with warnings, with notes only, fine."""
    worst = Counter(q.findings[0].severity if q.findings else "fine" for q in found)
    return {"refused": worst["refuse"], "warnings": worst["warn"], "notes only": worst["note"], "fine": worst["fine"]}


def page(
    source: str, when: int, found: Sequence[Quality], failures: Mapping[str, str], figures: Mapping[str, bytes]
) -> str:
    """The report as HTML; every text that comes from the data is escaped.

    Args:
        source: where the series come from, without secrets.
        when: time of the report, ns UTC.
        failures: points that could not be read, with the reason.
        figures: PNG by point, in the order to show.
    """
    by_point = {q.point_id: q for q in found}
    parts = [
        "<h1>Data quality</h1>", f'<p class="soft">{escape(source)}, {format_time(when // 10**9 * 10**9)}</p>',
        _cards(found, failures), _by_finding(found), _failed(failures),
        _drawn({by_point[p]: image for p, image in figures.items()}), _table(worst_first(found)),
    ]  # fmt: skip
    body = "\n".join(part for part in parts if part)
    return document(f"Data quality: {source}", body)


def _cards(found: Sequence[Quality], failures: Mapping[str, str]) -> str:
    figures = {"series": len(found), "points": sum(q.points for q in found), **counts(found)}
    if failures:
        figures["not readable"] = len(failures)
    return cards({name: f"{value:,}" for name, value in figures.items()})


def _by_finding(found: Sequence[Quality]) -> str:
    """One row per kind of finding: in how many series, and the first of them."""
    kinds: dict[str, dict[str, list[str]]] = {severity: {} for severity in SEVERITIES}
    for quality in worst_first(found):
        for finding in quality.findings:
            kinds[finding.severity].setdefault(finding.name, []).append(quality.point_id)
    if not any(kinds.values()):
        return "<p>Nothing was found: every series is regular, complete and within its usual range.</p>"
    rows = [
        f'<tr><td>{_tag(severity)}</td><td class="t">{escape(name)}</td><td class="n">{len(points):,}</td>'
        f"<td>{escape(', '.join(points[:5]))}{f' and {len(points) - 5:,} more' if len(points) > 5 else ''}</td></tr>"
        for severity in SEVERITIES
        for name, points in sorted(kinds[severity].items(), key=lambda item: -len(item[1]))
    ]
    return framed("Findings", ("", "finding", "series", "in"), rows)


def _failed(failures: Mapping[str, str]) -> str:
    rows = [f"<tr><td>{escape(point)}</td><td>{escape(why)}</td></tr>" for point, why in failures.items()]
    return framed("Not readable", ("point", "why"), rows[:MAX_ROWS]) if rows else ""


def _drawn(figures: Mapping[Quality, bytes]) -> str:
    """The worst series with their findings marked."""
    if not figures:
        return ""
    blocks = []
    for quality, image in figures.items():
        items = "".join(f"<li>{_said(f)}</li>" for f in quality.findings)
        alt = f"{quality.point_id} over time, with {', '.join(f.name for f in quality.findings)} marked"
        blocks.append(
            f'<section><h3>{escape(quality.point_id)}</h3><p class="soft">{escape(_span(quality))}, '
            f"{quality.points:,} points, step {escape(_step(quality))}</p><ul>{items}</ul>"
            f"{picture(image, alt)}</section>"
        )
    return "<h2>Worst series</h2>\n" + "\n".join(blocks)


def _table(found: Sequence[Quality]) -> str:
    """All series, worst first."""
    wide = any(q.channels > 1 for q in found)
    rows = [
        f'<tr><td class="name">{escape(q.point_id)}</td><td class="n">{q.points:,}</td>'
        f'{f"""<td class="n">{q.channels}</td>""" if wide else ""}'
        f'<td class="t">{escape(_span(q))}</td><td class="t">{escape(_step(q))}</td>'
        f'<td class="n">{q.missing_share:.1%}</td><td class="n">{q.low:.4g}</td><td class="n">{q.high:.4g}</td>'
        f'<td class="n">{"-" if q.labels is None else q.labels}</td>'
        f'<td class="said">{"<br>".join(_said(f) for f in q.findings) or "fine"}</td></tr>'
        for q in found[:MAX_ROWS]
    ]
    heads = ["point", "points", *(["channels"] if wide else []), "span", "step", "missing", "low", "high", "labels"]
    more = f"<p>{len(found) - MAX_ROWS:,} more are in quality.json.</p>" if len(found) > MAX_ROWS else ""
    return framed("All series", [*heads, "findings"], rows) + more if rows else ""


def _tag(severity: str) -> str:
    return f'<span class="tag {severity}">{WORDS[severity]}</span>'


def _said(finding: Finding) -> str:
    return f"{_tag(finding.severity)} <b>{escape(finding.name)}</b>: {escape(finding.what)}"


def _span(quality: Quality) -> str:
    ends = (format_time(t, quality.time_kind).partition("T")[0] for t in (quality.start, quality.end))
    return " to ".join(ends)


def _step(quality: Quality) -> str:
    return f"{quality.step / NS_PER_SECOND:g}" if quality.time_kind == "index" else format_duration(quality.step)
