"""Times that can be read in two ways are asked about; those that cannot are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from reading_kit import failed, fetched
from sources_kit import csv_source, read_one, write

from tsad.core.errors import ConfigError, SeriesError
from tsad.sources.times import TimeReader, Times

DAY = "2024-03-05"


def read(values: list[Any], *args: Any) -> Times:
    return TimeReader(*args).read(pa.chunked_array([values]), "a.csv", lambda k: k + 2)


def first(values: list[Any], *args: Any) -> str:
    return str(np.datetime64(int(read(values, *args).stamps[0]), "ns").astype("M8[ms]"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2024030500, 2024030501], "2024-03-05T00:00:00.000"),
        ([202403050010, 202403050020], "2024-03-05T00:10:00.000"),
        ([20240305, 20240306], "2024-03-05T00:00:00.000"),
        ([20240305001000, 20240305002000], "2024-03-05T00:10:00.000"),
        ([1709596800, 1709596801], "2024-03-05T00:00:00.000"),
        ([1709596800000, 1709596800500], "2024-03-05T00:00:00.000"),
        ([1709596800000000000], "2024-03-05T00:00:00.000"),
        ([1900000000, 1900000060, 1900003600], "2030-03-17T17:46:40.000"),
    ],
)
def test_compact_dates_and_epochs_are_told_apart(values: list[int], expected: str) -> None:
    assert first(values) == expected


def test_compact_dates_are_in_the_zone() -> None:
    assert first([2024030508], "auto", "Asia/Shanghai") == "2024-03-05T00:00:00.000"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([20240228, 20240229, 20240230, 20240301], ["row 4", "20240230", "%Y%m%d", "source.time_format=index"]),
        ([2024030522, 2024030523, 2024030524], ["row 4", "2024030524", "%Y%m%d%H", "source.time_format=s"]),
        ([202403052350, 202403052360, 202403060000], ["row 3", "202403052360", "source.time_format=ms"]),
        ([20240305235959, 20240305236000, 20240306000001], ["row 3", "%Y%m%d%H%M%S"]),
        ([638451936000000000, 638451936600000000], ["ticks", "2024-03-05", "1990", "source.time_format=ns"]),
        ([133540704000000000, 133540704600000000], ["filetime", "2024-03-05", "1974"]),
        ([2403050010, 2403050020], ["%y%m%d%H%M", "seconds since 1970", "source.time_format=s"]),
        ([240305001000, 240305002000], ["%y%m%d%H%M%S", "source.time_format=ms"]),
        ([240305, 240306, 240401], ["%y%m%d", "index"]),
        ([202311, 202312, 202401], ["%Y%m", "index"]),
        ([5032024, 6032024, 31122024], ["%d%m%Y", "index"]),
        ([45356.5, 45356.75], ["several ways", "excel"]),
        (["05.03.2024 01:00", "06.03.2024 01:00"], ["day or the month", "'%d.%m.%Y %H:%M' or", "'%m.%d.%Y %H:%M'"]),
        (["05/03/2024", "25/03/2024"], ["'%d/%m/%Y'"]),
        (["3/5/24 1:00 PM"], ["'%d/%m/%y %I:%M %p' or", "'%m/%d/%y %I:%M %p'"]),
        (["00:05:00", "00:10:00"], ["time of day", "source.time_column=[DATE,TIME]"]),
    ],
)  # fmt: skip
def test_two_readings_are_both_named(values: list[Any], words: list[str]) -> None:
    with pytest.raises(SeriesError) as caught:
        read(values)
    for word in words:
        assert word in str(caught.value)


def test_each_advised_format_reads() -> None:
    assert first([638451936000000000], "ticks") == first([133540704000000000], "filetime") == "2024-03-05T00:00:00.000"
    assert first([45356.5], "excel") == "2024-03-05T12:00:00.000"
    assert first([45356], "excel", "+08:00") == "2024-03-04T16:00:00.000"
    assert first([2403050010], "s") == "2046-02-24T01:53:30.000"
    assert first(["2403050010"], "%y%m%d%H%M") == "2024-03-05T00:10:00.000"
    assert read([20240305, 20240306], "index").kind == "index"
    assert first(["1709596800"], "s") == "2024-03-05T00:00:00.000"


def test_an_index_stays_one() -> None:
    for values in ([0, 1, 2], [1, 2, 3], [100_000, 100_001], [1990, 1991, 1992], [240301, 240302, 240303]):
        assert read(values).kind == "index"


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        (f"{DAY} 00:00 UTC", "Asia/Shanghai", "2024-03-05T00:00:00.000"),
        (f"{DAY} 00:00 CET", "Europe/Berlin", "2024-03-04T23:00:00.000"),
        (f"{DAY} 00:00 MEZ", "UTC", "2024-03-04T23:00:00.000"),
        (f"{DAY} 00:00 CST", "Asia/Shanghai", "2024-03-04T16:00:00.000"),
        (f"{DAY} 00:00 CST", "America/Chicago", "2024-03-05T06:00:00.000"),
        (f"{DAY} 00:00 PST", "UTC", "2024-03-05T08:00:00.000"),
        (f"{DAY} 00:00 Asia/Tokyo", "Europe/Berlin", "2024-03-04T15:00:00.000"),
    ],
)
def test_a_zone_by_name_is_applied_once(text: str, zone: str, expected: str) -> None:
    assert first([text], "%Y-%m-%d %H:%M %Z", zone) == expected


def test_offsets_are_applied_once_and_unknown_zones_refused() -> None:
    assert first([f"{DAY} 00:00 +0100"], "%Y-%m-%d %H:%M %z", "Asia/Shanghai") == "2024-03-04T23:00:00.000"
    hours = [f"2024-10-27 02:30 {zone}" for zone in ("CEST", "CET")]
    assert np.diff(read(hours, "%Y-%m-%d %H:%M %Z", "Europe/Berlin").stamps).tolist() == [3600 * 10**9]
    for name, what in (("CST", "several zones"), ("XYZ", "not known")):
        with pytest.raises(SeriesError, match=f"row 2: the zone '{name}'.*{what}.*source.time_zone"):
            read([f"{DAY} 00:00 {name}"], "%Y-%m-%d %H:%M %Z")


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("%s", "source.time_format=s"), ("%Y-%m-%d %H:%M %p", "%I"), ("%Y-%m-%d %I:%M", "%p"), ("%F %T", "%Y-%m-%d"),
        ("%Y-%m-%d %k", "%H"), ("%-d.%m.%Y", "%d"), ("%Z %Y-%m-%d", "last"), ("%Y%", "%Y"),
    ],
)  # fmt: skip
def test_a_pattern_that_would_be_read_otherwise_is_refused(pattern: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TimeReader(pattern)
    assert word in str(caught.value)


def test_half_days() -> None:
    assert first([f"{DAY} 01:30 PM"], "%Y-%m-%d %I:%M %p") == "2024-03-05T13:30:00.000"


@pytest.mark.parametrize(
    ("header", "rows", "column", "options"),
    [
        ("Date,Time,v", [f"{DAY},00:05,1", f"{DAY},00:10,2"], "[Date,Time]", {}),
        (
            "Datum,Uhrzeit,v",
            ["05.03.2024,00:05:00,1", "05.03.2024,00:10:00,2"],
            "",
            {"time_format": "%d.%m.%Y %H:%M:%S"},
        ),
        ("day,hhmm,v", ["20240305,0005,1", "20240305,0010,2"], "", {"time_format": "%Y%m%d %H%M"}),
        ("Y,M,D,H,v", ["2024,3,5,0,1", "2024,3,5,1,2"], "", {"time_format": "%Y %m %d %H"}),
    ],
)
def test_date_and_time_in_two_columns_are_joined(
    tmp_path: Path, header: str, rows: list[str], column: str, options: dict[str, Any]
) -> None:
    names = header.split(",")[:-1]
    text = "\n".join([header, *rows]) + "\n"
    series = read_one(tmp_path, text, time_column=names, **options)
    assert np.datetime64(int(series.timestamps[0]), "ns").astype("M8[D]") == np.datetime64(DAY)
    assert series.channels == ("v",) and len(series) == 2 and f"time {' + '.join(names)}" in str(series.notes)


@pytest.mark.parametrize(
    ("name", "cells"), [("Uhrzeit", ["00:00", "06:00"]), ("hr", ["0", "6"]), ("Time", ["00:00:00", "06:00:00"])]
)
def test_days_beside_a_time_of_day_are_not_taken_for_duplicates(tmp_path: Path, name: str, cells: list[str]) -> None:
    rows = [f"2024-03-{day:02d},{cell},{day}" for day in range(1, 9) for cell in cells]
    with pytest.raises(SeriesError, match=r"source.time_column=\["):
        read_one(tmp_path, "\n".join([f"date,{name},value", *rows]) + "\n", time_column="date")


def test_a_time_that_is_a_number_beside_days_is_no_index(tmp_path: Path) -> None:
    rows = [f"202403{day:02d},{hour}00,{day}" for day in range(1, 9) for hour in (0, 6, 12)]
    text = "\n".join(["date,time,value", *rows]) + "\n"
    with pytest.raises(SeriesError, match=r"source.time_column=\[date,time\]"):
        read_one(tmp_path, text)
    assert len(read_one(tmp_path, text.replace(",000,", ",0000,").replace(",600,", ",0600,"),
                        time_column=["date", "time"], time_format="%Y%m%d %H%M")) == 24  # fmt: skip


HOUR = [f"2024-10-27 {h:02d}:{m:02d}" for h in (1, 2, 2, 3) for m in (0, 20, 40)]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("step", [1, 3])
def test_both_passes_of_a_repeated_hour_are_kept(newest_first: bool, step: int) -> None:
    texts = HOUR[::step][:: -1 if newest_first else 1]
    times = read(texts, "auto", "Europe/Berlin", "infer")
    assert set(np.diff(np.sort(times.stamps)).tolist()) == {step * 20 * 60 * 10**9}


@pytest.mark.parametrize("texts", [HOUR[:6] + HOUR[9:], [*HOUR[:5], HOUR[4], HOUR[5], *HOUR[9:]]])
def test_an_hour_that_is_there_once_is_not_guessed(texts: list[str]) -> None:
    with pytest.raises(SeriesError, match=r"order of the rows does not say.*earlier or later"):
        read(texts, "auto", "Europe/Berlin", "infer")


def test_a_repeated_hour_is_told_point_by_point(tmp_path: Path) -> None:
    rows = [f"{text},{tag},{k}" for k, text in enumerate(HOUR) for tag in ("A", "B")]
    source = csv_source(
        write(tmp_path / "l.csv", "\n".join(["timestamp,tag,value", *rows]) + "\n"), layout="long",
        time_zone="Europe/Berlin", daylight_saving="infer",
    )  # fmt: skip
    assert not failed(source)
    for series in fetched(source, source.points(), None, None):
        assert len(series) == len(HOUR) and series.values[:, 0].tolist() == list(range(len(HOUR)))
