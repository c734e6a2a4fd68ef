"""``tsad data``: what the cache and the store hold, listed, shown, registered and deleted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading_kit import series_of
from verbs_kit import call

from tsad.config import compose, settings, workbench
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, DatasetError, InUseError, SourceError
from tsad.core.reviews import Purpose, true_intervals
from tsad.core.series import Series
from tsad.loop.datasets import fetch
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.plots import dataset_figure
from tsad.sources.cache import cache_folder
from tsad.steps import assets as listed
from tsad.steps.assets import DATASETS, EXPORTS, SERIES, UPLOADS, Inventory
from tsad.tracking.assets import EXPORT, assets
from tsad.verbs.data import row as table_row
from tsad.verbs.data import size_text

POINTS = 1200
PNG = b"\x89PNG"


def plant(folder: Path, names: list[str]) -> None:
    """Labelled series: a wave with noise, and a jump of 20 points in each."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(names):
        values = np.sin(np.arange(POINTS) / 9) + 0.1 * rng.standard_normal(POINTS)
        labels = np.zeros(POINTS, int)
        for start in (100 + 37 * k, 700 + 37 * k):
            values[start : start + 20] += 4
            labels[start : start + 20] = 1
        rows = (f"2026-01-01T{m // 60 % 24:02d}:{m % 60:02d}:00Z".replace("01T", f"{1 + m // 1440:02d}T")
                for m in range(POINTS))  # fmt: skip
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"{t},{v:.4f},{n}" for t, v, n in zip(rows, values, labels, strict=True))
        path.write_text("timestamp,value,label\n" + "\n".join(lines) + "\n", encoding="utf-8")


def make(*overrides: str) -> Workbench:
    return workbench(settings(compose(overrides), overrides))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A store with one finished iteration over eight CSV series, shared by the tests of this module."""
    place = tmp_path_factory.mktemp("data")
    plant(place / "plant", [f"U{1 + k // 4}.T{k}" for k in range(7)] + ["U2.温度"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(place / "store"))
        bench = make(
            "review=simulated", "source=csv", f"source.root={place / 'plant'}", "detector=robust_zscore",
            "windows.length=200", "sampling.windows=6", "loop.iterations=1", "loop.fresh=false", "tracking.plots=0",
            "gold.resamples=100", "threshold.default=0.9", "loop.name=plant", "cache.memory_mb=0",
        )  # fmt: skip
        iterate(bench)
        yield bench


@pytest.fixture
def shown(one: Workbench, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``shown(action="list", ...)``: what ``tsad data`` prints, cells of a folded table joined by spaces."""

    def run(**keys: Any) -> str:
        capsys.readouterr()
        call("data", one, **keys)
        return re.sub(r"\s+", " ", re.sub("[│┃┏┓┡┩└┘━─┳╇┴╋]", " ", capsys.readouterr().out))

    return run


def rows(bench: Workbench, kind: str) -> list[dict[str, Any]]:
    return [table_row(asset.about) for asset in Inventory(bench).assets(kind)]


def write_upload(folder: Path) -> Path:
    """Two good files, two bad ones, and one that is no CSV."""
    plant(folder, ["good", "sub/好"])
    (folder / "text.csv").write_text("timestamp,value\n2026-01-01,1\n2026-01-02,x\n2026-01-03,2\n")
    (folder / "half.csv").write_text("timestamp,value\n2026-01-01,1\n2026-01-02,2\n2026")
    (folder / "README.txt").write_text("hello")
    return folder


