"""Files of another shape than they are read as: refused with both readings, or read with nothing lost."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reading_kit import failed, fetched
from sources_kit import csv_source, read_one, write
from test_sources_parquet import parquet_source

from tsad.core.errors import SeriesError

TIMES = [f"2024-03-05 00:{k:02d}:00" for k in range(30)]
LEVEL = {"TI1": 0, "PI1": 100, "FI1": 1000}


def in_turns(name: str = "tag") -> str:
    lines = [f"timestamp,{name},value"]
    lines += [f"2024-03-05 00:{k // 3:02d}:{20 * (k % 3):02d},{tag},{LEVEL[tag] + k % 7}" for k in range(90)
              for tag in [list(LEVEL)[k % 3]]]  # fmt: skip
    return "\n".join(lines) + "\n"


def at_once(name: str) -> str:
    return (
        "\n".join([f"timestamp,{name},value", *(f"{t},{tag},{k}" for k, t in enumerate(TIMES) for tag in LEVEL)]) + "\n"
    )


def in_blocks(name: str) -> str:
    return (
        "\n".join([f"timestamp,{name},value", *(f"{t},{tag},{k}" for tag in LEVEL for k, t in enumerate(TIMES))]) + "\n"
    )


@pytest.mark.parametrize(
    ("text", "column"),
    [(in_turns(), "tag"), (in_turns("Signalname"), "Signalname"), (in_turns("what"), "what"),
     (at_once("Kanal"), "Kanal"),
     (at_once("what"), "what"), (in_blocks("what"), "what"),
     (in_turns("sensor_id").replace("TI1", "1").replace("PI1", "2")
      .replace("FI1", "3"), "sensor_id")],
)  # fmt: skip
def test_a_long_file_read_as_one_series_is_refused(tmp_path: Path, text: str, column: str) -> None:
    with pytest.raises(SeriesError) as caught:
        read_one(tmp_path, text)
    message = str(caught.value)
    assert f"column '{column}' names points" in message
    assert f"source.layout=long source.point_column='{column}'" in message
    assert f"source.ignore_columns=['{column}']" in message
    source = csv_source(tmp_path / "a.csv", layout="long", point_column=column)
    assert len(source.points()) == 3 and not failed(source)


def test_a_long_parquet_file_too(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"timestamp": pd.to_datetime(TIMES * 2), "item_id": ["a"] * 30 + ["b"] * 30, "target": range(60)}
    )
    frame.to_parquet(tmp_path / "l.parquet")
    assert "source.layout=long source.point_column='item_id'" in str(failed(parquet_source(tmp_path))["l"])


@pytest.mark.parametrize(
    "column",
    [
        ["run", "run", "run", "stop", "run"], ["run", "stop"], ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        ["Good"], [""], ["Good"] * 20 + ["Bad"] * 10,
    ],
)  # fmt: skip
def test_words_beside_one_series_are_no_points(tmp_path: Path, column: list[str]) -> None:
    rows = [f"{t},{k % 11},{column[k % len(column)]}" for k, t in enumerate(TIMES)]
    assert read_one(tmp_path, "\n".join(["timestamp,value,state", *rows]) + "\n").channels == ("value",)


def test_one_tag_of_text_stops_no_other(tmp_path: Path) -> None:
    rows = [f"{t},{tag},{value}" for k, t in enumerate(TIMES)
            for tag, value in (("TI1", k + 0.5), ("XV1", "OPEN" if k else "CLOSED"), ("TI2", f"{k} C"),
                               ("TI3", f'"{k},5"'))]  # fmt: skip
    text = "\n".join(["timestamp,tag,value", *rows]) + "\n"
    source = csv_source(write(tmp_path / "t.csv", text), layout="long")
    (series,) = fetched(source, source.points(), None, None)
    errors = {name: str(error) for name, error in failed(source).items()}
    assert series.point_id == "TI1" and len(series) == 30 and series.channels == ("value",)
    assert "row 3: 'CLOSED' in value column 'value'" in errors["XV1"]
    assert "source.units=[C]" in errors["TI2"] and "source.decimal=','" in errors["TI3"]


def test_text_columns_beside_a_long_file_are_ignored(tmp_path: Path) -> None:
    rows = [f"{t},{tag},{k},{'°C' if tag == 'A' else 'bar'},Good" for k, t in enumerate(TIMES) for tag in "AB"]
    source = csv_source(
        write(tmp_path / "t.csv", "\n".join(["timestamp,tag,value,unit,quality", *rows]) + "\n"), layout="long"
    )
    series = list(fetched(source, source.points(), None, None))
    assert {s.channels for s in series} == {("value",)}
    assert "ignored unit (words), quality (words)" in str(series[0].notes)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tags_called_na_are_tags_and_rows_without_one_are_said(tmp_path: Path, kind: str) -> None:
    tags = ["NA", "null", "-", "nan", "A"]
    rows = [(t, tag, k) for k, t in enumerate(TIMES[:5]) for tag in [*tags, ""]]
    if kind == "csv":
        text = "\n".join(["timestamp,tag,value", *(f"{t},{tag},{k}" for t, tag, k in rows)]) + "\n"
        source: Any = csv_source(write(tmp_path / "t.csv", text), layout="long")
    else:
        frame = pd.DataFrame(rows, columns=["timestamp", "tag", "value"]).replace({"tag": {"": None}})
        frame.to_parquet(tmp_path / "t.parquet")
        source = parquet_source(tmp_path, layout="long")
    assert source.points() == sorted(tags)
    assert [len(s) for s in fetched(source, source.points(), None, None)] == [5] * 5
    errors = failed(source)
    assert list(errors) == ["t (rows without a point)"]
    assert f"row {7 if kind == 'csv' else 6} names no point (5 row(s) in all)" in str(
        errors["t (rows without a point)"]
    )


ROWS = [f"2024-03-05 {k // 60:02d}:{k % 60:02d},{k},ok" for k in range(300)]


@pytest.mark.parametrize(("opened", "closed", "row"), [(100, 220, 102), (250, None, 252), (0, None, 2), (0, 1, 2)])
@pytest.mark.parametrize("how", ["plain", "gzip", "utf-16", "crlf"])
def test_a_quote_that_swallows_rows_is_named(
    tmp_path: Path, opened: int, closed: int | None, row: int, how: str
) -> None:
    rows = list(ROWS)
    rows[opened] = rows[opened].replace(",ok", ',"5 in pipe')
    if closed is not None:
        rows[closed] = rows[closed].replace(",ok", ',end"')
    text = "\n".join(["timestamp,value,note", *rows]) + "\n"
    if how == "gzip":
        (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
        source = csv_source(tmp_path / "a.csv.gz")
    else:
        encoding = "utf-16" if how == "utf-16" else "utf-8"
        text = text.replace("\n", "\r\n") if how == "crlf" else text
        source = csv_source(write(tmp_path / "a.csv", text, encoding), encoding=encoding)
    assert f"row {row}: a quote opens" in str(failed(source)["a"])


@pytest.mark.parametrize("note", ['"a ""quoted"" word"', '5" pipe', '"two\nlines"', '"a, b"', '""'])
def test_quotes_that_are_right_are_read(tmp_path: Path, note: str) -> None:
    text = "\n".join(["timestamp,value,note", *(r.replace("ok", note) for r in ROWS[:50])]) + "\n"
    assert len(read_one(tmp_path, text)) == 50


BODY = "".join(f"2024-03-05 00:{k:02d};{20.5 + k}\n" for k in range(30))


@pytest.mark.parametrize("top", ["sep=;\n", '"sep=;"\n', "SEP=;\n", "\nsep=;\n"])
def test_excel_says_the_separator(tmp_path: Path, top: str) -> None:
    series = read_one(tmp_path, f"{top}Zeit;Wert\n{BODY}")
    assert series.channels == ("Wert",) and len(series) == 30


@pytest.mark.parametrize(
    ("top", "skip"),
    [
        ("Station: P-101\nExported: 2024-03-06\n\n", 3), ("# made by PLC\n", 1),
        ("Report, all lines\nUnit; bar; C\n", 2),
        ("a;b\nc;d\n", 2), ("Plant A\n\n\n", 3),
    ],
)  # fmt: skip
def test_lines_above_the_header_are_skipped_by_a_key(tmp_path: Path, top: str, skip: int) -> None:
    text = f"{top}timestamp;Wert\n{BODY}"
    with pytest.raises(SeriesError, match=f"line 1 .* is no header.*source.skip_rows={skip}"):
        read_one(tmp_path, text)
    series = read_one(tmp_path, text, skip_rows=skip)
    assert series.channels == ("Wert",) and len(series) == 30 and series.values[0, 0] == 20.5
    bad = text.replace("25.5", "bad")
    with pytest.raises(SeriesError, match=f"row {skip + 7}: 'bad'"):
        read_one(tmp_path, bad, skip_rows=skip)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("TI1 Time,TI1 Value,PI1 Time,PI1 Value", ("PI1 Time", "PI1 Value")),
        ("Time,TI1,Time.1,PI1", ("Time.1", "PI1")),
        ("t_TI1,TI1,t_PI1,PI1", ("t_PI1", "PI1")),
    ],
)  # fmt: skip
def test_a_time_column_per_tag_is_refused(tmp_path: Path, header: str, names: tuple[str, str]) -> None:
    rows = [f"{t},{k},{t.replace('00:', '07:', 1)},{k}" for k, t in enumerate(TIMES)]
    with pytest.raises(SeriesError, match="tags with times of their own") as caught:
        read_one(tmp_path, "\n".join([header, *rows]) + "\n")
    assert f"source.time_column={names[0]!r} source.value_columns=[{names[1]!r}]" in str(caught.value)
    series = read_one(tmp_path, "\n".join([header, *rows]) + "\n", time_column=names[0], value_columns=[names[1]])
    assert np.datetime64(int(series.timestamps[0]), "ns").astype("M8[h]") == np.datetime64("2024-03-05T07")


def test_a_second_time_is_not_a_tag_s(tmp_path: Path) -> None:
    rows = [f"{t},{k},{t},{k}" for k, t in enumerate(TIMES)]
    series = read_one(tmp_path, "\n".join(["timestamp,value,updated_at,count", *rows]) + "\n")
    assert series.channels == ("value", "count")


def test_one_bad_file_or_name_never_stops_the_others(tmp_path: Path) -> None:
    good = f"Zeit;Wert\n{BODY}"
    for name in ("good", "twice"):
        write(tmp_path / f"{name}.csv", good)
    (tmp_path / "twice.csv.gz").write_bytes(gzip.compress(good.encode()))
    write(tmp_path / "words.csv", "Zeit;Wert\n2024-03-05;open\n2024-03-06;closed\n")
    write(tmp_path / "quote.csv", good + '2024-03-06;"1\n2024-03-07;2\n')
    (tmp_path / "binary.csv").write_bytes(b"PK\x03\x04 zip")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/K\xe4lte.csv")).write_text(good)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    source = csv_source(tmp_path)
    assert [s.point_id for s in fetched(source, source.points(), None, None)] == ["good"]
    errors = {name: str(error) for name, error in failed(source).items()}
    assert sorted(errors) == [r"K\xe4lte.csv", "binary", "quote", "twice", "words"]
    assert "is not UTF-8" in errors[r"K\xe4lte.csv"] and "both be 'twice'" in errors["twice"]
    for message in errors.values():
        message.encode("utf-8")


def test_further_missing_texts_add_to_the_usual_ones(tmp_path: Path) -> None:
    text = "timestamp;value\n" + "".join(
        f"{t};{v}\n"
        for t, v in zip(TIMES, ["NA", "", " null", "-999", "   -999", "-999.00", "Err", " 7"], strict=False)
    )
    series = read_one(tmp_path, text, missing=["-999", "Err"])
    assert np.isnan(series.values[:, 0]).tolist() == [True] * 7 + [False]
