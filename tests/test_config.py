"""YAML and overrides become checked options, or one named error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import create_model

from tsad.command.naming import full_key
from tsad.command.quoting import parse, quoted
from tsad.command.secrets import is_secret_key, masked, refuse_secrets, unmasked
from tsad.config import (
    BASES,
    GROUPS,
    OPTIONS,
    UNFROZEN,
    Settings,
    compose,
    flatten,
    home,
    masked_yaml,
    options_of,
    settings,
)
from tsad.config.comments import comments
from tsad.config.composing import option
from tsad.config.parts import base_of, located, model_of
from tsad.config.validation import validated
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, ReviewError
from tsad.core.masking import MASK
from tsad.core.option_model import Configured, Options
from tsad.files.locate import shipped
from tsad.review.label_studio.server import token

Make = Callable[..., Settings]
TARGETS = [(g, option(g, o)["_target_"]) for g in BASES for o in options_of(g)]
CLASSES = list(dict.fromkeys(located(target, group, base_of(group)) for group, target in TARGETS))
CHOICES = [(g, o) for g in (*GROUPS, "experiment") for o in options_of(g)]


# --- the configuration that ships --------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "option"), CHOICES)
def test_every_option_composes(options: Make, group: str, option: str) -> None:
    checked = options(f"{group}={option}")
    assert checked.loop.name == (option if group == "experiment" else "default")


@pytest.mark.parametrize("group", OPTIONS)
def test_groups_have_exactly_the_keys_of_their_options(group: str) -> None:
    wanted = set(OPTIONS[group].model_fields)
    for chosen in [[f"{group}={name}"] for name in options_of(group)] or [[]]:
        assert set(compose(chosen)[group]) == wanted


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in BASES for o in options_of(g)])
def test_interchangeable_things_name_a_class_that_takes_exactly_their_keys(
    options: Make, group: str, option: str
) -> None:
    chosen = options(f"{group}={option}").parts[group]
    assert chosen.config["_target_"] == f"{chosen.kind.__module__}.{chosen.kind.__qualname__}"
    assert set(chosen.config) - {"_target_"} == set(model_of(chosen.kind).model_fields)


@pytest.mark.parametrize("model", [*OPTIONS.values(), *(model_of(k) for k in CLASSES if issubclass(k, Configured))])
def test_defaults_are_in_yaml_only(model: type[Options]) -> None:
    assert all(info.is_required() for info in model.model_fields.values())


YAMLS = [p for p in sorted(shipped("conf").rglob("*.yaml")) if "local" not in p.parts]


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.relative_to(shipped("conf")).as_posix())
def test_every_key_has_a_comment(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = text.splitlines()
    assert any(line.startswith("#") and "@package" not in line for line in lines), f"{path} says not what it is"
    said = comments(text)
    keys = _keys({k: v for k, v in (yaml.safe_load(text) or {}).items() if k not in ("defaults", "hydra")})
    assert [key for key in keys if not said.get(key)] == []


def _keys(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Full keys; ``_target_`` is what the file's own comment is about."""
    keys = []
    for key, value in tree.items():
        name = full_key(prefix, key)
        inside = isinstance(value, Mapping) and bool(value)
        keys += _keys(value, name) if inside else [] if key == "_target_" else [name]
    return keys


def test_demo_is_simulated_and_starts_afresh(options: Make) -> None:
    checked = options("experiment=demo")
    assert (checked.loop.name, checked.loop.iterations, checked.loop.fresh) == ("demo", 3, True)
    assert checked.parts["review"].kind.__name__ == "SimulatedReviewer"
    assert checked.parts["source"].config["_target_"].endswith("SyntheticSource")


