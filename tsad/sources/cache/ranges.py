"""Arithmetic on ranges of time: what is covered, what is missing, and which fetches bring it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tsad.core.intervals import Span

EVER: Span = (-(2**63), 2**63 - 1)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The union as disjoint spans in time order; those that touch become one."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def gaps(want: Span, have: Iterable[Span]) -> list[Span]:
    """What of ``want`` no span of ``have`` covers, in time order."""
    found, at = [], want[0]
    for start, end in merged(have):
        if start > at and at < want[1]:
            found.append((at, min(start, want[1])))
        at = max(at, end)
    return [*found, (at, want[1])] if at < want[1] else found


def common(one: Span, other: Span) -> Span | None:
    """Where two spans overlap."""
    start, end = max(one[0], other[0]), min(one[1], other[1])
    return (start, end) if start < end else None


def fetches(wants: Mapping[str, Span], missing: Mapping[str, Sequence[Span]]) -> list[tuple[Span, list[str]]]:
    """Fetches that bring all that is missing: a range each, and the points to ask for, in the order of ``wants``.

    Points of which nothing is there go into one fetch, whatever their spans: outside its span a point has no values to
    send. Gaps of other points are fetched together while that brings at most as much again as is missing.
    """
    empty = [p for p in wants if list(missing[p]) == [wants[p]]]
    found: list[tuple[Span, list[str]]] = []
    if empty:
        found.append(((min(wants[p][0] for p in empty), max(wants[p][1] for p in empty)), empty))
    rest = sorted((span, k, p) for k, p in enumerate(wants) if p not in set(empty) for span in missing[p])
    group: list[tuple[Span, int, str]] = []
    for span, k, point in rest:
        if group and not _worth([*group, (span, k, point)], found):
            found.append(_joint(group))
            group = []
        # A fetch for others may bring a part of it already: gaps grow at both ends when they are joined.
        for left in gaps(span, [brought for brought, names in found if point in names]):
            if group and not _worth([*group, (left, k, point)], found):
                found.append(_joint(group))
                group = []
            group.append((left, k, point))
    return [*found, _joint(group)] if group else found


def _worth(group: Sequence[tuple[Span, int, str]], found: Sequence[tuple[Span, list[str]]]) -> bool:
    """Whether the gaps go into one fetch, which brings none of its points what an earlier one has brought."""
    (start, end), points = _joint(group)
    if len(points) < len(group):  # two gaps of one point: what lies between them is there already
        return False
    if any(a < end and start < b and not set(names).isdisjoint(points) for (a, b), names in found):
        return False
    return len(points) * (end - start) <= 2 * sum(span[1] - span[0] for span, _, _ in group)


def _joint(group: Sequence[tuple[Span, int, str]]) -> tuple[Span, list[str]]:
    order = {p: k for _, k, p in group}
    span = (min(s[0] for s, _, _ in group), max(s[1] for s, _, _ in group))
    return span, sorted(order, key=lambda p: order[p])
