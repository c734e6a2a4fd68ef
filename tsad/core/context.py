"""What everything within one call shares: who watches it, who may stop it, what is held in memory meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tsad.core.control import Silent, Switch

if TYPE_CHECKING:
    from tsad.core.protocols import Control, Listener, Progress
    from tsad.core.serving import Serving

T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class Context:
    """One call of a verb, of the Python functions or of a service's job.

    Attributes:
        progress: where long work says how far it is.
        control: what long work asks at every safe point.
        serving: what answers HTTP for it; ``None`` = nothing does.
        job: id of the service's job that the call is; "" = it is none.
        listener: what hears how training goes while it goes on; ``None`` = nobody does.
    """

    progress: Progress = field(default_factory=Silent)
    control: Control = field(default_factory=Switch)
    serving: Serving | None = None
    job: str = ""
    listener: Listener | None = None
    _shared: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)  # what is made may share too

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What this call keeps under ``key``, made at its first use; nothing of it outlives the call."""
        with self._lock:
            if key not in self._shared:
                self._shared[key] = make()
            found: T = self._shared[key]
            return found

    def each(self, items: Iterable[T], name: str, total: int) -> Iterator[T]:
        """The items one by one, watched under ``name`` and with a safe point before each.

        Raises:
            StopRequested: the call was asked to stop.
        """
        with self.progress.task(name, total) as done:
            count = 0
            for count, item in enumerate(items, start=1):
                done(count - 1)
                self.control.safe_point()
                yield item
            done(count)