def test_loop_takes_the_experiments_name(options: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "conf" / "experiment"
    mine.mkdir(parents=True)
    (mine / "plant7.yaml").write_text("# @package _global_\nadapter: {r: 3}\n")
    monkeypatch.chdir(tmp_path)
    checked = options("experiment=plant7")
    assert (checked.loop.name, checked.adapter.r) == ("plant7", 3)


def test_conf_where_the_user_stands_is_searched_first(
    options: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = options().windows.length
    (tmp_path / "conf" / "windows").mkdir(parents=True)
    (tmp_path / "conf" / "windows" / "default.yaml").write_text("length: 99\ncontext: 1\nremembered: 0\n")
    monkeypatch.chdir(tmp_path)
    assert options().windows.length == 99 != before
    assert "long" in options_of("windows")


def test_local_comes_last(options: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "local").mkdir(parents=True)
    (tmp_path / "conf" / "local" / "default.yaml").write_text("# @package _global_\nadapter: {r: 5}\n")
    monkeypatch.chdir(tmp_path)
    assert options().adapter.r == 5
    assert options("adapter.r=6").adapter.r == 6, "the command line has the last word"


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSAD_HOME", raising=False)
    assert home() == tmp_path / "mlruns"
    monkeypatch.setenv("TSAD_HOME", "store")
    assert home() == tmp_path / "store" and home().is_absolute() and not home().exists()


# --- what is refused, by name ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["adapter.rr=3"], ["adapter.rr", "adapter.r"]),
        (["adaptr.r=3"], ["adaptr.r"]),
        (["+adapter.rr=3"], ["adapter.rr", "adapter.r"]),
        (["adapter.r=abc"], ["adapter.r", "'abc'", "whole number"]),
        (["adapter.r=1.5"], ["adapter.r", "1.5", "whole number"]),
        (["adapter.enabled=maybe"], ["adapter.enabled", "true or false"]),
        (["adapter.target_modules=3"], ["adapter.target_modules", "list"]),
        (["sampling.mix.random=much"], ["sampling.mix.random", "number"]),
        (["detector=nothing"], ["detector", "nothing", "patch"]),
        (["task=trian"], ["verb", "trian", "train"]),
        (["adapter.r=4,8"], ["adapter.r", "4,8", "-m"]),
        (["adapter.r=0"], ["adapter.r", "at least 1"]),
        (["windows.length=8"], ["windows.length", "at least 16"]),
        (["threshold.default=1.5"], ["threshold.default", "at most 1"]),
        (["threshold.rule=best_f1"], ["threshold.rule", "reviewed"]),
        (
            ["threshold=fixed", "threshold.max_length=2", "threshold.min_length=5"],
            ["threshold.max_length is 2", "threshold.min_length=5"],
        ),
        (["sampling.mix={top_score: 1.0, random: 0.0, low_confidence: 0.0}"], ["sampling.mix.random"]),
        (["sampling.mix={top_score: 0.9, random: 0.9, low_confidence: 0.0}"], ["add up to 1.8"]),
        (["+sampling.mix.luck=0.0"], ["sampling.mix.luck"]),
        (["review=simulated", "gold=people"], ["gold", "review", "nobody to ask"]),
        (["gold.metric=oracle_point_f1"], ["gold.metric", "oracle_point_f1"]),
        (["gold.metric=pa_point_f1"], ["gold.metric"]),
        (["gold.windows=2", "gold.strata=4"], ["gold.strata", "gold.windows"]),
        (["review.min_reviewed=999"], ["review.min_reviewed", "sampling.windows"]),
        (["review.utc_offset=Asia/Shanghai"], ["review.utc_offset", "+08:00"]),
        (["review.utc_offset='+15:00'"], ["review.utc_offset"]),
        (["review.url=localhost:8080"], ["review.url", "http://"]),
        (["adapter.target_modules=[]"], ["adapter.target_modules"]),
        (["loop.name=a/b"], ["loop.name", "a/b"]),
        (["loop.iterations=0"], ["loop.iterations"]),
        (["gold.alpha=nan"], ["gold.alpha"]),
        (["source.root=${oc.env:TSAD_NO_SUCH}"], ["source.root", "TSAD_NO_SUCH"]),
        (["~windows"], ["windows"]),
    ],
)
def test_refused_by_name(options: Make, overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        options(*overrides)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("source._target_=os.getcwd", ["source._target_", "Source"]),
        ("source._target_=no.such.Class", ["source._target_", "no.such.Class"]),
        ("source._target_=''", ["source._target_"]),
        ("detector._target_=tsad.sources.csv.CsvSource", ["detector._target_", "Detector"]),
        ("+detector.nonsense=1", ["detector.nonsense"]),
        ("source.glob=3", ["source.glob", "list"]),
    ],
)
def test_interchangeable_things_are_checked_before_they_are_built(
    bench: Callable[..., Workbench], override: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        bench(override)
    for word in words:
        assert word in str(caught.value)


def test_what_is_still_to_be_given_is_asked_for_when_it_is_needed(bench: Callable[..., Workbench]) -> None:
    made = bench("source=csv")
    with pytest.raises(ConfigError, match=r"source\.root is not set"):
        made.make_source()


def test_a_config_of_another_project_is_named(
    options: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("model: resnet\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="adapter") as caught:
        options()
    assert str(tmp_path / "conf" / "config.yaml") in str(caught.value)


# --- typed -------------------------------------------------------------------------------------------------


def example(
    bench: object, *, a: int, b: float = 1.0, c: str | list[str] | None = None, d: Literal["x", "y"] = "x",
    e: tuple[int, ...] = (), f: Mapping[str, float] | None = None, g: Path | None = None, h: Sequence[bool] = (),
) -> None:  # fmt: skip
    """A signature with every kind of annotation that verbs and classes use."""


def typed(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    checked = validated(model_of(example), values, prefix)
    return {key: getattr(checked, key) for key in values}


def test_typed_converts_without_changing_what_was_meant() -> None:
    given_values = {"a": "7", "b": 2, "c": ["p", 3], "d": "y", "e": [1, 2], "f": {"k": 1}, "g": "/x", "h": [True]}
    assert typed(given_values) == {
        "a": 7, "b": 2.0, "c": ["p", "3"], "d": "y", "e": (1, 2), "f": {"k": 1.0}, "g": Path("/x"), "h": [True],
    }  # fmt: skip
    assert typed({"a": 1, "c": None, "b": "1e-3"}) == {"a": 1, "c": None, "b": 0.001}
    assert typed({"a": 1, "c": "one"})["c"] == "one"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "group.a is not set"),
        ({"a": "???"}, "group.a is not set"),
        ({"a": None}, "group.a is null"),
        ({"a": True}, "group.a is True"),
        ({"a": 1.5}, "group.a is 1.5"),
        ({"a": 1, "b": False}, "group.b is False"),
        ({"a": 1, "b": float("inf")}, "group.b is inf"),
        ({"a": 1, "d": "z"}, "There are: x, y"),
        ({"a": 1, "e": [1, "b"]}, r"group.e\[1\] is 'b'"),
        ({"a": 1, "f": {"k": []}}, "group.f"),
        ({"a": 1, "h": "true"}, "group.h"),
        ({"a": 1, "c": {"k": 1}}, r"group.c is {'k': 1} \(dict\). It takes a text or a list"),
        ({"a": 1, "aa": 2}, r"unknown key group.aa. Did you mean group.a\?"),
    ],
)
def test_typed_refuses(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        typed(values, "group")


def test_keywords_skip_the_bench_and_accept_any() -> None:
    assert set(model_of(example).model_fields) == set("abcdefgh")
    assert dict(validated(model_of(lambda **anything: None), {"x": 1})) == {"x": 1}


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text()))
def test_a_value_of_its_own_type_is_left_alone(value: object) -> None:
    model = create_model("Model", __base__=Options, k=(type(value), ...))
    assert value == "???" or validated(model, {"k": value}).k == value  # type: ignore[attr-defined]


