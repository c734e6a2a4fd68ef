"""Reading answers that nothing has steered: what is meant is taken, and every repair is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tsad.detectors.llm.codec import Mark

_STARTS, _ENDS = ("start", "begin", "from", "left"), ("end", "stop", "to", "right")
_RANGES = ("range", "interval", "indices", "index")
_KINDS, _NOTES = ("label", "kind", "type"), ("detail", "reason", "note", "description")
_HOLDERS = ("anomalies", "intervals", "anomaly", "ranges", "result")
_PAIR = re.compile(r"[\[(]\s*(-?\d+(?:\.\d+)?)\s*[,;-]\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Parsed:
    """What an answer says.

    Attributes:
        marks: ascending, disjoint, inside the block.
        mended: what had to be repaired, in words; empty where the answer was as asked for.
        readable: whether anything could be read at all; an answer that says "nothing" is readable.
    """

    marks: tuple[Mark, ...]
    mended: tuple[str, ...] = ()
    readable: bool = True


def parse(text: str, length: int) -> Parsed:
    """The intervals that a text means.

    Takes lists of pairs and of objects (``range`` or ``start`` and ``end``; ``label``, ``detail``), bare or in an
    object, in a code fence or among other words, with single quotes, trailing commas, or cut off.

    Args:
        length: positions of the block; what lies outside is cut.
    """
    mended: list[str] = []
    content = _decoded(text, mended)
    if content is None:
        pairs = [(m[1], m[2]) for m in _PAIR.finditer(text)]
        if not pairs:
            return Parsed((), (*mended, "no list could be read"), readable=False)
        mended.append("pairs were picked out of the text")
        content = [list(pair) for pair in pairs]
    marks = [mark for item in _items(content) if (mark := _mark(item, length, mended)) is not None]
    return Parsed(_ordered(marks, mended), tuple(dict.fromkeys(mended)))


def _decoded(text: str, mended: list[str]) -> Any:
    """The JSON of an answer; ``None`` where there is none."""
    bare = text.strip()
    try:
        return json.loads(bare)
    except ValueError:
        pass
    fenced = re.search(r"```(?:json)?\s*(.*?)(?:```|$)", bare, re.DOTALL)
    inner = fenced[1] if fenced else bare
    first = min((at for at in (inner.find("["), inner.find("{")) if at >= 0), default=-1)
    if first < 0:
        return None
    said = "a code fence was taken off" if fenced else "words around the list were left out"
    for candidate, told in _repairs(inner[first:]):
        try:
            content, _ = json.JSONDecoder().raw_decode(candidate)
        except ValueError:
            continue
        mended += [said] * (bool(fenced) or first > 0 or not told) + [told] * bool(told)
        return content
    return None


def _repairs(text: str) -> Iterator[tuple[str, str]]:
    """Texts that may be JSON, each with the repair that made it."""
    yield text, ""
    quoted = re.sub(r"'([^']*)'", r'"\1"', text)
    loose = re.sub(r",\s*([\]}])", r"\1", quoted)
    yield loose, "quotes or commas were mended"
    cut = re.sub(r"[^\]}]*$", "", loose)  # after the last bracket that closes anything
    while cut:
        left = _unclosed(cut)
        if left is not None:
            yield cut + left, "the answer was cut off: its last item may be missing"
        cut = re.sub(r"[^\]}]*$", "", cut[:-1])
    if loose.startswith("["):
        yield "[]", "the answer was cut off before its first item ended"


def _unclosed(text: str) -> str | None:
    """The brackets that would close a text; ``None`` where they do not match."""
    waiting: list[str] = []
    inside = False
    for at, ch in enumerate(text):
        if ch == '"' and (at == 0 or text[at - 1] != "\\"):
            inside = not inside
        elif not inside and ch in "[{":
            waiting.append("]" if ch == "[" else "}")
        elif not inside and ch in "]}" and (not waiting or waiting.pop() != ch):
            return None
    return None if inside else "".join(reversed(waiting))


def _items(content: Any) -> list[Any]:
    if isinstance(content, Mapping):
        held = next((content[name] for name in _HOLDERS if name in content), None)
        return _items(held) if held is not None else [content]
    if isinstance(content, list):
        return [content] if len(content) >= 2 and all(_number(v) is not None for v in content[:2]) else content
    return []


def _mark(item: Any, length: int, mended: list[str]) -> Mark | None:
    """One item, mended; ``None`` where it means nothing in the block."""
    found = _fields(item)
    if found is None:
        mended.append(f"an item was left out: {json.dumps(item, ensure_ascii=False)[:40]}")
        return None
    start, end, kind, note = found
    if start != int(start) or end != int(end):
        mended.append("positions were rounded")
    first, last = round(start), round(end)
    if first > last:
        mended.append("start and end were exchanged")
        first, last = last, first
    if last < 0 or first >= length:
        mended.append(f"[{first}, {last}] lies outside the window and was left out")
        return None
    if first < 0 or last >= length:
        mended.append(f"[{first}, {last}] was cut to the window")
    return Mark(max(first, 0), min(last, length - 1), kind, note)


def _fields(item: Any) -> tuple[float, float, str, str] | None:
    if isinstance(item, Mapping):
        span = next((item[name] for name in _RANGES if isinstance(item.get(name), list)), None)
        pair = span or [_first(item, _STARTS), _first(item, _ENDS)]
        kind, note = (_first(item, names) or "" for names in (_KINDS, _NOTES))
    elif isinstance(item, list):
        pair, (kind, note) = item[:2], [*item[2:4], "", ""][:2]
    else:
        return None
    numbers = [_number(value) for value in pair]
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) < 2 or numbers[0] is None or numbers[1] is None:
        return None
    return numbers[0], numbers[1], str(kind), str(note)


def _first(item: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((item[name] for name in names if name in item), None)


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _ordered(marks: list[Mark], mended: list[str]) -> tuple[Mark, ...]:
    """In order of time; those that overlap become one."""
    ordered: list[Mark] = []
    if [m.start for m in marks] != sorted(m.start for m in marks):
        mended.append("intervals were put in order")
    for mark in sorted(marks, key=lambda m: (m.start, m.end)):
        if ordered and mark.start <= ordered[-1].end:
            mended.append("overlapping intervals were joined")
            ordered[-1] = replace(ordered[-1], end=max(ordered[-1].end, mark.end))
        else:
            ordered.append(mark)
    return tuple(ordered)
