"""Many points in few statements: what is asked together, and how an interrupted answer is taken up again.

Fields of a device that have as many rows over the same time are asked for together (one column of time for all of
them); devices with the same fields share a statement and are answered one after the other, and so do devices whose
fields are called differently, where a device simply has nothing in the others' columns. So nothing explodes into a
sparse join, and a device is complete, and can be handed on, as soon as the next one begins.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tsad.core.errors import SourceError
from tsad.core.types import FloatArray, IntArray
from tsad.sources.base import batches
from tsad.sources.iotdb.blocks import Block, Column
from tsad.sources.iotdb.collector import Collector, Spread
from tsad.sources.iotdb.connection import Answer, Connection, LostError, MemoryShortError, rows_of
from tsad.sources.iotdb.models import Device, Field, Model, Place, Shape, TickRange, Windows

Item = TypeVar("Item")
_BATCH = 4_000_000  # values read before points are handed on in the order asked: 64 MB
_COLUMNS = 500  # fields x devices of one statement: the server plans each of them
_COUNTED = 300  # the same where it counts: three aggregates each
_UNLIKE = 32  # fields of one statement whose devices do not all have them
_PAGE = 100_000  # values of one answer, about 1 MB: the next one is under way while it is decoded


@dataclass(frozen=True)
class Known:
    """How many values a field has in the range, and the times of the first and last, in the server's precision."""

    count: int
    first: int
    last: int


_NONE = Known(0, 0, 0)
Statistics = Mapping[tuple[Device, Field], Known]


class HeldBackError(LostError):
    """Fewer rows came than the server counts. Asked for again they may come; that some did is no progress."""