# --- quoting -----------------------------------------------------------------------------------------------

PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp"), exclude_characters=",[]{}'\"$\\"),
    max_size=20,
)


@pytest.mark.parametrize(
    "text",
    [
        r"C:\data\x y", r"C:\Daten (1)\x", r"\\server\share\x", "/数据/厂 (二)", "a = b", "a (b)", "plan (1, 2)/x",
        "O'Brien", "[half", "half]", "a#b;c&d!", "1e5x", "2024_01", "007", "x\\", "数\\",
    ],
)  # fmt: skip
def test_a_text_arrives_as_it_was_typed(text: str) -> None:
    assert parse(quoted(f"k={text}")[2:]) == [text]


@pytest.mark.parametrize(
    "value",
    [
        "a", "4,8", "[a,b]", "{a: 1, b: 2}", "'x y'", '"a=b"', "${oc.env:X}", "range(1,4)", "choice(a,b)", "glob(*)",
        "a\\,b", "null", "true", "-1", "0.5", "interval(0,1)", "a b", "/data/x-1.csv", "http://127.0.0.1:80/x?y", "",
    ],
)  # fmt: skip
def test_what_hydra_understands_is_left_alone(value: str) -> None:
    assert quoted(f"k={value}") == f"k={value}"


def test_parts_are_quoted_one_by_one() -> None:
    assert quoted("k=[a b(c),数]") == "k=['a b(c)','数']"
    assert quoted("k={a: x(1)}") == "k={a:'x(1)'}"
    assert quoted("k=数,b") == "k='数',b"
    assert quoted("k=/d/${x}/数") == "k='/d/${x}/数'"
    assert quoted("+k=~/x") == f"+k={Path('~/x').expanduser()}"
    assert quoted("~windows") == "~windows"


