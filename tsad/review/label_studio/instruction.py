"""What annotators read before they label: a text file, filled in for a project, as the HTML that Label Studio shows."""

from __future__ import annotations

import hashlib
import re
from html import escape, unescape

from tsad.core.errors import ConfigError
from tsad.review.label_studio.located import find_file
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template

SUBMIT_ACTION = "annotation:annotation:submit"
SUBMIT_KEY, SKIP_KEY = "ctrl+enter", "ctrl+space"  # Label Studio's own
_MARK = re.compile(r'name="tsad-([0-9a-f]{12})"')
# Label Studio's page takes away all distances and bullets, and its server all attributes that could give them back.
_STYLE = (
    "<style>.tsad ul{list-style:disc;padding-left:22px} .tsad ul,.tsad p{margin:6px 0} .tsad li{margin:3px 0} "
    ".tsad h2,.tsad h3{margin:14px 0 4px}</style>"
)
_ZONE = {
    "en": {"time": "of 24 hours at UTC{0}, all year round", "index": "positions in the series, not clock times"},
    "zh": {"time": "24 小时制，固定为 UTC{0}，全年不变", "index": "序列中的序号，不是时钟时间"},
}


def instruction(options: LabelStudioOptions, template: Template) -> str:
    """The project's instruction as HTML, with a mark by which :func:`is_ours` knows it again.

    Raises:
        ConfigError: ``review.instruction`` names no file, or one that is no UTF-8 text.
    """
    path = find_file(options.instruction.replace("{language}", options.language), "instruction", "*.md")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"review.instruction={path} cannot be read: {error}", "Save it as UTF-8 text.") from error
    body = as_html(_filled(text, options, template))
    return f'<div class="tsad" name="tsad-{_digest(body)}">{_STYLE}{body}</div>'


def is_ours(html: str) -> bool:
    """Whether an instruction is as tsad wrote it: people's own words, and their changes to ours, stay."""
    return mark_of(html) == _digest(html.replace(_STYLE, ""))


def mark_of(html: str) -> str:
    """The mark that we gave an instruction; "" where it has none."""
    mark = _MARK.search(html)
    return mark[1] if mark else ""


def as_html(text: str) -> str:
    """Markdown's headings, lists, paragraphs, **bold** and `code` as HTML; all else stays text, markup too."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.split("\n")
        heading = re.match(r"(#{1,3}) +(.*)", lines[0])
        if heading:
            level = len(heading[1]) + 1
            out.append(f"<h{level}>{_inline(heading[2])}</h{level}>")
            lines = lines[1:]
        items = re.split(r"^- +", "\n".join(lines), flags=re.MULTILINE)
        if items[0].strip():
            out.append(f"<p>{_inline(items[0])}</p>")
        if len(items) > 1:
            listed = "".join(f"<li>{_inline(item)}</li>" for item in items[1:])
            out.append(f"<ul>{listed}</ul>")
    return "\n".join(out)


def _inline(text: str) -> str:
    """One paragraph; no blank where a line of Chinese was broken."""
    joined = re.sub(r"(?<=[\u3000-\uffef])\n\s*(?=[\u3000-\uffef])", "", text.strip())
    plain = escape(re.sub(r"\s*\n\s*", " ", joined))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", plain))


def _filled(text: str, options: LabelStudioOptions, template: Template) -> str:
    """The text with what only the project knows; other braces stay."""
    zone = _ZONE[options.language][template.time_kind].format(options.utc_offset)
    listed = [f"- **{kind}**{f' (`{key}`)' if key else ''}" for kind, key in template.hotkeys.items()]
    values = {"kinds": "\n".join(listed), "zone": zone, "submit": options.submit_key or SUBMIT_KEY, "skip": SKIP_KEY}
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)


def _digest(html: str) -> str:
    """Of the words alone: the server writes tags and entities in its own way."""
    words = " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
    return hashlib.sha256(words.encode()).hexdigest()[:12]
