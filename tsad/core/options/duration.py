"""A length of time as an option."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from tsad.core.durations import parse_duration
from tsad.core.errors import ConfigError
from tsad.core.option_model import Refusal


def _checked(text: str) -> str:
    try:
        parse_duration(text)
    except ConfigError as error:
        raise Refusal("{key} {0}", "{1}", error.found.removeprefix("the duration "), error.remedy) from None
    return text


Duration = Annotated[str, AfterValidator(_checked)]  # as people write it: 60s, 5min, 1h, 30d