@example_settings(max_examples=40)
@given(PATHS.map(str.strip).filter(lambda t: t and not t.startswith("~/") and "(" not in t and ")" not in t))
def test_any_path_arrives(text: str) -> None:
    arrived = parse(quoted(f"k={text}")[2:])
    assert arrived is not None
    value = arrived[0]
    assert value == text or str(value).lower() == text.lower() or (value is None and text.lower() == "null")


@example_settings(max_examples=40)
@given(st.lists(PATHS.map(lambda t: "p" + t.strip().replace(")", "").replace("(", "")), min_size=2, max_size=4))
def test_lists_and_sweeps_keep_their_parts(texts: list[str]) -> None:
    assert parse(quoted(f"k=[{','.join(texts)}]")[2:]) == [texts]
    sweep = (parse(quoted(f"k={','.join(texts)}")[2:]) or [None])[0]
    assert sweep is not None and [getattr(v, "text", v) for v in sweep.list] == texts


@example_settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=30))
def test_quoting_always_gives_what_hydra_reads_and_is_done_once(text: str) -> None:
    once = quoted(f"k={text}")
    assert quoted(once) == once
    assert not text.strip() or parse(once[2:]) is not None


# --- secrets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        "source.password=hunter2", "+source.api_key=abc", "review.token=abc", "hydra.job.env_set.MY_TOKEN=abc",
        "tracking.uri=postgresql://u:hunter2@h/db", "source.url='http://u:p@ss@h'", "source={password: hunter2}",
        "++x.secret='abc'",
    ],
)  # fmt: skip
def test_secrets_on_the_command_line_are_refused_by_name_only(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_secrets([word])
    key = word.lstrip("+").partition("=")[0]
    assert key in str(caught.value)
    assert "hunter2" not in str(caught.value) and "abc" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "review.token_env=LABEL_STUDIO_API_KEY", "source.password=${oc.env:DB_PASSWORD}", "source.password=null",
        "tracking.uri=http://127.0.0.1:5000", "prompt.max_tokens=10", "source.url=https://u@h/x", "task=train",
        "tracking.uri=postgresql://u:${oc.env:PW}@h/db",
    ],
)  # fmt: skip
def test_what_is_no_secret_passes(word: str) -> None:
    refuse_secrets([word])


def test_a_token_in_place_of_a_variables_name(options: Make) -> None:
    with pytest.raises(ConfigError, match=r"review\.token_env") as caught:
        options("review.token_env=deadbeefdeadbeefdeadbeefdeadbeefdeadbeef")
    assert "deadbeef" not in str(caught.value)


def test_secrets_are_masked_in_yaml_and_come_back_when_thawed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Callable[..., Workbench]
) -> None:
    local = tmp_path / "conf" / "local"
    local.mkdir(parents=True)
    (local / "default.yaml").write_text("# @package _global_\ntracking: {uri: 'postgresql://u:hunter2@h/db'}\n")
    monkeypatch.chdir(tmp_path)
    made = bench("source=synthetic", "adapter.r=5")
    assert "hunter2" not in made.config_yaml and f"u:{MASK}@h" in made.config_yaml
    assert made.tracking.uri == "postgresql://u:hunter2@h/db"
    again = bench("source=synthetic", "adapter.r=7").thaw(made.config_yaml)
    assert again.adapter.r == 5 and again.tracking.uri == made.tracking.uri
    assert again.config_yaml == made.config_yaml


def test_a_secret_variable_stays_unread_in_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("DB_HOST", "h")
    cfg = OmegaConf.create({"s": {"password": "${oc.env:DB_PASSWORD}", "url": "x://${oc.env:DB_HOST}", "key": 1}})
    assert yaml.safe_load(masked_yaml(cfg)) == {
        "s": {"password": "${oc.env:DB_PASSWORD}", "url": "x://h", "key": 1},
    }


