"""The options of sources: YAML and model hold the same keys, what cannot be is refused at the door, hashes stay."""

from __future__ import annotations

import typing
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.files.locate import shipped
from tsad.sources.base import Source
from tsad.sources.iotdb.models import AGGREGATES
from tsad.sources.iotdb.options import IotdbOptions

Make = Callable[..., Workbench]
YAML = sorted(path.stem for path in (shipped("conf") / "source").glob("*.yaml"))
GIVEN: dict[str, dict[str, Any]] = {
    "csv": {"root": "/data/plant", "layout": "wide", "value_columns": ["a", "b"], "min_points": 5},
    "parquet": {"root": "/data/plant", "time_zone": "Asia/Shanghai"},
    "sql": {"url": "sqlite:////data/plant.db", "table": "readings", "value_columns": ["x"]},
    "iotdb": {"paths": ["root.plant.**"], "aggregate": "avg", "every": "60s"},
    "synthetic": {"series": 2, "points": 300},
}
# What commit 64107cc, whose sources took plain keyword arguments, gave for GIVEN: the cache and frozen lineage know
# series by them.
IDENTITIES = {
    "csv": "af01bb3a3e1f2a5c9a2178e14c8793bc785f4564b57f202521f2b070ba828521",
    "parquet": "6dd9218c9e7c4c15a67266b528a55ce062b1dc0fbeb42a9d624fc23715ad166b",
    "sql": "f1ffe2a5bbca22103f7928ec28bffa0c02d94ae97ab591fe1787ffeec8f76b0b",
    "iotdb": "2cb3bec2b7754a7d21e202ffbda2a8f04271c54c35f81dbaf2e2e8483edc0676",
    "synthetic": "f5896e5ceacee234a387b1e68535e7533500485601cf2e84b1d517ccbb93561f",
}
SIGNATURES = {
    "csv": "9c8d0e4f6a81553ea9b96d13effd3288486e9b2fd61b44f3f25b4d4f87f60ba9",
    "parquet": "636508d0aeb44fca6d723639f540109c09b696ba77ef8ef65e4a45c60e442799",
}
DIGESTS = {
    "sql": "ee201ba025975732d6820a819bf7fd1f318e55ca0315d19df2331b5b0be2a191",
    "iotdb": "b3465145495890590d637801ead7ccaf673e2ae6244d37e0189a106d97ad3fb1",
    "synthetic": "ee98de4517555a3f47dd1b1e5fb294df89ddf4b02dee861423d2298a64add53c",
}


def values_of(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((shipped("conf") / "source" / f"{name}.yaml").read_text(encoding="utf-8"))
    base = [entry for entry in values.pop("defaults", []) if entry != "_self_"]
    return {**(values_of(base[0]) if base else {}), **values}


def class_of(values: dict[str, Any]) -> Any:
    module, _, name = values["_target_"].rpartition(".")
    return getattr(import_module(module), name)


def make(name: str) -> Source:
    values = values_of(name) | GIVEN[name]
    kind = class_of(values)
    source: Source = kind(**{k: v for k, v in values.items() if k != "_target_"})
    return source


@pytest.mark.parametrize("name", YAML)
def test_the_yaml_fills_the_model_exactly(name: str) -> None:
    values = values_of(name)
    kind = class_of(values)
    assert set(values) - {"_target_"} == set(kind.options_model.model_fields)
    given = {k: ("x" if v == "???" else v) for k, v in values.items() if k != "_target_"}
    assert kind.options_model(**given).model_dump() == given, "and no value of it is converted"


@pytest.mark.parametrize("name", sorted(IDENTITIES))
def test_caches_and_digests_do_not_change_with_the_models(name: str) -> None:
    source: Any = make(name)
    assert source.identity() == IDENTITIES[name]
    if name in SIGNATURES:
        assert source._signature == SIGNATURES[name], "what a file's digest begins with"
    else:
        assert source.digest() == DIGESTS[name]


@pytest.mark.parametrize(
    "override",
    ["source.layout=wiede", "source.duplicates=foo", "source.negative_labels=all", "source.labels_end=open",
     "source.backward=keep", "source.infinite=keep", "source.daylight_saving=guess", "source.decimal=x"],
)  # fmt: skip
def test_what_is_no_choice_is_refused_before_any_source_is_made(bench: Make, tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0].replace(".", r"\.")):
        bench("source=csv", f"source.root={tmp_path}", override)


def test_the_aggregates_to_choose_from_are_those_of_the_models() -> None:
    choices = typing.get_args(typing.get_args(IotdbOptions.model_fields["aggregate"].annotation)[0])
    assert set(choices) == set(AGGREGATES)
