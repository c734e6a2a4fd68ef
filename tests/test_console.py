"""What people see: tables that fit, figures as they are read, colours, names that stay names, how far work is."""

from __future__ import annotations

import io
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tsad.cli import Lines
from tsad.core.control import StopRequested
from tsad.core.printing import cells, decimals, printable, shortened, wrapped
from tsad.verbs import foot as foot_module
from tsad.verbs.console import Console
from tsad.verbs.foot import ERASE, Foot
from tsad.verbs.progress import TerminalProgress, Watched
from tsad.verbs.tables import figure, seconds_text, table_lines

HOSTILE = ["[/]", "[red]x", "[bold", "\x1b[31mred", "\x9b31m", "a\rb", "\u202eabc", "\udc80", "名" * 30, "x" * 90]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


# --- tables ------------------------------------------------------------------------------------------------

ITERATIONS = [
    {
        "iteration": k, "reviewed": 24 + k, "point P": 0.5, "point R": 0.25, "point F1": 1 / 3, "interval P": 0.6,
        "interval R": 1.0, "interval F1": 0.564, "composite F1": 0.41, "champion": f"v{k}", "verdict": "kept",
        "seconds": 123,
    }
    for k in range(8, 12)
]  # fmt: skip
SERIES = [
    {
        "point": f"plant/unit-{k}/{'very-long-name-' * 4}{k}.PV", "points": 123_456, "from": "2026-01-01 00:00",
        "to": "2026-02-01 00:00", "labels": None, "missing": "0.2%", "found": "warning gap: " + "12 h are missing " * 9,
        "source": f"csv:/data/{'folder/' * 12}{k}",
    }
    for k in range(3)
]  # fmt: skip
MANY = [{f"column {k}": k * 1000 for k in range(30)}]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("rows", "spare"),
    [(ITERATIONS, ["point R", "interval R", "point P", "interval P", "point F1"]), (ITERATIONS, []), (SERIES, []),
     (MANY, []), ([{"point": name, "value": 0.5} for name in HOSTILE], [])],
)  # fmt: skip
def test_every_table_fits_with_headers_and_numbers_whole(rows: Any, spare: list[str], width: int) -> None:
    lines = table_lines(rows, width, "a title", spare)
    assert max(map(cells, lines)) <= width
    text = "\n".join(lines)
    gone = re.findall(r"not shown: (.*);", text)
    for key in rows[0]:
        assert re.search(rf"(^|  ){re.escape(key)}($|  )", text, re.MULTILINE) or key in gone[0]
    for row in rows:
        for key, value in row.items():
            if isinstance(value, int) and not (gone and key in gone[0]):
                assert re.search(rf"(?<!\d){value}(?!\d)", text)


def test_what_a_narrow_terminal_does_without_is_said_and_nothing_else_is_left_out() -> None:
    spare = ["point R", "point P"]
    assert "not shown" not in "\n".join(table_lines(ITERATIONS, 160, "", spare))
    lines = table_lines(ITERATIONS, 80, "", spare)
    assert lines[-1].startswith("(not shown: point R, point P") and sum("iteration" in line for line in lines) == 2


def test_names_are_cut_in_the_middle_and_sentences_wrapped_at_words() -> None:
    text = "\n".join(table_lines(SERIES, 80))
    assert all(re.search(rf"plant\S*….*?{k}\.PV", text) for k in range(3))
    assert "missing" in text and "missi\n" not in text
    assert [shortened(t, 5) for t in ("abcdefghij", "名名名名", "abcde")] == ["ab…ij", "名…名", "abcde"]


def test_columns_are_those_of_all_rows() -> None:
    assert table_lines([{"a": 1}, {"a": 2, "b": 3}], 80)[2:] == ["1  -", "2  3"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.564, ".564"), (-0.22, "-.220"), (1.0, "1.000"), (0.0, ".000"), (0.99996, "1.000"), (1.23456, "1.23"),
     (12.345, "12.3"), (1234.5, "1234"), (3e-4, "3e-04"), (-0.99996, "-1.000")],
)  # fmt: skip
def test_figures_without_false_precision(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "+.250"), (-0.0312, "-.031"), (0.0, "+.000"), (0.9999, "+1.000"), (-1.0, "-1.000")]
)
def test_differences_carry_their_sign(value: float, text: str) -> None:
    assert decimals(value, sign="+") == text


def test_seconds_are_whole() -> None:
    assert [seconds_text(s) for s in (0.4, 8.4, 61, 3720)] == ["0 s", "8 s", "1 min 1 s", "1 h 2 min"]


def test_lines_are_wrapped_between_words_and_tokens_stay_whole() -> None:
    url = "http://127.0.0.1:8080/" + "x" * 80
    assert wrapped(f"review at {url} now", 40, "  ") == ["review at", f"  {url}", "  now"]
    assert wrapped("  kept blanks", 80) == ["  kept blanks"]


