"""Our own pages in a real browser: HTML in names is shown as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tsad.core.names import markup_free
from tsad.sources.quality import Quality
from tsad.sources.quality_findings import Finding
from tsad.steps.quality_page import page

pytestmark = pytest.mark.live
EVIL = "<img src=x onerror=\"document.title='sprung'\"><script>document.title='sprung'</script>"


def test_html_in_names_is_text_in_a_browser(browser: Any, tmp_path: Path) -> None:
    figures: dict[str, Any] = {
        "points": 100, "channels": 1, "time_kind": "time", "start": 0, "end": 100 * 10**9, "step": 10**9, "jitter": 0.0,
        "gaps": 0, "longest_gap": 0, "gap_share": 0.0, "nan_share": 0.0, "longest_nan": 0, "missing_share": 0.0,
        "low": 0.0, "high": 1.0, "constant_channels": 0, "labels": None,
    }  # fmt: skip
    found = [Quality(point_id=EVIL, findings=(Finding("stuck", "warn", EVIL, 1),), **figures)]
    report = page(EVIL, 10**18, found, {EVIL: EVIL}, {EVIL: b"png"})
    cell = f"<!doctype html><title>cell</title><td>{markup_free(EVIL)}</td>"  # a text of a task, taken for HTML
    for name, html, shown in (("report", report, EVIL), ("task", cell, EVIL)):
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
        tab = browser.new_page()
        tab.goto((tmp_path / f"{name}.html").as_uri())
        assert shown in tab.inner_text("body") and "sprung" not in tab.title().replace(EVIL, "")
        assert tab.locator("script").count() == 0 and tab.locator("img[src=x]").count() == 0
        tab.close()
