"""``tsad ingest``: what was found of each series, in the terminal and as a page that stands alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sources_kit import EXAMPLE, write
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import SourceError, SourceUnavailableError
from tsad.core.intervals import intervals_to_mask
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.loop.common import load_series, read_series
from tsad.loop.opening import open_loop
from tsad.plots.page import png
from tsad.plots.quality import quality_figure
from tsad.sources.csv import CsvSource
from tsad.sources.quality import Quality
from tsad.sources.quality_findings import Finding
from tsad.steps.quality_page import counts, page, worst_first
from tsad.tracking.artifacts import read_text

Make = Callable[..., Workbench]


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Six points: fine, a gap, constant, half missing, mended, and one that cannot be read."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "plant"

    def rows(name: str, values: Any, minutes: Any) -> None:
        stamps = np.datetime64("2024-01-01T00:00:00", "s") + np.asarray(minutes) * 60
        text = "\n".join(f"{t}Z,{'' if v != v else v}" for t, v in zip(stamps, values, strict=True))
        write(folder / f"{name}.csv", f"timestamp,value\n{text}\n")

    values = rng.normal(50, 5, 1000).round(6)
    rows("fine", values, np.arange(1000))
    rows("gap", values[:700], np.delete(np.arange(1000), range(200, 500)))
    rows("flat", np.full(1000, 7.0), np.arange(1000))
    rows("half", np.where(np.arange(1000) % 500 < 300, np.nan, values), np.arange(1000))
    rows("mended", values, [0, 0, *range(1, 999)])
    write(folder / "bad.csv", EXAMPLE.replace("2.5", "oops"))
    return folder


def run_of(bench: Workbench) -> Any:
    (run,) = open_loop(bench).search("tags.`tsad.step` = 'INGEST'")
    return run


def test_the_table_says_what_was_found(
    bench: Make, plant: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    one = bench("source=csv", f"source.root={plant}")
    call("ingest", one, report=False)
    out = capsys.readouterr().out
    for word in (
        "fine", "1 min", "warn gaps: 1 gap, longest 5.02 h", "note duplicates 1",
        "warn constant: always 7", "warn nan: 60.0%", "'oops'", "not ingested", "5 series, 4699 points, 1 left out",
        "cache: 0 were there, 5 read from the source",
    ):  # fmt: skip
        assert word in out, word
    assert "report:" not in out and not open_loop(one).search("")
    call("ingest", one, points=["f*"], report=False)
    assert "cache: 2 were there, 0 read from the source" in capsys.readouterr().out


def test_a_long_list_is_cut_to_the_worst(bench: Make, plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("ingest", bench("source=csv", f"source.root={plant}"), rows=2, report=False)
    out = capsys.readouterr().out
    assert "half" in out and "gap" in out and "│ flat" not in out and "│ fine" not in out
    assert "3 more series are not shown: 1 warnings, 1 notes only, 1 fine (rows=2)" in out


def test_the_run_keeps_page_table_and_figures(bench: Make, plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = bench("source=csv", f"source.root={plant}", "tracking.plots=3")
    call("ingest", one)
    run = run_of(one)
    assert run.info.status == "FINISHED" and run.info.run_id in capsys.readouterr().out
    assert run.data.params["source"] == f"csv:{plant}"
    wanted = {
        "series": 5, "points": 4699, "fine": 1, "refused": 0, "failed": 1, "findings_refuse": 0, "findings_warn": 3,
        "findings_note": 2,
    }  # fmt: skip
    assert wanted == {k: v for k, v in run.data.metrics.items() if k in wanted}
    store = open_loop(one).store
    table = json.loads(read_text(store, run.info.run_id, "quality.json"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [r["point_id"] for r in rows] == ["half", "gap", "flat", "mended", "fine"]
    assert rows[0]["missing_share"] == pytest.approx(0.6) and rows[0]["longest_nan"] == 300
    assert rows[1]["longest_gap"] == 301 * 60 and rows[1]["start"] == "2024-01-01T00:00:00Z"
    html = read_text(store, run.info.run_id, "quality.html")
    assert html.count("data:image/png;base64,") == 3 and "oops" in html


def test_figures_show_every_kind_of_finding_before_more_of_the_same(bench: Make, tmp_path: Path) -> None:
    stamps = np.datetime64("2024-01-01T00:00:00", "s") + np.arange(1000) * 60
    values = np.random.default_rng(0).normal(50, 5, 1000).round(6)
    stuck = np.where((np.arange(1000) > 500) & (np.arange(1000) < 600), 51.0, values)
    for name, given, keep in (("stuck", stuck, 1000), *((f"gap{k}", values, 600 - k) for k in range(5))):
        kept = (np.arange(1000) < keep - 100) | (np.arange(1000) > 900) | (keep == 1000)
        rows = "\n".join(f"{t}Z,{v}" for t, v in zip(stamps[kept], given[kept], strict=True))
        write(tmp_path / "plant" / f"{name}.csv", f"timestamp,value\n{rows}\n")
    one = bench("source=csv", f"source.root={tmp_path / 'plant'}", "tracking.plots=3")
    call("ingest", one)
    html = read_text(open_loop(one).store, run_of(one).info.run_id, "quality.html")
    worst = html.split("<h2>All series")[0].split("<h2>Worst series")[1]
    assert [name for name in ("gap4", "gap3", "gap2", "stuck") if f"<h3>{name}</h3>" in worst] == [
        "gap4", "gap3", "stuck"
    ]  # fmt: skip


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_refused_point_is_left_out_by_name_and_the_rest_go_on(
    bench: Make, plant: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    strict = bench(
        "source=csv", f"source.root={plant}", "quality.refuse_missing_share=0.5", "quality.refuse=[constant]"
    )
    call("ingest", strict)
    out = " ".join(capsys.readouterr().out.split())
    assert "3 series, 2699 points, 3 left out" in out and "quality.refuse_missing_share=0.5" in out
    assert run_of(strict).data.metrics["refused"] == 2
    assert [s.point_id for s in load_series(strict)] == ["fine", "gap", "mended"]
    assert "'half' is refused by its data quality: missing: 60.0%" in caplog.text
    assert "'flat' is refused by its data quality: constant: always 7" in caplog.text


def test_nothing_left_is_an_error(bench: Make, plant: Path) -> None:
    strict = bench("source=csv", f"source.root={plant}", "quality.refuse=[constant]")
    with pytest.raises(SourceError, match="no series that may be used: series 'flat' is refused"):
        read_series(strict, ["flat"])
    with pytest.raises(SourceError, match="no series that may be used: series 'flat' is refused"):
        call("ingest", strict, points=["flat"], report=False)


# --- faults ------------------------------------------------------------------------------------------------


def test_series_from_the_cache_are_named_so(
    bench: Make, plant: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench("source=csv", f"source.root={plant}")
    call("ingest", one, points=["fine", "gap"], report=False)

    def gone(*_: object) -> None:
        raise SourceUnavailableError(f"{plant} is not mounted", "Mount it.")

    for method in ("points", "fetch", "digest"):
        monkeypatch.setattr(CsvSource, method, gone)
    capsys.readouterr()
    call("ingest", one, points=["fine", "gap"], report=False)
    out = capsys.readouterr().out
    assert "could not be reached: 2 series from the cache, the oldest fetched at 20" in out


# --- downsampling where verbs read -------------------------------------------------------------------------


def test_verbs_read_shorter_series_and_the_cache_keeps_them_whole(bench: Make, plant: Path) -> None:
    short = bench("source=csv", f"source.root={plant}", "downsample=m4", "downsample.count=100")
    reading = read_series(short, ["fine"])
    (series,) = reading.series
    assert len(series) <= 102 and series.notes["downsampled_from"] == 1000
    (shorter,) = reading.shorter
    assert shorter.series is series
    alarm = Interval(int(series.timestamps[10]), int(series.timestamps[12]))
    back = shorter.original(alarm)
    assert back.start == alarm.start and back.end >= alarm.end - series.step
    (whole,) = load_series(bench("source=csv", f"source.root={plant}"), ["fine"])
    assert len(whole) == 1000 and "downsampled_from" not in whole.notes
    assert intervals_to_mask([back], whole.timestamps).any()


# --- the page ----------------------------------------------------------------------------------------------


def quality(point_id: str, *findings: Finding, **more: Any) -> Quality:
    values: dict[str, Any] = {
        "points": 100, "channels": 1, "time_kind": "time", "start": 0, "end": 100 * NS_PER_SECOND,
        "step": NS_PER_SECOND, "jitter": 0.0, "gaps": 0, "longest_gap": 0, "gap_share": 0.0, "nan_share": 0.0,
        "longest_nan": 0, "missing_share": 0.0, "low": 0.0, "high": 1.0, "constant_channels": 0, "labels": None,
    }  # fmt: skip
    return Quality(point_id=point_id, findings=findings, **{**values, **more})


class Tags(HTMLParser):
    """Notes every tag, every address and whether tags close as they opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "action", "data", "srcset")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    evil = '<script>alert("x")</script>&\'"><img src=http://evil.example/x>'
    found = [
        quality(evil, Finding("stuck", "warn", evil, 1), labels=2), quality("fine"),
        quality("refused", Finding("missing", "refuse", "80.0%", 1), low=float("nan"), high=float("nan")),
    ]  # fmt: skip
    html = page(evil, 1_700_000_000 * NS_PER_SECOND, found, {evil: evil}, {evil: b"png"})
    tags = Tags(html)
    assert tags.open == [] and not tags.seen & {"script", "link", "iframe", "a"}
    assert tags.addresses == ["data:image/png;base64,cG5n"]
    assert "url(" not in html and "@import" not in html and "2023-11-14T22:13:20Z" in html