class Reader:
    """Reads places over one connection.

    Args:
        fetch_rows: rows of one page, fewer where there are many columns.
        windows: aggregation in the server; ``None`` = raw rows.
        names: all fields of each device, asked for or not, as far as known.
    """

    def __init__(
        self, connection: Connection, model: Model, fetch_rows: int, windows: Windows | None,
        names: Mapping[Device, set[str]] | None = None,
    ) -> None:  # fmt: skip
        self.connection, self.model, self.fetch_rows, self.windows = connection, model, fetch_rows, windows
        self.names = {} if names is None else names

    def statistics(self, places: Iterable[Place], span: TickRange) -> dict[tuple[Device, Field], Known]:
        """Count, first and last time of each field; one that the server leaves out of its answer is absent.

        A field without rows has ``count`` 0 in the tree model and may be absent in the table model.
        """
        wanted: dict[Device, dict[Field, None]] = defaultdict(dict)
        for place in places:
            wanted[place.device].update(dict.fromkeys(place.fields))
        out: dict[tuple[Device, Field], Known] = {}
        for fields, devices in _alike((device, tuple(fields)) for device, fields in wanted.items()):
            for some in _chunks(fields, _COUNTED):
                for part in _chunks(devices, max(1, _COUNTED // len(some))):
                    out.update(self._counted(some, part, span))
        return out

    def read(
        self, places: Sequence[Place], known: Statistics, span: TickRange
    ) -> Iterator[tuple[Place, IntArray, FloatArray]]:
        """Places in the order asked, with times [T] in the server's precision and values [T, C]; empty ones left out.

        Raises:
            SourceUnavailableError: the server was lost and did not come back in time.
        """
        sizes = [sum(known[place.device, f].count for f in place.fields) for place in places]
        for batch in batches(places, sizes, _BATCH):
            done: dict[Place, tuple[IntArray, FloatArray]] = {}
            waiting = list(reversed(batch))
            asked = set(batch)
            for fields, devices in self._jobs(batch, known):
                for collector in self._collect(fields, devices, known, span):
                    for place, stamps, values in _places(collector, fields, self.model.layout):
                        if place in asked:
                            done[place] = (stamps, values)
                    while waiting and waiting[-1] in done:
                        place = waiting.pop()
                        yield place, *done.pop(place)
            for place in reversed(waiting):  # behind one without rows
                if place in done:
                    yield place, *done.pop(place)

    def _jobs(self, batch: Sequence[Place], known: Statistics) -> Iterator[tuple[tuple[Field, ...], list[Device]]]:
        """What one statement asks for: fields, and devices that have all of them."""
        if self.model.layout == "device":
            groups = [(place.device, place.fields) for place in batch]
        else:
            mates: dict[tuple[Device, Known], list[Field]] = defaultdict(list)
            for place in batch:
                mates[place.device, known[place.device, place.fields[0]]].append(place.fields[0])
            groups = [(device, tuple(fields)) for (device, _), fields in mates.items()]
        for fields, devices in _alike(groups) if self.model.layout == "device" else _united(_alike(groups), self.names):
            wide = [fields] if self.model.layout == "device" else list(_chunks(fields, _COLUMNS))
            for some in wide:
                for part in _chunks(devices, max(1, _COLUMNS // len(some))):
                    yield some, list(part)

    def _collect(
        self, fields: tuple[Field, ...], devices: Sequence[Device], known: Statistics, span: TickRange
    ) -> Iterator[Collector]:
        """Complete devices; what a lost connection has left over is asked for again, from the last time received."""
        step = 1 if self.windows is None else self.windows.every_in(self.connection.precision)
        tasks: list[tuple[list[Device], TickRange, Collector | None]] = [(list(devices), span, None)]
        attempt = held = 0
        while tasks:
            asked, part, current = tasks.pop()
            done: set[Device] = set()
            try:
                for device, times, columns in self._runs(fields, asked, part):
                    if current is None or current.device != device:
                        if current is not None:
                            yield self._complete(current, fields, known, span)
                            done.add(current.device)
                        capacity = max(known.get((device, f), _NONE).count for f in fields)
                        current = Collector(device, capacity, len(fields))
                    current.append(times, columns)
                    attempt = 0
                if current is not None:
                    yield self._complete(current, fields, known, span)
                    done.add(current.device)
                    current = None
                self._nothing_missing([d for d in asked if d not in done], fields, known, span)
                continue
            except HeldBackError as error:
                self.connection.pause(held, error)
                held += 1
                halves = 1
            except LostError as error:
                self.connection.pause(attempt, error)
                attempt += 1
                halves = 1
            except MemoryShortError as error:
                halves = 2
                if len(asked) == 1:
                    attempt += 1
                    self._no_memory(attempt, error)
            rest = [d for d in asked if d not in done and (current is None or d != current.device)]
            tasks += [(list(some), span, None) for some in _chunks(rest, -(-len(rest) // halves) or 1)][::-1]
            if current is not None:
                start = current.last + step if current.rows else part.start
                tasks.append(([current.device], TickRange(start, span.end), current))

    def _runs(
        self, fields: tuple[Field, ...], devices: Sequence[Device], span: TickRange
    ) -> Iterator[tuple[Device, IntArray, list[Spread]]]:
        """Rows of one device at a time, as they arrive."""
        if span.start is not None and span.end is not None and span.start >= span.end:
            return
        rows = max(1, min(self.fetch_rows, _PAGE // len(fields)))
        answer = self.connection.query(self.model.rows(fields, devices, span, self.windows), rows)
        shape = self.model.shape(answer, self.model.expressions(fields, self.windows))
        kinds = dict(zip(answer.places, answer.types, strict=True))
        for block in answer.blocks:
            times = block.times if shape.time < 0 else block.columns[shape.time].numbers("INT64")
            columns = [
                _spread(None if at is None else block.columns[at], kinds.get(at, "") if at is not None else "", block)
                for at in shape.fields
            ]
            for device, start, stop in _devices(block, shape):
                if stop - start == block.rows:
                    yield device, times, columns
                else:
                    cut = slice(start, stop)
                    yield device, times[cut], [c and (c[0][cut], None if c[1] is None else c[1][cut]) for c in columns]

    def _counted(
        self, fields: Sequence[Field], devices: Sequence[Device], span: TickRange
    ) -> dict[tuple[Device, Field], Known]:
        sql = self.model.statistics(fields, devices, span)

        def ask() -> list[tuple[Answer, Block]]:
            answer = self.connection.query(sql)
            return [(answer, block) for block in answer.blocks]

        try:
            blocks = self.connection.retried(ask)
        except MemoryShortError as error:
            if len(devices) * len(fields) == 1:
                raise SourceError(f"IoTDB at {self.connection.login.places}: {error}", _MORE_MEMORY) from error
            halves = (
                [(fields, part) for part in _chunks(devices, -(-len(devices) // 2))]
                if len(devices) > 1
                else [(part, devices) for part in _chunks(fields, -(-len(fields) // 2))]
            )
            return {k: v for some, part in halves for k, v in self._counted(some, part, span).items()}
        out = {}
        for answer, block in blocks:
            shape = self.model.shape(answer, self.model.counted(fields))
            at = {place: k for k, place in enumerate(answer.places)}
            for row in rows_of(answer, block):
                device = tuple(row[at[k]] for k in shape.keys)
                for k, field in enumerate(fields):
                    found = [None if p is None else row[at[p]] for p in shape.fields[3 * k : 3 * k + 3]]
                    if found[0] is not None:
                        out[device, field] = Known(int(found[0]), int(found[1] or 0), int(found[2] or 0))
        return out

    def _complete(
        self, collector: Collector, fields: tuple[Field, ...], known: Statistics, span: TickRange
    ) -> Collector:
        """The collector, if it holds at least what the server counts: a node that has just started may hold back rows.

        Raises:
            HeldBackError: rows are missing.
        """
        if self.windows is not None:
            return collector
        device = collector.device
        short = [f for f, n in zip(fields, collector.counts(), strict=True) if n < known.get((device, f), _NONE).count]
        if short:
            now = self._counted(short, [device], span)  # rows may have been deleted meanwhile
            counts = dict(zip(fields, collector.counts(), strict=True))
            if any(now[key].count > counts[key[1]] for key in now):
                collector.rows = 0  # read it again from the start
                raise HeldBackError(f"fewer rows of {'.'.join(map(str, device))} than counted")
        return collector

    def _nothing_missing(
        self, devices: Sequence[Device], fields: tuple[Field, ...], known: Statistics, span: TickRange
    ) -> None:
        for device in devices:
            if self.windows is None and any(known.get((device, f), _NONE).count for f in fields):
                self._complete(Collector(device, 0, len(fields)), fields, known, span)

    def _no_memory(self, attempt: int, error: MemoryShortError) -> None:
        """Wait for other queries to end.

        Raises:
            SourceError: that was waited for long enough.
        """
        if attempt > self.connection.login.retries:
            raise SourceError(f"IoTDB at {self.connection.login.places}: {error}", _MORE_MEMORY) from error
        time.sleep(0.5 * attempt)


_MORE_MEMORY = "Give the server more memory, or lower source.fetch_rows."


def _places(
    collector: Collector, fields: tuple[Field, ...], layout: str
) -> Iterator[tuple[Place, IntArray, FloatArray]]:
    if layout == "device":
        values = np.full((collector.rows, len(fields)), np.nan)
        for k, column in enumerate(collector.values):
            if column is not None:
                values[:, k] = column[: collector.rows]
        if collector.rows:
            yield Place(collector.device, fields), collector.stamps[: collector.rows], values
        return
    for k, field in enumerate(fields):
        stamps, column = collector.field(k)
        if len(stamps):
            yield Place(collector.device, (field,)), stamps, column[:, None]


def _spread(column: Column | None, kind: str, block: Block) -> Spread:
    """A column over all T rows: values with NaN where there is none, and where there is one."""
    if column is None:
        return None
    numbers, present = column.numbers(kind), column.present()
    if not len(numbers):
        return None
    if present is None:
        return numbers, None
    values = np.full(block.rows, np.nan)
    values[present] = numbers
    return values, present


def _devices(block: Block, shape: Shape) -> Iterator[tuple[Device, int, int]]:
    """Runs of rows of one device: almost always the whole block."""
    keys = [block.columns[k] for k in shape.keys]
    if all(key.constant for key in keys):
        yield tuple(key.texts()[0] for key in keys), 0, block.rows
        return
    texts = [key.texts() * block.rows if key.constant else key.texts() for key in keys]
    start = 0
    names = list(zip(*texts, strict=True))
    for k in range(1, block.rows + 1):
        if k == block.rows or names[k] != names[start]:
            yield names[start], start, k
            start = k


def _alike(groups: Iterable[tuple[Device, tuple[Field, ...]]]) -> Iterator[tuple[tuple[Field, ...], list[Device]]]:
    """Devices by the fields they are asked for."""
    out: dict[tuple[Field, ...], list[Device]] = defaultdict(list)
    for device, fields in groups:
        out[fields].append(device)
    yield from out.items()


def _united(
    groups: Iterable[tuple[tuple[Field, ...], list[Device]]], names: Mapping[Device, set[str]]
) -> Iterator[tuple[tuple[Field, ...], list[Device]]]:
    """Groups put together, so that devices whose fields are called differently need no statement each.

    No device gives more than it was asked for, and no name has two types, which the server refuses.

    Args:
        names: all fields of each device; one that is not known is left alone.
    """
    fields: dict[str, Field] = {}
    devices: dict[Device, set[str]] = {}  # what is asked of each
    for some, members in groups:
        new = {f.name for f in some}
        apart = (
            len(fields.keys() | new) > _UNLIKE
            or any(fields.get(f.name, f) != f for f in some)
            or any(d in devices or d not in names or names[d] & fields.keys() - new for d in members)
            or any(d not in names or names[d] & new - own for d, own in devices.items())
        )
        if fields and apart:
            yield tuple(fields.values()), list(devices)
            fields, devices = {}, {}
        fields.update((f.name, f) for f in some)
        devices.update((d, new) for d in members)
    if fields:
        yield tuple(fields.values()), list(devices)


def _chunks(items: Sequence[Item], size: int) -> Iterator[Any]:
    for at in range(0, len(items), max(size, 1)):
        yield items[at : at + size]
