"""The fifth development set as a source: long series of cycles with a single odd one."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from tsad.core.option_model import Options
from tsad.core.series import Series
from tsad.sources.made import MadeSource


class LongShapesOptions(Options):
    """``source=long_shapes``.

    Attributes:
        seed: seed of everything.
        series: how many series.
        shortest, longest: points of a series, the logarithm uniform between them.
    """

    seed: int = Field(ge=0)
    series: int = Field(ge=1)
    shortest: int = Field(ge=4000)
    longest: int = Field(ge=4000)


class LongShapesSource(MadeSource):
    """Series of ``tsad.synthetic.long_shapes``."""

    name = "long_shapes"
    options_model: ClassVar[type[Options]] = LongShapesOptions

    def __init__(self, options: LongShapesOptions | None = None, **given: Any) -> None:
        self._settings: LongShapesOptions = self.configured(options, given)

    def make(self) -> list[Series]:
        """See :meth:`MadeSource.make`."""
        from tsad.synthetic.long_shapes import long_shapes

        return long_shapes(**self._settings.model_dump())

    def describe(self) -> str:
        return f"long_shapes:{','.join(f'{k}={v}' for k, v in self._settings.model_dump().items())}"
