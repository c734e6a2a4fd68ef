"""What becomes of the columns of a file: read, refused with cell and key, or ignored and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from reading_kit import failed, fetched
from sources_kit import csv_source, read_one, write
from test_sources_parquet import parquet_source

from tsad.core.errors import SeriesError, SourceError
from tsad.core.series import Series
from tsad.sources.csv_columns import COLUMNS
from tsad.sources.written import Writing, as_numbers, kind_of

WRITING = Writing(missing=("", "NA", "-"))
ROWS = 12


def table(header: str, *columns: list[str], separator: str = ";") -> str:
    """A file with a minute per row and these columns, repeated to ``ROWS`` rows."""
    lines = [f"Zeit;{header}".replace(";", separator)]
    for k in range(ROWS):
        cells = [f"2024-03-05 00:{k:02d}", *(column[k % len(column)] for column in columns)]
        lines.append(separator.join(cells))
    return "\n".join(lines) + "\n"


def roles(series: Series) -> str:
    return str(series.notes[COLUMNS])


@pytest.mark.parametrize(
    ("cells", "cell", "key"),
    [
        (["20,5", "21", "3"], "20,5", "source.decimal=','"),
        (["-0,25"], "-0,25", "source.decimal=','"),
        (["20.5 C", "21 C"], "20.5 C", "source.units=[C]"),
        (["20.5°C", "3.0°C"], "20.5°C", "source.units=['°C']"),
        (["45 %", "3 %"], "45 %", "source.units=['%']"),
        (["$1,234.50"], "$1,234.50", "source.thousands=',' source.units=['$']"),
        (["1,234.5", "3"], "1,234.5", "source.thousands=','"),
        (["1.234,5", "3"], "1.234,5", "source.thousands='.' source.decimal=','"),
        (["1 234,5", "3"], "1 234,5", "source.thousands=space source.decimal=','"),
        (["1\u00a0234", "3"], "1\u00a0234", "source.thousands=space"),
        (["1'234", "12'345.6"], "1'234", "source.thousands="),
        (["1,23,456.78"], "1,23,456.78", "source.thousands=','"),
        (["990", "1,001", "1,002"], "1,001", "source.decimal=',' if it is 1.001"),
        (["20,5 °C"], "20,5 °C", "source.decimal=',' source.units=['°C']"),
        (["1.5 kW", "900 W", "2 W"], "900 W", "one unit"),
        (["12.5-", "3"], "12.5-", "-12.5"),
        (["\uff11\uff12.5", "3.5"], "\uff11\uff12.5", "-12.5"),
        (["20.5", "Bad"], "Bad", "source.missing"),
    ],
)
def test_a_column_written_for_people_is_an_error_with_cell_and_key(
    tmp_path: Path, cells: list[str], cell: str, key: str
) -> None:
    with pytest.raises(SeriesError) as caught:
        read_one(tmp_path, table("Temperatur;Status", cells, ["1", "2"]))
    message = str(caught.value)
    assert repr(cell) in message and "'Temperatur'" in message and key in message and "a.csv: row " in message


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (["3A", "3B", "4A"], "codes"), (["10.0.0.1", "10.0.0.2"], "codes"), (["192.168.100.200"], "codes"),
        (["5 - closed", "3 - open"], "codes"), (["5 - closed"], "codes"), (["T101", "T102"], "codes"),
        (["1st", "2nd"], "codes"), (["3", "3A", "4B", "5C"], "codes"),
        (["05.03.2024", "06.03.2024"], "times"), (["2024-03-05 00:00"], "times"), (["12 Mar 2024"], "times"),
        (["00:05", "00:10"], "day times"), (["12:30 PM"], "day times"), (["open", "closed"], "words"),
        (["good; see log 5".replace(";", ","), "x", "y 7"], "codes"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_ignored_and_reported(tmp_path: Path, cells: list[str], why: str) -> None:
    series = read_one(tmp_path, table("Wert;Notiz", ["1.5", "2.5"], cells))
    assert series.channels == ("Wert",) and f"ignored Notiz ({why})" in roles(series)
    assert roles(series).startswith("time Zeit; channel Wert")


@pytest.mark.parametrize(
    ("cells", "options", "values"),
    [
        (["990", "1,001"], {"thousands": ","}, [990, 1001]),
        (["1.234,5", "-3,25"], {"thousands": ".", "decimal": ","}, [1234.5, -3.25]),
        (["1\u202f234,5", "3"], {"thousands": "space", "decimal": ","}, [1234.5, 3]),
        (["1'234.5", "3"], {"thousands": "'"}, [1234.5, 3]),
        (["20.5 °C", "-3 °C"], {"units": ["°C"]}, [20.5, -3]),
        (["€ 20,5", "€ 3"], {"units": ["€"], "decimal": ","}, [20.5, 3]),
        (["$1,234.50", "NA"], {"units": ["$"], "thousands": ","}, [1234.5, np.nan]),
        (["   -999", "20.5"], {"missing": ["-999"]}, [np.nan, 20.5]),
        (["-999.0", "20.5"], {"missing": ["-999"]}, [np.nan, 20.5]),
        (["  BAD ", "20.5"], {"missing": ["BAD"]}, [np.nan, 20.5]),
        (["  NA ", "20.5"], {"missing": ["-999"]}, [np.nan, 20.5]),
    ],
)
def test_the_key_reads_it(tmp_path: Path, cells: list[str], options: dict[str, Any], values: list[float]) -> None:
    series = read_one(tmp_path, table("Wert;Status", cells, ["1", "2"]), separator=";", **options)
    assert series.channels == ("Wert", "Status")
    np.testing.assert_array_equal(series.values[:2, 0], values)


@pytest.mark.parametrize("decimal", [".", ","])
def test_marks_that_may_stand_between_thousands_are_asked_about(tmp_path: Path, decimal: str) -> None:
    cells = ["998", "999", "1.000", "1.001", "1.002", "12.500"]
    text = table("Wert", [c.replace(".", decimal) for c in cells])
    with pytest.raises(SeriesError, match=rf"'1.000'.* may be 1{'[.]'}000 or 1000.*source.thousands=none"):
        read_one(tmp_path, text, decimal=decimal)
    assert read_one(tmp_path, text, decimal=decimal, thousands="none").values[2, 0] == 1.0
    other = "," if decimal == "." else "."
    assert read_one(tmp_path, text, decimal=other, thousands=decimal).values[2, 0] == 1000.0


@pytest.mark.parametrize(
    "cells", [["1.001", "1.002", "20.000"], ["0.125", "1", "2"], ["1.5", "1", "2.125"], ["1.234", "2000"]]
)
def test_three_decimals_alone_are_no_doubt(tmp_path: Path, cells: list[str]) -> None:
    assert read_one(tmp_path, table("Wert", cells)).values[0, 0] == float(cells[0])


@pytest.mark.parametrize(
    ("text", "channels", "ignored"),
    [
        (",Zeit,value\n0,2024-03-05,1.5\n1,2024-03-06,2.5\n2,2024-03-07,0.5\n", ("value",), "'' (no name)"),
        ("id,timestamp,value\n1,2024-03-05,1.5\n2,2024-03-06,2.5\n3,2024-03-07,0.5\n", ("value",), "id (row numbers)"),
        (
            "timestamp,value,No.\n2024-03-05,1.5,1\n2024-03-06,2.5,2\n2024-03-07,0.5,3\n",
            ("value",),
            "No. (row numbers)",
        ),
        ("timestamp,value,\n2024-03-05,1.5,\n2024-03-06,2.5,\n", ("value",), "'' (no name)"),
        ("timestamp,value\n2024-03-05,1.5,\n2024-03-06,2.5,\n2024-03-07,2.5,\n", ("value",), "'' (no name)"),
        ("timestamp,value,spare\n2024-03-05,1.5,\n2024-03-06,2.5,\n", ("value",), "spare (empty)"),
        (
            "timestamp,value,anomaly,changepoint\n2024-03-05,1.5,0,0\n2024-03-06,2.5,1,1\n",
            ("value",),
            "changepoint (marks",
        ),
        (
            "timestamp,value,is_outlier\n2024-03-05,1.5,0\n2024-03-06,2.5,1\n",
            ("value",),
            "source.label_column=is_outlier",
        ),
        (
            "timestamp,value,label,is_anomaly\n2024-03-05,1.5,0,0\n2024-03-06,2.5,1,1\n",
            ("value",),
            "is_anomaly (marks labels",
        ),
        (
            "timestamp,value,received\n2024-03-05,1.5,2024-03-06\n2024-03-06,2.5,2024-03-07\n",
            ("value",),
            "received (times)",
        ),
    ],
)
def test_columns_that_are_no_channels(tmp_path: Path, text: str, channels: tuple[str, ...], ignored: str) -> None:
    time = "Zeit" if "Zeit" in text else None
    series = read_one(tmp_path, text, time_column=time)
    assert series.channels == channels and ignored in roles(series)


def test_a_ramp_is_a_channel_and_a_named_column_always_is(tmp_path: Path) -> None:
    text = "timestamp,value,fault,id\n" + "".join(f"2024-03-{k + 1:02d},{k},{k % 2},{k}\n" for k in range(9))
    assert read_one(tmp_path, text).channels == ("value",)
    named = read_one(tmp_path, text, value_columns=["id", "fault"])
    assert named.channels == ("id", "fault") and "value (not in source.value_columns)" in roles(named)


def test_a_wide_file_keeps_a_bad_point_to_itself(tmp_path: Path) -> None:
    source = csv_source(write(tmp_path / "w.csv", table("A;B;C", ["20,5"], ["1.5"], ["open"])), layout="wide")
    errors = failed(source)
    assert sorted(errors) == ["A", "C"] and "source.decimal=','" in str(errors["A"])
    assert [s.point_id for s in fetched(source, source.points(), None, None)] == ["B"]


def test_numbers_as_text_in_parquet_are_read_or_refused_by_name_and_row(tmp_path: Path) -> None:
    times = pd.date_range("2024-03-05", periods=50, freq="min")
    columns: dict[str, list[str | None]] = {
        "good": [str(20 + i % 7) if i else None for i in range(50)], "comma": [f"{i},5" for i in range(50)],
        "word": ["1.5"] * 49 + ["x"], "codes": [f"{i:05d}" for i in range(50)],
    }  # fmt: skip
    for name, cells in columns.items():
        pd.DataFrame({"timestamp": times, "value": cells, "status": 1.0}).to_parquet(tmp_path / f"{name}.parquet")
    source = parquet_source(tmp_path)
    read = {s.point_id: s for s in fetched(source, source.points(), None, None)}
    assert read["good"].values[1, 0] == 21 and np.isnan(read["good"].values[0, 0])
    assert read["codes"].channels == ("status",) and "value (codes)" in roles(read["codes"])
    errors = failed(source)
    assert sorted(errors) == ["comma", "word"]
    assert "row 1: '0,5' in value column 'value'" in str(errors["comma"]) and "row 50: 'x'" in str(errors["word"])
    whole = parquet_source(tmp_path / "comma.parquet", decimal=",")
    assert next(fetched(whole, whole.points(), None, None)).values[1, 0] == 1.5


def test_text_alone_is_an_error_not_an_index_error(tmp_path: Path) -> None:
    source = csv_source(tmp_path, decimal=",")
    write(tmp_path / "commas.csv", table("Wert", ["20,5", "3"]))
    write(tmp_path / "dots.csv", table("Wert", ["20.5", "3"]))
    assert [s.point_id for s in fetched(source, source.points(), None, None)] == ["commas"]
    assert "row 2: '20.5' in value column 'Wert'" in str(failed(source)["dots"])


def test_kinds_are_told_by_a_part_of_a_long_column() -> None:
    long = pa.chunked_array([[f"{k},5" for k in range(300_000)]])
    kind = kind_of(long, WRITING)
    assert kind.name == "fault" and kind.fault is not None and kind.fault.text == "0,5"
    numbers, bad = as_numbers(long, Writing(decimal=","))
    assert not bad.any() and numbers[-1] == 299_999.5
    assert kind_of(pa.chunked_array([["NA", " - ", ""]]), WRITING).name == "empty"


def test_numbers_as_text_in_a_table_are_refused_by_name(tmp_path: Path) -> None:
    import sqlite3

    from sql_kit import sql_source

    path = tmp_path / "plant.db"
    with sqlite3.connect(path) as db:
        db.execute(
            "create table readings (timestamp text, point_id text, value text, amps real, note text, serial text)"
        )
        rows = [(f"2024-03-05 00:{k:02d}:00", "P1", f"{k}.5", k, "ok", f"{k:04d}") for k in range(20)]
        db.executemany("insert into readings values (?, ?, ?, ?, ?, ?)", rows)
    with pytest.raises(SourceError, match=r"column 'value' holds text: '0\.5' is a number kept as text.*value_columns"):
        sql_source(f"sqlite:///{path}").points()
    ignoring = sql_source(f"sqlite:///{path}", ignore_columns=["value"])
    (series,) = fetched(ignoring, ["P1"], None, None)
    assert series.channels == ("amps",) and "note (words), serial (codes)" in roles(series)
    (both,) = fetched(sql_source(f"sqlite:///{path}", value_columns=["value", "amps"]), ["P1"], None, None)
    assert both.values[1].tolist() == [1.5, 1.0]