# --- names are data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_names_are_shown_never_obeyed(
    name: str, stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = stream()
    console = Console(out=out)
    console.say(f"wrote {name}")
    console.table([{"point": name, "value": 1.0}], f"title {name}")
    monkeypatch.setattr(sys, "stderr", stream())
    Lines(Foot()).handle(logging.LogRecord("tsad", logging.WARNING, "", 0, "left out %s", (name,), None))
    for text in (out.getvalue(), sys.stderr.getvalue()):  # type: ignore[attr-defined]
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
        assert printable(name)[:4] in text
    assert f"wrote {printable(name)}" in " ".join(out.getvalue().split("\n")).replace("   ", " ")


def test_a_stream_that_cannot_say_it_gets_something_readable() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Console(out=out).table([{"point": "名", "b": 1}], "Größe")
    out.flush()
    assert raw.getvalue().decode("ascii").splitlines()[2].startswith("---") and b"\\u540d" in raw.getvalue()


# --- colours -----------------------------------------------------------------------------------------------


def test_verdicts_are_coloured_in_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"iteration": at, "verdict": verdict} for at, verdict in enumerate(("promoted", "kept", "FAILED"))]

    def drawn(stream: io.StringIO) -> str:
        console = Console(out=stream)
        console.table(rows)
        console.say("iteration 2: champion kept: promotedness, kept.csv and kept=1 are names")
        return stream.getvalue()

    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = drawn(Terminal())
    assert text.count("\x1b[32mpromoted\x1b[0m") == 1 and text.count("\x1b[33m") == 2
    assert "\x1b[33mchampion kept\x1b[0m" in text and "\x1b[31mFAILED\x1b[0m" in text
    assert "\x1b" not in drawn(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in drawn(Terminal())


def test_only_a_terminal_of_one_s_own_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Console(out=Terminal()).private
    assert not Console(out=io.StringIO()).private
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert not Console(as_json=True, out=Terminal()).private


# --- how far work is ---------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DELAY", "EVERY", "PLAIN_DELAY", "PLAIN_EVERY"):
        monkeypatch.setattr(foot_module, name, 0.01)


def watched(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> tuple[TerminalProgress, Console]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", stream)
    foot = Foot()
    console = Console(out=io.StringIO(), foot=foot)
    return TerminalProgress(console, foot), console


def test_a_terminal_has_one_live_line_of_the_innermost_part(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    progress, _ = watched(stream, monkeypatch)
    with progress.command("iterate"):
        time.sleep(0.1)
        with progress.task("iteration 1, detect"), progress.task("scoring \x1b[31m[/]", 8) as done:
            done(3)
            time.sleep(0.1)
            progress.note("a note")
        time.sleep(0.1)
    text = stream.getvalue()
    lines = text.split(ERASE)
    assert all(cells(line) < 80 and "\n" not in line for line in lines)
    assert any(re.fullmatch(r". iterate  \d s", line) for line in lines)
    wanted = r". iteration 1, detect · scoring \\x1b\[31m\[/\]  (━+ +)?3 of 8, [\d.]+/s, \d+ s left"
    assert any(re.fullmatch(wanted, line) for line in lines), lines
    assert text.endswith(ERASE), "no trace of it stays"


def test_elsewhere_each_part_is_a_plain_line(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    progress, _ = watched(stream, monkeypatch)
    with progress.command("iterate"), progress.task("iteration 1, detect"), progress.task("scoring series", 8) as done:
        done(2)
        time.sleep(0.1)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["iteration 1, detect", "  scoring series: 8"] and "\x1b" not in stream.getvalue()
    assert re.fullmatch(r"scoring series: 2 of 8, [\d.]+/s, \d+ s left", lines[2])


def test_work_is_seen_within_two_seconds_and_from_then_on() -> None:
    assert foot_module.DELAY + foot_module.EVERY < 1.5 and foot_module.PLAIN_DELAY < 1.5


def test_the_line_ends_with_the_work_whatever_ends_it(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    progress, _ = watched(stream, monkeypatch)
    with pytest.raises(StopRequested), progress.command("detect"), progress.task("scoring"):
        time.sleep(0.05)
        raise StopRequested
    said = stream.getvalue()
    time.sleep(0.1)
    assert stream.getvalue() == said and said.endswith(ERASE)


def test_figures_of_a_part() -> None:
    part = Watched("x", 10, 2, 2, begun=time.monotonic() - 4)
    assert part.figures() == "2 of 10, 4 s"
    part.count = 6
    assert part.figures() == "6 of 10, 1.00/s, 4 s left" or part.figures() == "6 of 10, 1.000/s, 4 s left"
    part.count = 3
    assert part.figures() == "3 of 10, 15.0/min, 28 s left"
    assert Watched("x", None, 0, 0).figures() == "0 s"


def test_context_counts_to_the_end(tmp_path: Path) -> None:
    from tsad.core.context import Context

    class Counting:
        def __init__(self) -> None:
            self.counts: list[int] = []

        def task(self, name: str, total: int | None = None, done: int = 0) -> Any:
            from contextlib import nullcontext

            return nullcontext(self.counts.append)

        def note(self, text: str) -> None: ...

    watching = Counting()
    assert list(Context(progress=watching).each("abc", "x", 3)) == list("abc") and watching.counts == [0, 1, 2, 3]
