"""A page of HTML as an artifact: no outside resources, no scripts, readable in MLflow's artifact viewer."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
FIGURES = {  # heads of columns of numbers
    "points", "channels", "missing", "low", "high", "labels", "series", "judged", "cannot tell", "minutes per window",
    "interval F1 with others", "windows", "interval F1", "IoU", "kappa", "alpha", "audits", "errors", "confidence",
}
STYLE = """
:root{color-scheme:light;--ink:#222;--soft:#666;--line:#e3e3e3;--refuse:#a11d00;--warn:#8a5a00;--note:#555}
body{font:14px/1.45 system-ui,sans-serif;color:var(--ink);background:#fff;margin:24px auto;max-width:1180px;
padding:0 20px}
h1{font-size:21px;margin:0 0 2px} h2{font-size:16px;margin:30px 0 8px} h3{font-size:14px;margin:0}
p{margin:2px 0} .soft{color:var(--soft)} .cards{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0}
.card{border:1px solid var(--line);border-radius:8px;padding:8px 16px;min-width:88px}
.card b{display:block;font-size:20px}
table{border-collapse:collapse;width:100%} .wide{overflow-x:auto}
th{text-align:left;font-weight:600;border-bottom:2px solid var(--line);white-space:nowrap}
th,td{padding:4px 10px 4px 0;vertical-align:top} td{border-bottom:1px solid var(--line);overflow-wrap:anywhere}
td.said{min-width:300px} td.name{min-width:140px}
.n{text-align:right;white-space:nowrap} .t{white-space:nowrap}
.tag{display:inline-block;border-radius:4px;padding:0 6px;font-size:12px;border:1px solid;white-space:nowrap}
.refuse{color:#fff;background:var(--refuse);border-color:var(--refuse)} .warn{color:var(--warn);background:#fff4dc}
.note{color:var(--note);background:#f4f4f4}
section{border:1px solid var(--line);border-radius:8px;padding:12px 14px;margin:0 0 14px}
section img{display:block;width:100%;max-width:1000px;margin-top:8px} ul{margin:6px 0;padding:0;list-style:none}
"""


def document(title: str, body: str) -> str:
    """A whole page; ``body`` is HTML whose texts are escaped already."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def cards(figures: Mapping[str, str]) -> str:
    """What the page says at a glance."""
    inside = "".join(f'<div class="card"><b>{escape(of)}</b>{escape(name)}</div>' for name, of in figures.items())
    return f'<div class="cards">{inside}</div>'


def framed(title: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """A table under a title, from rows of HTML."""
    head = "".join(f'<th class="n">{h}</th>' if h in FIGURES else f"<th>{h}</th>" for h in heads)
    body = "\n".join(rows)
    return f'<h2>{title}</h2>\n<div class="wide"><table><tr>{head}</tr>\n{body}\n</table></div>'


def picture(image: bytes, alt: str) -> str:
    """A PNG inside the page."""
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'


def png(figure: Figure) -> bytes:
    """The figure as an image small enough to be written into the page."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    return drawn.getvalue()
