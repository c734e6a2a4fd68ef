"""``tsad schema``: what verbs take, as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from verbs_kit import call

from tsad.config import BASES, GROUPS, options_of, yaml_text
from tsad.config.schemas import group_schemas, schema_of
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.verbs import schema
from tsad.verbs.lookup import verb_module

jsonschema = pytest.importorskip("jsonschema")
VERBS = options_of("task")


@pytest.fixture(scope="module")
def groups() -> dict[str, Any]:
    return group_schemas()


def made(verb: str, groups: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(schema_of(verb, verb_module(verb).keys_model, groups), default=str))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_one_and_its_own_defaults_fit_it(verb: str, groups: dict[str, Any]) -> None:
    described = made(verb, groups)
    jsonschema.Draft202012Validator.check_schema(described)
    own = yaml.safe_load(yaml_text(f"task/{verb}") or "") or {}
    for key, value in own.items():
        about = described["properties"][key]
        assert about["description"]
        if value != "???":
            assert about["default"] == value
            jsonschema.validate(value, about | {"$defs": described.get("$defs", {})})
    assert set(described["required"]) == {key for key, value in own.items() if value == "???"}


def test_groups_carry_bounds_choices_defaults_and_comments(groups: dict[str, Any]) -> None:
    assert set(groups) >= set(GROUPS)
    assert groups["adapter"]["properties"]["validation_share"] == {
        "type": "number", "minimum": 0, "maximum": 0.5, "default": 0.2,
        "description": "of the reviewed windows; only where at least 2 windows with an anomaly can validate",
    }  # fmt: skip
    assert groups["adapter"]["properties"]["start_from"]["enum"] == ["champion", "base"]
    assert groups["loop"]["properties"]["iterations"]["description"] == "stop after this many"
    for group in set(GROUPS) - set(BASES):
        assert all(about.get("description") for about in groups[group]["properties"].values()), group


@pytest.mark.parametrize("group", BASES)
def test_a_choice_is_described_by_its_class(group: str, groups: dict[str, Any]) -> None:
    choices = groups[group]["oneOf"]
    assert [choice["title"] for choice in choices] == [f"{group}={name}" for name in options_of(group)]
    for choice in choices:
        target = choice["properties"]["_target_"]
        assert target["const"].startswith("tsad.") and target["description"]
        defaults = {key: about["default"] for key, about in choice["properties"].items() if "default" in about}
        missing = dict.fromkeys(choice["required"], "given")
        assert jsonschema.Draft202012Validator(choice).is_valid(json.loads(json.dumps(defaults | missing)))
        assert not jsonschema.Draft202012Validator(choice).is_valid({**defaults, "nonsense": 1})


def test_it_prints_one_or_all(
    bench: Callable[..., Workbench], capsys: pytest.CaptureFixture[str], groups: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(schema, "group_schemas", lambda: groups)
    call("schema", bench(), of="train")
    assert json.loads(capsys.readouterr().out) == made("train", groups)
    call("schema", bench())
    assert set(json.loads(capsys.readouterr().out)) == set(VERBS)
    with pytest.raises(ConfigError, match=r"unknown verb trian\. Did you mean train"):
        call("schema", bench(), of="trian")
