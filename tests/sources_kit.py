"""What the tests of the sources share: a CSV source as ``conf/source/*.yaml`` makes it, and files to read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tsad.core.reading import ReadFailure
from tsad.core.series import Series
from tsad.sources.csv import CsvSource

CONF = Path(__file__).parent.parent / "conf" / "source"
DATA = Path(os.environ.get("TSAD_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")
EXAMPLE = "timestamp,value,label\n2020-01-01T00:00:00,1.5,0\n2020-01-01T00:01:00,2.5,1\n2020-01-01T00:02:00,3.5,0\n"
START = 1_577_836_800 * 10**9  # 2020-01-01T00:00:00Z
MINUTE = 60 * 10**9


def csv_source(root: Path | str, group: str = "csv", **options: Any) -> CsvSource:
    """The source that ``source=<group> source.root=<root>`` and further options give."""
    values = yaml.safe_load((CONF / "csv.yaml").read_text(encoding="utf-8"))
    if group != "csv":
        values |= yaml.safe_load((CONF / f"{group}.yaml").read_text(encoding="utf-8"))
    values |= {"root": str(root), **options}
    return CsvSource(**{k: v for k, v in values.items() if k not in ("_target_", "defaults")})


def write(path: Path, text: str = EXAMPLE, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def read_one(folder: Path, text: str, written: str = "utf-8", **options: Any) -> Series:
    """The only series of a file with this text; its own error where it has none."""
    source = csv_source(write(folder / "a.csv", text, written), **options)
    for item in source.fetch(source.points(), None, None):
        if isinstance(item, ReadFailure):
            raise item.error
        return item
    raise AssertionError("neither series nor failure")
