"""Versions of several loops, ready to answer: loaded when first asked for, held within a bound of memory."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.control import Silent, Switch
from tsad.core.errors import TimeUpError, TsadError, UnknownLoopError, UnknownVersionError
from tsad.core.results import Result
from tsad.core.sizes import bytes_of_arrays
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.continuing import as_its_loop_has_it, connections_alone
from tsad.loop.live_champion import LiveChampion
from tsad.loop.opening import open_loop
from tsad.loop.watching import named_for_watching

if TYPE_CHECKING:
    from tsad.tracking.pyfunc_model import LoadedVersion

log = logging.getLogger("tsad")
CHAMPION = "champion"
LEAST = 1_000_000  # bytes that a version counts at least: there is code and text around its arrays
WAITED = 0.95  # share of the time for an answer that is waited: the rest is for saying so
MEASURED = 3  # uses after which it is not measured again: a network is loaded at its first


@dataclass(frozen=True, eq=False)
class ReadyModel(Result):
    """A version that is held in memory; ``champion`` = it is its loop's, as far as is known."""

    loop: str
    model_version: str
    champion: bool
    megabytes: float


@dataclass(eq=False)
class _Held:
    """A version in memory: the loop's champion, or one that was asked for by its number or another alias."""

    live: LiveChampion | None = None
    loaded: LoadedVersion | None = None
    size: int = LEAST
    uses: int = 0

    @property
    def version(self) -> LoadedVersion | None:
        """What is loaded now."""
        if self.live is None:
            return self.loaded
        now = self.live.ready
        return None if now is None else now.loaded

    def measure(self) -> None:
        """See how large it is now."""
        self.size = max(LEAST, bytes_of_arrays(self.version))


