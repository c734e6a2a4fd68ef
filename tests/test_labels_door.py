"""Labels are read by the keys of the series they belong to, and what they do not say is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading_kit import failed, fetched
from sources_kit import csv_source, read_one, write

from tsad.core.errors import LabelError, TsadError
from tsad.loop.common import load_series
from tsad.steps.ingest import ingest

Make = Callable[..., Any]
MINUTE = 60 * 10**9


def labels_of(root: Path, **options: Any) -> list[tuple[str, str]]:
    source = csv_source(root, **options)
    assert not failed(source)
    (series,) = fetched(source, source.points(), None, None)
    return [(str(np.datetime64(i.start, "ns").astype("M8[m]")), str(np.datetime64(i.end, "ns").astype("M8[m]")))
            for i in series.labels or ()]  # fmt: skip


@pytest.mark.parametrize(
    ("times", "labels", "options", "expected"),
    [
        (["05.03.2024 01:00", "05.03.2024 01:10", "05.03.2024 01:20"], ("05.03.2024 01:00", "05.03.2024 01:10"),
         {"time_format": "%d.%m.%Y %H:%M"}, ("2024-03-05T01:00", "2024-03-05T01:10")),
        (["05.03.2024 01:00", "05.03.2024 01:10", "05.03.2024 01:20"], ("2024-03-05 01:00", "2024-03-05 01:10"),
         {"time_format": "%d.%m.%Y %H:%M"}, ("2024-03-05T01:00", "2024-03-05T01:10")),
        (["2024-10-27 02:00", "2024-10-27 02:10", "2024-10-27 02:20"], ("2024-10-27 02:00", "2024-10-27 02:10"),
         {"time_zone": "Europe/Berlin", "daylight_saving": "later"}, ("2024-10-27T01:00", "2024-10-27T01:10")),
        (["1709596800", "1709597400", "1709598000"], ("1709596800", "1709597400"), {"time_format": "s"},
         ("2024-03-05T00:00", "2024-03-05T00:10")),
        (["2024030500", "2024030501", "2024030502"], ("2024030500", "2024030501"), {},
         ("2024-03-05T00:00", "2024-03-05T01:00")),
    ],
)  # fmt: skip
def test_a_csv_of_labels_is_read_as_the_series(
    tmp_path: Path, times: list[str], labels: tuple[str, str], options: dict[str, Any], expected: tuple[str, str]
) -> None:
    series = write(tmp_path / "s" / "pump.csv", "t;v\n" + "".join(f"{t};{k}\n" for k, t in enumerate(times)))
    marks = write(tmp_path / "l.csv", "point_id;start;end\npump;" + ";".join(labels) + "\n")
    assert labels_of(series.parent, labels=str(marks), **options) == [expected]


def test_a_repeated_hour_in_labels_is_not_told_by_their_order(tmp_path: Path) -> None:
    rows = [f"2024-10-27 0{h}:{m}0" for h in (1, 2, 2, 3) for m in range(6)]
    series = write(tmp_path / "s" / "pump.csv", "t,v\n" + "".join(f"{t},{k}\n" for k, t in enumerate(rows)))
    marks = write(tmp_path / "l.csv", "point_id,start,end\npump,2024-10-27 02:10,2024-10-27 02:20\n")
    source = csv_source(series.parent, labels=str(marks), time_zone="Europe/Berlin", daylight_saving="infer")
    with pytest.raises(LabelError, match=r"row 2: local time .* happens twice"):
        list(source.fetch(source.points(), None, None))


def column(values: list[Any]) -> str:
    rows = (f"2024-03-05 00:{k:02d},{k % 7},{value}\n" for k, value in enumerate(values))
    return "timestamp,value,label\n" + "".join(rows)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        ([1] * 28 + [-1] * 2, {"negative_labels": "anomaly"},
         ["-1, 1 alone", "abnormal_labels=[-1] (6.7%", "=[1] (93.3%"]),
        ([1] * 28 + [-1] * 2, {}, ["scikit-learn", "source.abnormal_labels=[-1]"]),
        ([1] * 28 + [2] * 2, {}, ["1, 2 alone", "source.abnormal_labels=[2]"]),
        ([0] * 28 + [-1] * 2, {}, ["row 30", "source.negative_labels=normal"]),
        (["good"] * 28 + ["bad"] * 2, {}, ["none of which is known as normal", "source.abnormal_labels=[good]"]),
        (["1"] * 20 + ["-1", "fault"], {}, ["'-1'", "source.abnormal_labels"]),
        ([1] * 28 + [-1] * 2, {"abnormal_labels": ["bad"]}, ["holds numbers", "'bad'"]),
    ],
)  # fmt: skip
def test_codes_that_do_not_say_what_is_normal_are_asked_about(
    tmp_path: Path, values: list[Any], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(LabelError) as caught:
        read_one(tmp_path, column(values), **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("values", "options", "kinds"),
    [
        ([1] * 28 + [-1] * 2, {"abnormal_labels": ["-1"]}, ["Anomaly"]),
        ([1] * 28 + [-1] * 2, {"negative_labels": "normal"}, ["Anomaly"]),
        ([0] * 27 + [-1] * 3, {"negative_labels": "anomaly"}, ["Anomaly"]),
        ([0] * 27 + [1, 2, 3], {}, ["Anomaly"]),
        ([0] * 27 + [1, 2, 3], {"abnormal_labels": ["3"]}, ["Anomaly"]),
        (["good"] * 28 + ["bad"] * 2, {"abnormal_labels": ["bad"]}, ["bad"]),
        (["inlier"] * 28 + ["outlier"] * 2, {}, ["Anomaly"]),
        (["normal"] * 28 + ["drift", "spike"], {}, ["drift", "spike"]),
    ],
)  # fmt: skip
def test_labels_that_are_told(tmp_path: Path, values: list[Any], options: dict[str, Any], kinds: list[str]) -> None:
    series = read_one(tmp_path, column(values), **options)
    assert [i.label for i in series.labels or ()] == kinds


START, END = "2024-03-07 02:00:00", "2024-03-07 03:50:00"


def export(path: Path, *regions: dict[str, Any], **data: Any) -> Path:
    marks = [{"type": "timeserieslabels", "value": {"timeserieslabels": ["Anomaly"], **r}} for r in regions]
    task = {"id": 1, "data": {"csv": "/data/upload/3/1a2b3c4d-pump.csv", **data},
            "annotations": [{"id": 5, "created_at": "2024-05-06T00:00:00Z", "result": marks}]}  # fmt: skip
    path.write_text(json.dumps([task]))
    return path


def pump(folder: Path, form: str = "%Y-%m-%d %H:%M:%S") -> Path:
    stamps = np.datetime64("2024-03-05T00:00:00") + np.arange(600) * np.timedelta64(10, "m")
    lines = [f"{t.item().strftime(form)},{k % 7}" for k, t in enumerate(stamps)]
    return write(folder / "series" / "pump.csv", "timestamp,value\n" + "\n".join(lines) + "\n").parent


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ({"start": START, "end": END}, "2024-03-06T18:00"),
        ({"start": "2024-03-06T18:00:00Z", "end": "2024-03-06T19:50:00Z"}, "2024-03-06T18:00"),
        ({"start": "2024-03-07T02:00:00+08:00", "end": "2024-03-07T03:50:00+08:00"}, "2024-03-06T18:00"),
        ({"start": 1709748000000, "end": 1709754600000}, "2024-03-06T18:00"),
        ({"start": 1709748000, "end": 1709754600.0}, "2024-03-06T18:00"),
    ],
)
def test_an_export_is_read_in_the_zone_of_the_series(
    bench: Make, tmp_path: Path, region: dict[str, Any], expected: str
) -> None:
    root, path = pump(tmp_path), export(tmp_path / "export.json", region)
    made = bench("source=csv", f"source.root={root}", f"source.labels={path}", "source.time_zone=Asia/Shanghai")
    (series,) = load_series(made)
    (label,) = series.labels
    assert str(np.datetime64(label.start, "ns").astype("M8[m]")) == expected
    assert (label.end - label.start) // MINUTE == 110


def test_an_export_is_read_in_the_pattern_of_the_series(bench: Make, tmp_path: Path) -> None:
    root = pump(tmp_path, "%d.%m.%Y %H:%M")
    path = export(tmp_path / "export.json", {"start": "07.03.2024 02:00", "end": "07.03.2024 03:50"})
    made = bench("source=csv", f"source.root={root}", f"source.labels={path}", "source.time_format='%d.%m.%Y %H:%M'")
    (series,) = load_series(made)
    assert str(np.datetime64(series.labels[0].start, "ns").astype("M8[m]")) == "2024-03-07T02:00"


def test_two_labels_on_one_region_are_both_kept(bench: Make, tmp_path: Path) -> None:
    path = export(tmp_path / "export.json", {"start": START, "end": END, "timeserieslabels": ["drift", "noise"]})
    (series,) = load_series(bench("source=csv", f"source.root={pump(tmp_path)}", f"source.labels={path}"))
    assert sorted(i.label for i in series.labels) == ["drift", "noise"]


def test_ingest_reads_the_export_as_the_other_verbs_do(bench: Make, tmp_path: Path) -> None:
    root, path = pump(tmp_path), export(tmp_path / "export.json", {"start": START, "end": END})
    words = ("source=csv", f"source.root={root}")
    found = ingest(bench(*words, f"source.labels={path}"), None, report=False)
    assert [q.labels for q in found.series] == [1]
    assert [c.columns for c in found.columns] == ["time timestamp; channel value"] and found.columns[0].points == (
        "pump",
    )
    small = tmp_path / "min.json"
    small.write_text(json.dumps([{"id": 1, "csv": "pump.csv", "label": []}]))
    other = export(tmp_path / "other.json", {"start": START, "end": END}, csv="boiler.csv")
    wrong = export(tmp_path / "wrong.json", {"start": True, "end": END})
    for broken, what in (
        (small, "no list of Label Studio tasks"),
        (other, "none of which the source has"),
        (wrong, "region"),
    ):
        with pytest.raises(TsadError, match=what):
            ingest(bench(*words, f"source.labels={broken}"), None, report=False)


def test_labels_beside_iotdb_have_a_zone(bench: Make) -> None:
    made = bench("source=iotdb", "source.time_zone=Asia/Shanghai", "source.labels=l.csv")
    source = made.make_source()
    assert getattr(source, "source", source).settings.time_zone == "Asia/Shanghai"
