"""What every part of the service is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tsad.config.workbench import Workbench
from tsad.core.options import ServiceOptions
from tsad.core.serving import Standing, Verbs
from tsad.loop.continuing import as_its_loop_has_it, connections_alone


@dataclass(frozen=True, eq=False)
class Site:
    """What every part of the service is given.

    Attributes:
        bench: the workbench of the call that serves; requests have their own.
        verbs: what the command line knows of its verbs.
    """

    bench: Workbench
    verbs: Verbs
    standing: Standing

    @property
    def home(self) -> Path:
        """The store's folder; what the service keeps lies in ``service/`` there."""
        return self.bench.home

    @property
    def options(self) -> ServiceOptions:
        """How the service works on this machine."""
        return self.bench.service

    def of_loop(self, name: str = "", overrides: Sequence[str] = (), verb: str = "status") -> Workbench:
        """A workbench for a question about a loop: under its own config, with ``overrides`` over it.

        Args:
            name: of the loop; "" = the one that the service's own words are about.

        Raises:
            ConfigError: an override that does not fit. TrackingError: the store cannot be reached.
        """
        own = [word for word in self.standing.overrides if not word.startswith("loop.name=")]
        named = f"loop.name={json.dumps(name or self.bench.loop.name, ensure_ascii=False)}"  # a text, whatever it says
        bench: Workbench = self.verbs.bench(verb, [*own, named, *overrides])
        return as_its_loop_has_it(connections_alone(bench, overrides))
