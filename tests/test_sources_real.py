"""The four real sets, read in full, and the simulated plant."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
import yaml
from reading_kit import failures_of, series_of
from sources_kit import CONF, DATA, csv_source

from tsad.core.errors import ConfigError
from tsad.sources.cache import CachedSource
from tsad.sources.synthetic import SyntheticSource

real = pytest.mark.skipif(not (DATA / "MANIFEST.csv").is_file(), reason=f"no real series in {DATA} (TSAD_DATA)")
SETS = {"nab": ("NAB", 41), "mscmd": ("MSCMD", 35), "aiops": ("AIOPS_KPI", 7), "smd": ("SMD", 2)}


@real
@pytest.mark.parametrize("group", SETS)
def test_a_real_set_reads_in_full(group: str) -> None:
    folder, count = SETS[group]
    with (DATA / "MANIFEST.csv").open(encoding="utf-8") as file:
        manifest = {row["series"]: row for row in csv.DictReader(file) if row["dataset"] == folder}
    source = csv_source(DATA / folder, group)
    series = list(series_of(source))
    assert len(series) == count
    assert not failures_of(source)
    for one in series:
        row = manifest[one.point_id]
        assert len(one) == int(row["length"]) - int(one.notes.get("duplicates_dropped", 0))
        assert one.values.shape[1] == int(row["n_value_columns"])
        assert one.labels is not None
        assert len(one.labels) == int(row["n_anomalies"])
        assert one.time_kind == ("index" if group == "smd" else "time")
        assert (np.diff(one.timestamps) > 0).all()
        assert int(np.isnan(one.values).sum()) == int(one.notes.get("missing", 0))
    noted = Counter(note for one in series for note in one.notes)
    if group == "nab":
        assert noted["duplicates_dropped"] == 6
        assert all(one.channels == ("value",) for one in series)
    if group == "mscmd":
        missing = sum(int(row["n_missing"]) for row in manifest.values())
        assert sum(int(one.notes.get("missing", 0)) for one in series) == missing


def test_every_source_config_is_commented_and_fits_its_class() -> None:
    for path in sorted(CONF.glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# "), path
        for line in lines[1:]:
            assert "#" in line or line.startswith(("_target_:", "defaults:")), f"{path.name}: {line}"


def make_source(**changes: object) -> SyntheticSource:
    values = yaml.safe_load((CONF / "synthetic.yaml").read_text(encoding="utf-8"))
    return SyntheticSource(**{k: v for k, v in (values | changes).items() if k != "_target_"})


def test_the_simulated_plant_is_the_same_for_the_same_seed() -> None:
    one, again, other = (make_source(series=3, points=300, seed=s) for s in (1, 1, 2))
    series = list(series_of(one))
    assert [s.point_id for s in series] == one.points() == again.points()
    assert [len(s) for s in series] == [300] * 3
    assert all(s.labels is not None for s in series)
    assert one.digest() == again.digest() != other.digest()
    assert one.digest(series[0].point_id) == again.digest(series[0].point_id)
    assert series[0].timestamps[0] == np.datetime64("2026-01-01", "ns").astype(np.int64)


def test_it_is_not_cached_and_refuses_nonsense(tmp_path) -> None:  # type: ignore[no-untyped-def]
    cached = CachedSource(make_source(series=2, points=300), tmp_path / "cache")
    assert len(list(series_of(cached))) == 2
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ConfigError, match=r"source\.start"):
        make_source(start="tomorrow")
    with pytest.raises(ConfigError, match="points"):
        make_source(points=3).points()