def test_what_was_frozen_reads_no_variable_that_the_users_config_does_not(
    monkeypatch: pytest.MonkeyPatch, options: Make
) -> None:
    from dataclasses import replace

    from tsad.config import thawed

    monkeypatch.setenv("DB_PASSWORD", "hun${x}ter")
    made = options("source=synthetic")
    raw = yaml.safe_load(made.config_yaml)

    def current(password: str) -> Settings:
        source = {**made.groups["source"], "password": "hun${x}ter"}
        text = yaml.safe_dump({**raw, "source": {**raw["source"], "password": password}})
        return replace(made, groups={**made.groups, "source": source}, config_yaml=text)

    def source_of(frozen: dict[str, Any], now: Settings) -> Any:
        config = thawed(yaml.safe_dump({**raw, "source": {**raw["source"], **frozen}}), now.groups, now.config_yaml)
        return OmegaConf.to_container(config, resolve=True)["source"]  # type: ignore[index, call-overload]

    same = "${oc.env:DB_PASSWORD}"
    assert source_of({"password": same}, current(same))["password"] == "hun${x}ter"
    assert source_of({"password": MASK}, current(MASK))["password"] == "hun${x}ter", "taken as it is, read no further"
    for planted in ({"password": same}, {"start": "${oc.env:DB_PASSWORD}"}, {"list": ["${oc.env:HOME}"]},
                    {"start": "x${oc.decode:${oc.env:HOME}}"}):  # fmt: skip
        with pytest.raises(ConfigError, match=r"the frozen config reads .*source\.(password|start|list)"):
            source_of(planted, current(MASK))
    with pytest.raises(ConfigError, match=r"source\.start"):
        source_of({"start": same}, current(same)), "the same text at another key is another reading"


def test_masking_and_back() -> None:
    values = {"a": {"token": "t", "token_env": "T"}, "urls": ["x://u:p@h", "y"], "pwd": "", "n": 1}
    hidden = masked(values)
    assert hidden == {"a": {"token": MASK, "token_env": "T"}, "urls": [f"x://u:{MASK}@h", "y"], "pwd": "", "n": 1}
    assert unmasked({"a": hidden["a"]}, values, {})["a"] == values["a"]
    with pytest.raises(ConfigError, match=r"a\.token"):
        unmasked({"a": hidden["a"]}, {}, {})


def test_which_keys_are_secret() -> None:
    assert all(map(is_secret_key, ["password", "db.token", "API_KEY", "my_secret", "access_key", "passwd"]))
    assert not any(map(is_secret_key, ["token_env", "max_tokens", "password_file", "key", "tokens", "monkey", "r"]))


# --- the workbench -----------------------------------------------------------------------------------------


def test_workbench_of_a_plant(bench: Callable[..., Workbench], home: Path) -> None:
    made = bench("source=synthetic", "detector=robust_zscore", "review=simulated", "loop.name=厂 1")
    assert made.home == home and made.loop.name == "厂 1"
    assert made.make_detector().name and made.make_source().points()
    frozen = yaml.safe_load(made.config_yaml)
    assert set(frozen) == set(GROUPS) - set(UNFROZEN), "the verb's own keys are not part of an iteration's config"
    assert made.thaw(made.config_yaml).config_yaml == made.config_yaml


def test_what_the_user_typed(bench: Callable[..., Workbench]) -> None:
    made = bench("task=iterate", "new=true", "source=synthetic", "adapter.r=4", "hydra.verbose=false")
    assert made.overrides == ("source=synthetic", "adapter.r=4")


def test_token_of_a_shared_server(bench: Callable[..., Workbench], monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench("review=label_studio", "review.url=http://127.0.0.1:9", "review.token_env=MY_VARIABLE")
    monkeypatch.delenv("MY_VARIABLE", raising=False)
    with pytest.raises(ReviewError, match="MY_VARIABLE"):
        token(made.label_studio(), made.home)
    monkeypatch.setenv("MY_VARIABLE", "abc")
    assert token(made.label_studio(), made.home) == "abc"
    assert "abc" not in made.config_yaml


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "d": [1]}


def test_settings_of_a_partial_config() -> None:
    with pytest.raises(ConfigError, match="the config has no loop, source"):
        settings(OmegaConf.create({"adapter": {"r": 1}}))


def test_how_series_are_cached_is_not_frozen_with_an_iteration(options: Make, bench: Callable[..., Workbench]) -> None:
    made = options("source=synthetic", "cache.offline=only", "cache.memory_mb=5")
    assert made.overrides == ("source=synthetic",), "a bare verb stays bare: it goes on with the open iteration"
    frozen = bench("source=synthetic", "loop.name=p").config_yaml
    assert "offline" not in frozen
    from tsad.config import thawed

    again = settings(thawed(frozen, made.groups, made.config_yaml))
    assert (again.cache.offline, again.loop.name) == ("only", "p")
    older = yaml.safe_dump({k: v for k, v in yaml.safe_load(frozen).items() if k != "downsample"})
    before = settings(thawed(older, made.groups, made.config_yaml))
    assert before.downsample.method == "none", "an iteration from before the group was there"
    with pytest.raises(ConfigError, match="nobody may answer"):
        options("cache.offline=only", "cache.enabled=false")
