"""The champion of a loop as a service has it: a new one is loaded beside the one that answers, then takes over."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.control import Silent, Switch
from tsad.core.errors import RegistryError, TsadError
from tsad.core.reviews import Choice
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.continuing import under_own_config
from tsad.loop.detect import DETECT
from tsad.loop.opening import open_loop
from tsad.loop.queue import queue_of
from tsad.loop.runner import record_of

if TYPE_CHECKING:
    from tsad.review.label_studio.options import LabelStudioOptions
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.registry import Registry, Version
    from tsad.tracking.runs import Iteration


@dataclass(frozen=True, eq=False)
class Champion:
    """A version that answers.

    Attributes:
        bench: under the config that the loop's windows are drawn under.
        options: how windows look in Label Studio; composed once, not for each request.
        queue: windows of the newest queue, by their ids; what a push shows of them where this version has proposed it.
    """

    bench: Workbench
    loaded: LoadedVersion
    options: LabelStudioOptions
    queue: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``<model>:<version>``."""
        return self.loaded.origin.model_version


@dataclass(frozen=True, eq=False)
class _Known:
    """The version under the alias, not necessarily loaded.

    Attributes:
        newest: run of the loop's newest iteration, whose config is ``bench``'s, and whether it is open.
        drawn: run of the iteration that drew the queue.
    """

    newest: tuple[str, bool]
    bench: Workbench
    registry: Registry
    version: Version
    options: LabelStudioOptions
    drawn: str
    queue: Mapping[str, Choice]


class LiveChampion:
    """The champion of one loop, looked up by a thread of its own while :meth:`followed` runs.

    It is loaded at the first request, for a process that nobody asks needs no model; from then on a new champion is
    loaded beside the one that answers. A request that has begun keeps its version. Where the champion is gone, or
    cannot be loaded, the one before goes on answering, and :attr:`problem` says why.

    Args:
        bench: of the loop by its name. seconds: between two looks at the alias.
    """

    def __init__(self, bench: Workbench, seconds: float) -> None:
        self._bench, self._seconds = bench, seconds
        self._known: _Known | None = None
        self._now: Champion | None = None
        self._loading = threading.Lock()
        self.problem = ""

    def current(self) -> Champion:
        """The version that answers now.

        Raises:
            RegistryError: there is none.
            TsadError: it cannot be loaded, and none was before.
        """
        now = self._now
        if now is None:
            with self._loading:
                now = self._now
                if now is None:
                    now = self._now = self._loaded(self._present())
        return now

    @property
    def ready(self) -> Champion | None:
        """The version that answers now, where it is loaded."""
        return self._now

    def unload(self) -> None:
        """Let the version go until the next request; one that has begun keeps it."""
        self._now = None

    @property
    def label(self) -> str:
        """Of the version that answers now, or would; "" where there is none."""
        now = self._now
        if now is not None:
            return now.label
        return self._known.version.label if self._known is not None else ""

    @property
    def own(self) -> Workbench:
        """The workbench under the loop's own config. Raises RegistryError where there is no champion."""
        return self._present().bench

    def require_label(self) -> str:
        """The same. Raises RegistryError where there is none."""
        return self.label or self._present().version.label

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Look the champion up now and every now and then, until the block ends."""
        stop = threading.Event()
        self.refresh()
        thread = threading.Thread(target=self._follow, args=(stop,), name="tsad-champion", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def refresh(self) -> None:
        """Look the champion up; where one answers already and it is another now, load that."""
        try:
            self._known = known = self._look()
            now = self._now
            if now is not None and known.version.label != now.label:
                self._now = self._loaded(known)
            elif now is not None and known.queue is not now.queue:
                self._now = Champion(known.bench, now.loaded, known.options, known.queue)
            self.problem = ""
        except Exception as error:  # the thread that looks must not end over it: the one before goes on
            known_kind = isinstance(error, TsadError)
            self._tell(str(error) if known_kind else f"no champion can be loaded: {type(error).__name__}: {error}")

    def _follow(self, stop: threading.Event) -> None:
        while not stop.wait(self._seconds):
            self.refresh()

    def _look(self) -> _Known:
        loop = open_loop(self._bench)
        iterations = loop.iterations()
        last = next(reversed(iterations), None)
        newest = ("", False) if last is None else (last.run_id, last.open)
        # A frozen config stays as it is: to read it anew at every look would take time from those who are answered.
        known = self._known if self._known is not None and self._known.newest == newest else None
        own = self._own_config(last) if known is None else known.bench
        registry = registry_of(own, loop)
        version = registry.alias("champion")
        if version is None:
            raise RegistryError(f"{registry.name} has no champion", "tsad promote makes a version the champion.")
        drawn = next((it for it in reversed(iterations) if it.finished(DETECT.name) is not None), None)
        if self._known is not None and drawn is not None and self._known.drawn == drawn.run_id:
            return replace(self._known, newest=newest, bench=own, registry=registry, version=version)
        queue = queue_of(own, record_of(drawn, DETECT)) if drawn is not None else []
        run_id = drawn.run_id if drawn is not None else ""
        shown = {c.window.window_id: c for c in queue}
        return _Known(newest, own, registry, version, own.label_studio(), run_id, shown)

    def _own_config(self, newest: Iteration | None) -> Workbench:
        own = under_own_config(self._bench, newest, False)
        # A stop of the service lets what it answers be finished; and nobody is told of each request.
        return replace(own, context=replace(own.context, control=Switch(), progress=Silent()))

    def _loaded(self, known: _Known) -> Champion:
        loaded = load_registered(known.bench, known.registry, known.version)
        self._bench.context.progress.note(f"loop {self._bench.loop.name}: {known.version.label} answers from now on")
        return Champion(known.bench, loaded, known.options, known.queue)

    def _present(self) -> _Known:
        if self._known is None:
            self.refresh()
        if self._known is None:
            found = f"loop {self._bench.loop.name} has no champion to ask: {self.problem}"
            raise RegistryError(found, "Run tsad iterate first.")
        return self._known

    def _tell(self, problem: str) -> None:
        """Say once what is wrong, and who answers meanwhile."""
        if problem != self.problem:
            self.problem = problem
            now = self._now
            meanwhile = f"; {now.label} goes on answering" if now is not None else ""
            self._bench.context.progress.note(f"{problem}{meanwhile}")
