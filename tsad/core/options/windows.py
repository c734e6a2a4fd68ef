"""``windows``: how series are cut for people and for training."""

from __future__ import annotations

from pydantic import Field

from tsad.core.option_model import Options

MIN_LENGTH = 16  # points below which a window shows no shape


class WindowOptions(Options):
    """``windows``: how series are cut for people and for training."""

    length: int = Field(ge=MIN_LENGTH)  # points per window: one review task
    context: int = Field(ge=0)  # points kept on either side of a window in a dataset version
    remembered: int = Field(ge=0)  # points of each series, called normal by people, that a version keeps
