"""What the house's rules count in the code is zero, and the counting sees what it looks for."""

from __future__ import annotations

import ast

import house
import pytest

EVERY = house.counts()


@pytest.mark.parametrize("rule", EVERY)
def test_no_place_breaks_the_rule(rule: str) -> None:
    print(f"{len(EVERY[rule])} {rule}")
    assert EVERY[rule] == []


def test_the_package_is_read_whole() -> None:
    assert len(house.modules()) > 250 and len(list(house.functions())) > 2000
    assert "tsad.core.series" in house.imported("tsad.core.reviews")


def test_circles_are_seen() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a", "e"], "e": ["d"]}
    assert house.knots(graph) == [["b", "c"], ["d", "e"]]
    assert house.knots({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_what_runs_a_file_is_seen() -> None:
    text = (
        "import pickle\nfrom joblib import load\nimport torch, yaml, mlflow\ntorch.load(1)\ntorch.save(1)\n"
        "yaml.load(1)\neval('1')\nmlflow.pyfunc.load_model('x')\nmodel.eval()\nyaml.safe_load(1)\nevaluate(1)\nx.load()\n"
    )
    assert house.running(ast.parse(text)) == [1, 2, 4, 5, 6, 7, 8]


def test_consoles_and_writers_are_seen() -> None:
    text = "def f():\n    from rich.table import Table\n    print('x')\n    step.print('y')\n"
    assert house.consoles(ast.parse(text)) == [2, 3]
    text = "os.environ['A'] = 1\nx = os.environ['A']\nos.environ.update(A=1)\nos.environ.get('A')\ndel environ['A']\n"
    assert house.writing(ast.parse(text)) == [1, 3, 5]


def test_a_word_has_one_meaning() -> None:
    """The words that once had several; each is one class or function now."""
    meanings = house.meanings()
    words = "Reading Span runs_to_intervals() Part Choice Progress Evidence Judged Result Reviewer"
    for word in words.split():
        assert word not in meanings, meanings[word]