def test_worst_series_come_first_and_are_counted_once() -> None:
    note, warn, refuse = (Finding("gaps", s, "x", 1) for s in ("note", "warn", "refuse"))
    found = [
        quality("fine"), quality("note", note), quality("warn", warn, note), quality("refused", refuse, warn),
        quality("more missing", warn, missing_share=0.2),
    ]  # fmt: skip
    assert [q.point_id for q in worst_first(found)] == ["refused", "more missing", "warn", "note", "fine"]
    assert counts(found) == {"refused": 1, "warnings": 2, "notes only": 1, "fine": 1}


def test_a_thousand_series_stay_readable() -> None:
    found = [quality(f"p{k}", Finding("gaps", "note", "x", 1)) for k in range(2500)]
    html = page("csv:/data", 0, found, {}, {})
    assert "500 more are in quality.json" in html and "and 2,495 more" in html


@pytest.mark.parametrize("kind", ["time", "index"])
def test_findings_are_drawn_where_they_are(kind: Any) -> None:
    stamps = np.arange(300, dtype=np.int64) * 60 * NS_PER_SECOND
    series = Series("水 $x$", stamps, np.random.default_rng(0).normal(size=(300, 5)), tuple("abcde"), kind)
    marks = [Interval(int(stamps[10]), int(stamps[20]), "gaps"), Interval(int(stamps[50]), int(stamps[51]), "stuck")]
    figure = quality_figure(series, marks, ["d", "nowhere"])
    line, lanes = figure.axes
    assert line.get_ylabel() == "d"
    assert [t.get_text() for t in lanes.get_yticklabels()] == ["gaps", "stuck"]
    assert len({bars.get_hatch() for bars in lanes.collections}) == 2
    assert png(figure).startswith(b"\x89PNG")
    assert len(quality_figure(series, []).axes) == 3