def test_a_store_that_is_not_there_is_empty(
    bench: Callable[..., Workbench], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("data", bench())
    assert "0 series, 0 uploads, 0 dataset versions, 0 exports" in capsys.readouterr().out
    assert not home.exists()


def test_series_are_listed_with_span_labels_and_reviewed_share(one: Workbench, shown: Callable[..., str]) -> None:
    series = {row["point"]: row for row in rows(one, SERIES)}
    assert len(series) == 8
    row = series["U2.温度"]
    assert (row["points"], row["channels"], row["labels"]) == (POINTS, 1, 2)
    assert (row["from"], row["to"]) == ("2026-01-01 00:00", "2026-01-01 19:59")
    assert row["source"].startswith("csv:") and row["source"].endswith("/plant")
    assert row["kept"].startswith("cache") and row["size"].endswith("kB")
    loop = open_loop(one)
    reviewed: dict[str, int] = {}
    for record in loop.datasets():
        for window in fetch(loop, record.digest).windows:
            reviewed[window.window.point_id] = reviewed.get(window.window.point_id, 0) + len(window.window)
    assert {p: r["reviewed"] for p, r in series.items()} == {p: f"{reviewed.get(p, 0) / POINTS:.0%}" for p in series}
    assert any(r["reviewed"] not in ("0%", "100%") for r in series.values())
    text = shown(what="series")
    assert "U2.温度" in text and text.endswith("8 series ")
    assert "mended" in shown(what="datasets", series=True)


def test_dataset_versions_are_listed_with_who_uses_them(one: Workbench, shown: Callable[..., str]) -> None:
    loop = open_loop(one)
    found = {row["purpose"]: row for row in rows(one, DATASETS)}
    assert set(found) == {"train", "gold"}
    for purpose, row in found.items():
        version = fetch(loop, row["version"])
        assert row["windows"] == len(version.windows)
        assert row["points"] == sum(len(w.window) for w in version.windows)
        assert row["intervals"] == true_intervals(version.windows)
        assert (row["loop"], row["iteration"]) == ("plant", 1)
        assert row["used by"].startswith("gold set" if purpose == "gold" else "next iteration")
    assert "tsad-plant-robust_zscore:2" in found["train"]["used by"]
    assert found["gold"]["version"] in shown(what="datasets") and "2 dataset versions" in shown()


def test_names_patterns_and_sources_filter(one: Workbench, shown: Callable[..., str]) -> None:
    assert "4 series" in shown(what="series", name="U1.*")
    assert "2 series" in shown(what="series", name=["U1.T1", "U2.温度"])
    gold = next(r for r in open_loop(one).datasets() if r.purpose == Purpose.GOLD)
    for name in (gold.digest, gold.digest[:4], f"plant/{gold.digest}", f"plant/{gold.digest[:6]}*"):
        assert "0 series, 0 uploads, 1 dataset version, 0 exports" in shown(name=name)
    assert "8 series, 0 uploads, 2 dataset versions, 0 exports" in shown(from_source="csv:")
    assert "8 series" in shown(from_source="csv:*plant")
    assert "0 series, 0 uploads, 0 dataset versions, 0 exports" in shown(from_source="iotdb")
    with pytest.raises(ConfigError, match=r"no series 'U1.T9'. Nearest: U1.T"):
        shown(what="series", name="U1.T9")


def test_one_is_shown_with_a_plot(one: Workbench, shown: Callable[..., str], tmp_path: Path) -> None:
    client = open_loop(one).store.client
    loop = open_loop(one)
    for name, says in (("U2.温度", "U2.温度"), (loop.datasets()[0].digest[:6], "with an anomaly")):
        picture = tmp_path / "plots" / "one.png"
        text = shown(action="show", name=name, output=str(picture))
        assert says in text and str(picture) in text.replace(" ", "")
        assert picture.read_bytes()[:4] == PNG and picture.stat().st_size > 5000
        run_id = re.findall(r"of run ([0-9a-f]{32})", text)[0]
        (plot,) = client.list_artifacts(run_id, "plots")
        assert plot.path.endswith(".png") and client.get_run(run_id).info.status == "FINISHED"
        picture.unlink()
    with pytest.raises(ConfigError, match="8 could be shown"):
        shown(action="show", what="series")
    with pytest.raises(ConfigError, match="nothing to show"):
        shown(action="show", what="uploads")


def test_good_files_are_registered_and_bad_ones_named(
    one: Workbench, shown: Callable[..., str], tmp_path: Path
) -> None:
    folder = write_upload(tmp_path / "mine")
    text = shown(action="register", path=str(folder))
    assert "'x' in value column 'value' is not a number" in text and "Expected 2 columns, got 1" in text
    assert "2 files, 2 series, 2400 points, 2 refused" in text
    shown(action="register", path=str(folder))  # twice is once
    (upload,) = rows(one, UPLOADS)
    assert (upload["of"], upload["files"], upload["series"], upload["labels"]) == ("mine", 2, 2, 4)
    root = Path(upload["source.root"])
    assert sorted(p.name for p in root.rglob("*.csv")) == ["good.csv", "好.csv"]
    uploaded = {r["point"]: r for r in rows(one, SERIES) if r["kept"] == "upload"}
    assert set(uploaded) == {"good", "sub/好"} and uploaded["good"]["source"] == f"upload {upload['upload']}"
    assert "好" in shown(action="show", name=upload["upload"])
    picture = tmp_path / "upload.png"
    shown(action="show", name="sub/好", output=str(picture))
    assert picture.read_bytes()[:4] == PNG

    reader = make("source=csv", f"source.root={root}")  # any verb reads it
    assert [s.point_id for s in series_of(reader.make_source())] == ["good", "sub/好"]
    assert "cache" in {r["point"]: r["kept"] for r in rows(one, SERIES)}["sub/好"]
    shown(action="delete", what="series", name="good", dry_run=False)  # the cached copy; the upload still has it
    with pytest.raises(InUseError, match=f"good: upload {upload['upload']}, which it is part of"):
        shown(action="delete", what="series", name="good", dry_run=False)
    shown(action="delete", what="uploads", name="mine", dry_run=False)
    assert not rows(one, UPLOADS) and not root.exists()
    assert len(rows(one, SERIES)) == 8  # its cached series have gone with it


def test_nothing_is_registered_where_no_file_is_valid(
    one: Workbench, shown: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("timestamp,value\n2026-01-01,x\n")
    with pytest.raises(SourceError, match=r"no file of .* is valid"):
        shown(action="register", path=str(tmp_path))
    with pytest.raises(SourceError, match="no file or folder"):
        shown(action="register", path=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="path is not set"):
        shown(action="register")
    assert not rows(one, UPLOADS)


def test_exports_are_listed_and_deleted_with_their_file(
    one: Workbench, shown: Callable[..., str], tmp_path: Path
) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        call("export", one, output=str(tmp_path / name))
    call("export", one, output=str(tmp_path / "a.csv"))
    (tmp_path / "b.csv").write_text("edited")
    (tmp_path / "c.csv").unlink()
    found = {Path(row["file"]).name: row for row in rows(one, EXPORTS)}
    states = {name: row["file is"] for name, row in found.items()}
    assert states == {"a.csv": "there", "b.csv": "changed", "c.csv": "gone"}
    train = next(r for r in open_loop(one).datasets() if r.purpose == Purpose.TRAIN)
    assert found["a.csv"]["dataset"] == train.digest and found["a.csv"]["format"] == "csv"
    text = shown(action="delete", what="exports", name=str(tmp_path / "*"))
    assert "3 to delete, 0 in use; nothing was deleted" in text and len(assets(open_loop(one), EXPORT)) == 3
    assert "deleted 3 of 3" in shown(action="delete", what="exports", name=str(tmp_path / "*"), dry_run=False)
    assert assets(open_loop(one), EXPORT) == []
    assert [p.name for p in tmp_path.iterdir()] == ["b.csv"]


def test_cached_series_are_deleted_by_pattern(one: Workbench, shown: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="delete needs a name"):
        shown(action="delete", what="series", dry_run=False)
    with pytest.raises(ConfigError, match="delete needs a kind"):
        shown(action="delete", name="*", dry_run=False)
    assert "4 to delete, 0 in use" in shown(action="delete", what="series", name="U1.*")
    assert len(rows(one, SERIES)) == 8
    assert "deleted 4 of 4" in shown(action="delete", what="series", name="U1.*", dry_run=False)
    assert len(rows(one, SERIES)) == 4
    assert len(list(series_of(one.make_source()))) == 8  # read from the source again
    assert len(rows(one, SERIES)) == 8


def test_an_open_iteration_needs_its_series(one: Workbench, shown: Callable[..., str], tmp_path: Path) -> None:
    plant(tmp_path / "later", ["x"])
    shown(action="register", path=str(tmp_path / "later" / "x.csv"))
    (upload,) = rows(one, UPLOADS)
    other = make("loop.name=other", "source=csv", f"source.root={upload['source.root']}")
    loops = [(open_loop(one), one), (open_loop(other), other)]
    opened = []
    for loop, bench in loops:
        with loop.lock() as held:
            opened.append(held.create_iteration(2, bench.config_yaml, {}))
    for kind, name, user in ((SERIES, "U1.T0", "iteration 2 of plant"), (UPLOADS, "x.csv", "iteration 2 of other")):
        with pytest.raises(InUseError, match=rf"open {user}. force=true"):
            shown(action="delete", what=kind, name=name, dry_run=False)
        assert "1 to delete, 0 in use" in shown(action="delete", what=kind, name=name, force=True)
    for iteration in opened:
        iteration.abandon("not needed any more")
    assert "deleted 1 of 1" in shown(action="delete", what="uploads", name="x.csv", dry_run=False)


def test_a_cached_series_whose_file_is_gone_is_no_mere_copy(
    one: Workbench, shown: Callable[..., str], tmp_path: Path
) -> None:
    plant(tmp_path / "gone", ["only.here"])
    assert len(list(series_of(make("source=csv", f"source.root={tmp_path / 'gone'}").make_source()))) == 1
    (tmp_path / "gone" / "only.here.csv").unlink()
    (tmp_path / "gone").rmdir()
    with pytest.raises(InUseError, match="its source is not there now"):
        shown(action="delete", what="series", name="only.here", dry_run=False)
    assert "deleted 1 of 1" in shown(action="delete", what="series", name="only.here", dry_run=False, force=True)


def test_pieces_of_a_series_are_one(one: Workbench, shown: Callable[..., str], tmp_path: Path) -> None:
    """What a database gave in two fetches is listed, shown and deleted as one series."""
    from tsad.sources.cache.entries import Content, save_piece

    folder, minute = cache_folder(one.home) / "a database", 60 * 10**9
    for first in (0, 100):
        at = (first + np.arange(100, dtype=np.int64)) * minute
        series = Series("root.温度", at, np.sin(at / 1e12)[:, None], source="iotdb:127.0.0.1")
        span = first * minute, (first + 100) * minute
        save_piece(Content(series, ((*span, 1.7e9),)), folder, span)
    (folder / "source.json").write_text('{"source": "iotdb:127.0.0.1:6667"}')
    row = next(r for r in rows(one, SERIES) if r["point"] == "root.温度")
    assert (row["points"], row["from"], row["to"]) == (200, "1970-01-01 00:00", "1970-01-01 03:19")
    assert "d old" in row["kept"] and "1 series" in shown(what="series", from_source="iotdb")
    picture = tmp_path / "pieces.png"
    shown(action="show", name="root.温度", output=str(picture))
    assert picture.read_bytes()[:4] == PNG
    assert "deleted 1 of 1" in shown(action="delete", what="series", from_source="iotdb", dry_run=False)
    assert not list(folder.glob("*.parquet"))


def test_datasets_in_use_are_not_deleted(one: Workbench, shown: Callable[..., str]) -> None:
    loop = open_loop(one)
    gold, train = sorted(loop.datasets(), key=lambda r: r.purpose)
    text = shown(action="delete", what="datasets", name="*", force=True)
    assert "1 to delete, 1 in use" in text and "gold set" in text
    for force in (False, True):
        with pytest.raises(InUseError, match=f"nothing was deleted: {gold.digest}: gold set.*cannot be forced"):
            shown(action="delete", what="datasets", name="*", force=force, dry_run=False)
    with pytest.raises(InUseError, match=r"next iteration, tsad-plant-robust_zscore:2.*force=true"):
        shown(action="delete", what="datasets", name=train.digest, dry_run=False)

    call("promote", one, version="2", force=True)
    with pytest.raises(InUseError, match=r"robust_zscore:2 \(.*champion.*cannot be forced"):
        shown(action="delete", what="datasets", name=train.digest, dry_run=False, force=True)
    call("promote", one, version="1", force=True)
    assert len(loop.datasets()) == 2


def test_a_deleted_dataset_is_gone(one: Workbench, shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 stays ``previous`` after a rollback; without aliases, force=true takes what it was trained on."""
    for version in ("2", "1"):  # each test alone, too: they may run in several processes
        call("promote", one, version=version, force=True)
    loop = open_loop(one)
    registry = loop.registry("robust_zscore")
    train = next(r for r in loop.datasets() if r.purpose == Purpose.TRAIN)
    with pytest.raises(InUseError, match="previous"):
        shown(action="delete", what="datasets", name=train.digest, dry_run=False, force=True)
    loop.store.client.delete_registered_model_alias(registry.name, "previous")
    keys = {"action": "delete", "what": "datasets", "name": train.digest[:6], "force": True}
    assert "deleted 1 of 1" in shown(**keys, dry_run=False)
    assert [r.purpose for r in loop.datasets()] == ["gold"]
    with pytest.raises(DatasetError):
        fetch(loop, train.digest)
    assert all(row["version"] != train.digest for row in rows(one, DATASETS))


def test_a_figure_of_many_points_can_be_read(tmp_path: Path) -> None:
    figure = dataset_figure({f"p{k}": (k % 3, 5) for k in range(40)}, [1, 3, 900], "train set")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()][-1] == "10 more"
    figure.savefig(tmp_path / "a.png")
    dataset_figure({"温度": (0, 1)}, [], "").savefig(tmp_path / "b.png")


def test_sizes_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 4_210_000, 3 * 10**12, 5 * 10**15)] == [
        "0 B", "999 B", "1.0 kB", "4.2 MB", "3.0 TB", "5000.0 TB",
    ]  # fmt: skip


def test_files_of_any_kind_that_are_gone_make_the_cached_copy_the_only_one(tmp_path: Path) -> None:
    for kind in ("csv", "parquet", "tsb_ad"):
        assert listed._only_copy(f"{kind}:{tmp_path / 'gone'}"), kind
        assert not listed._only_copy(f"{kind}:{tmp_path}")
    for database in ("iotdb:127.0.0.1:6667/root.plant.**", "sql:postgresql://h/plant/readings", "csv:/data/*.csv"):
        assert not listed._only_copy(database)
