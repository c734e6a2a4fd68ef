"""No login of a URL is shown or recorded, no secret stands where a variable's name is meant, no name is a formula."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from tsad.command.secrets import masked
from tsad.config import compose, flatten, masked_yaml, settings
from tsad.config.composing import plain
from tsad.core.errors import ConfigError, SeriesError, SourceError, TsadError
from tsad.core.masking import mask_urls
from tsad.core.names import cell, of_cell
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.sources.exchange import read_intervals, write_intervals
from tsad.tracking.frames import series_of
from tsad.tracking.store import open_store

S = "hunter2canary9"
Make = Callable[..., Any]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{S}@h:5432/db", f"postgresql://u:{S}@x@h/db", f"postgresql://u:a/{S}@h/db",
        f"postgresql://h/db?user=u&password={S}", f"mysql://h/db?ssl_passphrase={S}&x=1", f"https://{S}@host/x",
        f"https://h/x?access_token={S}", f"http://h/x?api_key={S}#a", f"postgresql://u:{S}@h:54x2/db",
        f"root:{S}@127.0.0.1:6667",
        f"could not open 'mssql+pyodbc://u:{S}@h/db' (refused)",
    ],
)  # fmt: skip
def test_one_function_masks_every_url(url: str) -> None:
    assert S not in mask_urls(url) and "***" in mask_urls(url) and mask_urls(mask_urls(url)) == mask_urls(url)
    for error in (SourceError(f"{url} is gone", f"Check {url}."), TsadError(url)):
        assert S not in str(error) and S not in error.found and S not in error.remedy


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/a@b", "postgresql://reader@host/db", "file:///home/a@b/mlruns", "https://u@h/x",
        "a=b and c@d.e",
        "postgresql://u:${oc.env:PW}@h/db", "source.time_zone=UTC", "https://host/x?page=2", "U1:x@y",
    ],
)  # fmt: skip
def test_what_is_no_login_stays(text: str) -> None:
    assert mask_urls(text) == text


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["source=iotdb", f"source.password_env={S}"], "source.password_env"),
        (["source=iotdb", f"source.user_env={S}"], "source.user_env"),
        (["source=sql", "source.table=t", f"source.url_env={S}"], "source.url_env"),
        (["review=label_studio", f"review.token_env={S}"], "review.token_env"),
        (["source=iotdb", f"source.nodes=['root:{S}@127.0.0.1:6667']"], "source.nodes"),
    ],
)
def test_a_value_where_a_name_is_meant_is_refused(bench: Make, overrides: list[str], key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")) as caught:
        bench(*overrides)
    assert S not in str(caught.value) and S not in repr(caught.value.__context__ or "")


@pytest.mark.parametrize(
    "url", [f"postgresql://u:{S}@h:port/db", f"nodriver://u:{S}@h/db", f"{S}"]
)
def test_a_broken_url_of_the_environment_is_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from sql_kit import sql_source

    monkeypatch.setenv("TSAD_SQL_URL", url)
    with pytest.raises(TsadError) as caught:
        sql_source(None).points()
    assert S not in str(caught.value)


def test_a_password_among_the_options_of_a_url_is_refused_and_never_frozen(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / "conf" / "local"
    local.mkdir(parents=True)
    (local / "default.yaml").write_text(
        f"# @package _global_\nsource: {{url: 'postgresql://h/db?user=u&password={S}'}}\n"
        f"tracking: {{uri: 'https://{S}@h/mlflow'}}\n"
    )
    monkeypatch.chdir(tmp_path)
    made = bench("source=sql", "source.table=t")
    assert S not in made.config_yaml and S not in repr(made.parameters()) and S not in repr(made.configs)
    with pytest.raises(ConfigError, match=r"source\.url holds a password") as caught:
        made.make_source().points()
    assert S not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["source=sql", "source.table=t", "review=label_studio"], ["source=iotdb"], ["source=csv", "source.root=x"],
        ["source=parquet", "source.root=x", "gold=people"],
    ],
)  # fmt: skip
def test_a_canary_in_any_text_of_any_group_is_nowhere_to_be_read(words: list[str]) -> None:
    cfg = compose(words)
    texts = [k for k, v in flatten(plain(cfg)).items() if (v is None or isinstance(v, str)) and "_target_" not in k]
    assert len({name.partition(".")[0] for name in texts}) > 8, "all groups with texts"
    for secret in (f"https://u:{S}@h/x", f"x://h/d?user=u&password={S}", f"root:{S}@127.0.0.1:6667"):
        for name in texts:
            OmegaConf.update(cfg, name, secret)
        assert S not in masked_yaml(cfg) and S not in repr(masked(plain(cfg)))
        with pytest.raises(ConfigError) as caught:
            settings(cfg)
        assert S not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)


FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "'=1", "''=1", "|x", "%x"]


@pytest.mark.parametrize("name", [*FORMULAS, "plain", "'quoted'", "测点", "a=b"])
def test_names_are_no_formulas_and_come_back(tmp_path: Path, name: str) -> None:
    assert cell(name)[:1] not in "=+-@\t|%" and of_cell(cell(name)) == name
    stamps = np.arange(10) * 60 * 10**9
    series = Series(name, stamps, np.zeros((10, 1)))
    marks = (Interval(int(stamps[2]), int(stamps[4]), name, 0.5),)
    path = write_intervals(tmp_path, series, marks, "people")
    for row in csv.reader(io.StringIO(path.read_text())):
        assert not any(c[:1] in ("=", "+", "-", "@") for c in row)
    assert read_intervals(path)[1] == marks


def test_numbers_stay_numbers_in_cells() -> None:
    assert [cell(text) for text in ("-1.5", "+3e-7", "-12%", "7")] == ["-1.5", "+3e-7", "-12%", "7"]


def test_a_store_lets_nobody_else_in(bench: Make, tmp_path: Path) -> None:
    made = bench("source=synthetic")
    before = os.umask(0)
    try:
        open_store(made.tracking, made.home)
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.home.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"timestamp": [1709596800000, 1709596860000]}, ["1709596800000 (row 0)", "unit='ms'"]),
        ({"timestamp": [0, 1709596800]}, ["1709596800 (row 1)"]),
        ({"timestamp": [1709596800.5, 1709596801.5]}, ["number that may count"]),
        ({"timestamp": np.array([1709596800000, None], object)}, ["row 1 has no timestamp"]),
        ({"timestamp": ["05.03.2024", "06.03.2024"]}, ["cannot be read"]),
        ({"timestamp": pd.to_datetime(["2024-03-05"] * 2), "point_id": ["a", None]}, ["row 1 has no point_id"]),
    ],
)
def test_frames_that_can_be_read_in_several_ways_are_refused(columns: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SeriesError) as caught:
        series_of(pd.DataFrame({**columns, "value": [1.0, 2.0]}))
    for word in words:
        assert word in str(caught.value)


def test_frames_that_are_clear_are_read() -> None:
    for stamps, first in (
        ([5, 6], 5 * 10**9), (["2024-03-05T00:00:00Z", "2024-03-05 01:00"], 1709596800 * 10**9),
        (pd.to_datetime(["2024-03-05", "2024-03-06"]), 1709596800 * 10**9),
    ):  # fmt: skip
        ((series, _),) = series_of(pd.DataFrame({"timestamp": stamps, "value": [1.0, 2.0]}))
        assert series.timestamps[0] == first
