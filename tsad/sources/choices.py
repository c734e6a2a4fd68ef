"""Choices that the options of several sources share, and how a check's own words reach whoever set an option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tsad.core.errors import ConfigError

Layout = Literal["multichannel", "wide", "long"]
NegativeLabels = Literal["error", "normal", "anomaly"]
LabelsEnd = Literal["exclusive", "inclusive"]
Duplicates = Literal["last", "mean", "error"]
Backward = Literal["sort", "error"]
Infinite = Literal["error", "missing"]
DaylightSaving = Literal["error", "earlier", "later", "infer"]
Thousands = Literal["auto", "none", "space", ",", ".", "'", "’", "_"]


def worded(check: Callable[[], object]) -> None:
    """Run a check inside a validator of options.

    Raises:
        ValueError: what the check refused, in its words.
    """
    try:
        check()
    except ConfigError as error:
        raise ValueError(str(error)) from error