@dataclass(eq=False)
class ReadyModels:
    """Champions (a new one is loaded beside the one that answers) and other versions of the loops of a store.

    Safe to use from several threads. A version that has to go for another goes on answering what it has begun.

    Args:
        bench: of the service's own words.
        most: bytes that versions may take together; the last one used stays whatever its size.
        seconds: between two looks at the aliases.
    """

    bench: Workbench
    most: int
    seconds: float
    _held: OrderedDict[tuple[str, str], _Held] = field(default_factory=OrderedDict)  # the last one was used last
    _live: dict[str, LiveChampion] = field(default_factory=dict)
    _aliases: dict[tuple[str, str], str] = field(default_factory=dict)  # numbers, looked up again by refresh
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loading: threading.Lock = field(default_factory=threading.Lock)
    _coming: dict[tuple[str, str], Future[LoadedVersion]] = field(default_factory=dict)  # what is being loaded
    _default: str = ""

    def default_loop(self) -> str:
        """The loop that is meant where none is named.

        Raises:
            LoopError: several loops are open.
        """
        if not self._default:
            self._default = named_for_watching(self.bench).loop.name
        return self._default

    def champion(self, loop: str, until: float | None = None) -> LiveChampion:
        """The champion of a loop, as it changes; followed from now on.

        Args:
            until: see :meth:`used`.

        Raises:
            UnknownLoopError: the store has no such loop. TimeUpError: something else was being loaded until then.
        """
        live = self._live.get(loop)
        if live is None:
            bench = self._bench_of(loop)
            seconds = _seconds_until(until)
            if not self._loading.acquire(timeout=-1 if seconds is None else seconds):
                raise _still_loading(f"another version than the one of loop {loop}")
            try:
                live = self._live.get(loop)
                if live is None:
                    live = LiveChampion(bench, self.seconds)
                    live.refresh()
                    self._live[loop] = live
            finally:
                self._loading.release()
        return live

    @contextmanager
    def used(self, loop: str, name: str, until: float | None = None) -> Iterator[LoadedVersion]:
        """A version for as long as the block takes.

        Where it is not in memory, a thread of its own loads it, which goes on when nobody waits for it any more.

        Args:
            name: an alias, or a number.
            until: ``time.monotonic()`` until which to wait for it; ``None`` = as long as it takes.

        Raises:
            UnknownLoopError: the store has no such loop. UnknownVersionError: the loop has no such version.
            RegistryError: it has no champion, or the version's files are gone.
            TimeUpError: it is still being loaded.
        """
        key = (loop, name if name == CHAMPION else self._number_of(loop, name))
        loaded = self._in_memory(key) or self._waited_for(key, until)
        held = self._hold(key, loaded)
        try:
            yield loaded
        finally:
            held.uses += 1
            if held.uses <= MEASURED:
                held.measure()
                self._let_go(key)

    def refresh(self) -> None:
        """Look up whatever was asked for by an alias; a champion that is another now is loaded, then takes over.

        Whatever fails is tried again the next time, and stops nothing else.
        """
        try:
            self._look_again()
        except Exception as error:  # of the store: it answers again some time
            log.error("versions cannot be looked up: %s: %s", type(error).__name__, error)
        for loop, live in [*self._live.items()]:
            before = live.ready
            live.refresh()
            held = self._held.get((loop, CHAMPION))
            if held is not None and live.ready is not before:
                held.measure()
                held.uses = 0
                self._let_go((loop, CHAMPION))

    def states(self) -> dict[str, dict[str, str]]:
        """Of each loop that is followed: its version that answers, and what is wrong."""
        return {loop: {"model_version": live.label, "problem": live.problem} for loop, live in [*self._live.items()]}

    def ready(self) -> list[ReadyModel]:
        """What is held now, what was asked for last at the end."""
        with self._lock:
            held = [*self._held.items()]
        versions = [(loop, name, one.version, one.size) for (loop, name), one in held]
        return [
            ReadyModel(loop, version.origin.model_version, name == CHAMPION, size / 1e6)
            for loop, name, version, size in versions if version is not None
        ]  # fmt: skip

    def _let_go(self, used: tuple[str, str]) -> None:
        """Versions that were used longest ago go until the rest fits."""
        with self._lock:
            total = sum(one.size for one in self._held.values())
            for key in [*self._held]:
                if total <= self.most:
                    break
                if key == used:
                    continue
                gone = self._held.pop(key)
                total -= gone.size
                if gone.live is not None:
                    gone.live.unload()
                log.info("%s of loop %s is let go of: models may take %.0f MB", key[1], key[0], self.most / 1e6)

    def _bench_of(self, loop: str) -> Workbench:
        from tsad.tracking.store import open_store

        if loop not in open_store(self.bench.tracking, self.bench.home).loops():
            raise UnknownLoopError(f"there is no loop {loop}", "tsad status lists the loops of the store.")
        own = replace(self.bench.context, control=Switch())
        return connections_alone(replace(self.bench, context=own).named(loop))

    def _number_of(self, loop: str, name: str) -> str:
        """The number of a version that an alias names; looked up again every now and then."""
        if name.isdecimal():
            return str(int(name))
        if (known := self._aliases.get((loop, name))) is not None:
            return known
        number = self._aliases[loop, name] = self._look_up(loop, name)
        return number

    def _look_up(self, loop: str, name: str) -> str:
        bench = as_its_loop_has_it(self._bench_of(loop))
        registry = registry_of(bench, open_loop(bench))
        version = registry.resolve(name)
        if version is None:
            raise UnknownVersionError(f"{registry.name} has no version {name}", "tsad report lists the versions.")
        return str(version.version)

    def _look_again(self) -> None:
        """Look up which loop is meant where none is named, and the aliases; what fails then is tried at a request."""
        known, self._aliases = [*self._aliases], {}
        for loop, name in known:
            try:
                self._aliases[loop, name] = self._look_up(loop, name)
            except TsadError:
                continue
            except Exception as error:
                log.error("loop %s: %s cannot be looked up: %s: %s", loop, name, type(error).__name__, error)
        if self._default:
            try:
                self._default = named_for_watching(self.bench).loop.name
            except TsadError:
                self._default = ""

    def _in_memory(self, key: tuple[str, str]) -> LoadedVersion | None:
        loop, name = key
        if name == CHAMPION:
            live = self._live.get(loop)
            now = None if live is None else live.ready
            return None if now is None else now.loaded
        held = self._held.get(key)
        return None if held is None else held.loaded

    def _hold(self, key: tuple[str, str], loaded: LoadedVersion) -> _Held:
        """What was asked for last now."""
        with self._lock:
            held = self._held.setdefault(key, _Held(self._live[key[0]] if key[1] == CHAMPION else None))
            self._held.move_to_end(key)
            if held.live is None:
                held.loaded = loaded
            return held

    def _waited_for(self, key: tuple[str, str], until: float | None) -> LoadedVersion:
        """A version that a thread loads, begun now where none does so already."""
        with self._lock:
            loaded = self._in_memory(key)  # it may have come since
            if loaded is not None:
                return loaded
            future = self._coming.get(key)
            if future is None:
                future = self._coming[key] = Future()
                threading.Thread(target=self._bring, args=(key, future), name="tsad-loading", daemon=True).start()
        try:
            return future.result(_seconds_until(until))
        except TimeoutError:
            if future.done():
                raise  # of the loading
            raise _still_loading(f"{key[1]} of loop {key[0]}") from None

    def _bring(self, key: tuple[str, str], future: Future[LoadedVersion]) -> None:
        """Load a version and tell those that wait for it."""
        loop, name = key
        loaded, error = None, None
        try:
            if name == CHAMPION:
                loaded = self.champion(loop).current().loaded
            else:
                with self._loading:
                    loaded = self._load(loop, name)
            self._hold(key, loaded)
        except BaseException as caught:
            error = caught
        with self._lock:
            del self._coming[key]
        if loaded is not None and error is None:
            future.set_result(loaded)
        else:
            future.set_exception(error)

    def _load(self, loop: str, number: str) -> LoadedVersion:
        bench = as_its_loop_has_it(self._bench_of(loop))
        quiet = replace(bench.context, control=Switch(), progress=Silent())
        registry = registry_of(bench, open_loop(bench))
        version = next((v for v in registry.versions() if str(v.version) == number), None)
        if version is None:
            raise UnknownVersionError(f"{registry.name} has no version {number}", "tsad report lists the versions.")
        log.info("loop %s: %s is ready to answer", loop, version.label)
        return load_registered(replace(bench, context=quiet), registry, version)


def _seconds_until(until: float | None) -> float | None:
    """How long to wait; ``None`` = as long as it takes."""
    return None if until is None else max(0.0, WAITED * (until - time.monotonic()))


def _still_loading(what: str) -> TimeUpError:
    return TimeUpError(f"{what} is still being loaded", "Ask again: it goes on being loaded meanwhile.")
