"""The newcomer's hour in a terminal of 80 columns: eight unlabelled CSVs, the studio, reviews, a verdict."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Studio, unavailable
from test_label_studio import annotate, times_of

from tsad.config import compose, settings, workbench
from tsad.core.intervals import intervals_to_mask, runs_of
from tsad.core.printing import cells
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.review.label_studio import server
from tsad.verbs.foot import ERASE

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
COLUMNS, SERIES, POINTS, ROUNDS = 80, 8, 1500, 4
SILENCE = 10.0  # seconds without a sign of life at most; more where the machine is so busy that commands begin as late
COLOUR = re.compile(r"\x1b\[\d*m")


@dataclass
class Screen:
    """What a command wrote to its terminal, and how it ended.

    Attributes:
        begun: seconds until its first sign of life.
        silent: the longest time without one after that; ``last`` is what had been written before it.
    """

    text: str
    begun: float
    silent: float
    last: str
    code: int

    @property
    def lines(self) -> list[str]:
        """The lines that stay, without colours."""
        return [COLOUR.sub("", line.split(ERASE)[-1]).rstrip("\r") for line in self.text.split("\n")]

    @property
    def drawn(self) -> list[str]:
        """Every line that was there at some time."""
        return [COLOUR.sub("", part).rstrip("\r") for line in self.text.split("\n") for part in line.split(ERASE)]

    @property
    def said(self) -> str:
        """The lines that stay, wrapped ones joined."""
        return re.sub(r"\s+", " ", " ".join(self.lines))


class Newcomer:
    """Somebody with a folder of CSVs, a store of their own and a terminal of 80 columns."""

    def __init__(self, place: Path) -> None:
        self.place, self.home, self.folder = place, place / "store", place / "plant"
        self.truth: dict[str, Series] = {}

    def tsad(self, *words: str) -> Screen:
        """The command in the terminal, watched to its end."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        dropped = ("COLUMNS", "LINES", "NO_COLOR", "TSAD_HOME")
        env = {k: v for k, v in os.environ.items() if k not in dropped}
        env |= {"TSAD_HOME": str(self.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm"}
        done = subprocess.Popen(
            [sys.executable, "-m", "tsad", *words], cwd=self.place, env=env, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        pieces: list[bytes] = []
        gaps: list[tuple[float, bytes]] = []  # seconds before a piece, and the piece before that
        last = time.monotonic()
        while True:
            ready, _, _ = select.select([ours], [], [], 300.0)
            assert ready, f"{words} says nothing: {pieces[-1:]}"
            gaps.append((time.monotonic() - last, pieces[-1] if pieces else b""))
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                piece = b""
            if not piece:
                break
            pieces.append(piece)
            last = time.monotonic()
        os.close(ours)
        silent, before = max(gaps[1:])
        text = b"".join(pieces).decode("utf-8")
        return self.checked(Screen(text, gaps[0][0], silent, before.decode("utf-8", "replace"), done.wait(60)), words)

    def checked(self, screen: Screen, words: tuple[str, ...]) -> Screen:
        """What every screen keeps to: no line is wider than the terminal, and nobody wonders whether it still works."""
        gap = f"(began after {screen.begun:.1f} s, silent for {screen.silent:.1f} s after {screen.last[-60:]!r})"
        print(f"$ tsad {' '.join(words)}\n" + "\n".join(screen.lines) + gap)
        wide = [line for line in screen.drawn if cells(line) > COLUMNS and len(line.split()) > 1]
        assert not wide, wide
        assert screen.silent < max(SILENCE, 2 * screen.begun), f"{words}: {gap}"
        return screen

    def cut_series(self) -> None:
        """Eight CSVs of a simulated plant, without a label; what is abnormal in them stays here."""
        overrides = ["source=synthetic", f"source.series={SERIES}", f"source.points={POINTS}"]
        self.folder.mkdir()
        for read in workbench(settings(compose(overrides), overrides)).make_source().read():
            series = getattr(read, "series", None)
            if series is None:
                continue
            rows = (f"{format_time(t)},{v:.5g}" for t, v in zip(series.timestamps, series.values[:, 0], strict=True))
            (self.folder / f"{series.point_id}.csv").write_text("timestamp,value\n" + "\n".join(rows) + "\n", "utf-8")
            self.truth[series.point_id] = series

    def studio(self) -> Studio:
        """The embedded Label Studio of this store, as it runs."""
        state = server.status(self.home)
        assert state is not None
        return Studio(self.home, str(state["url"]), server.read_credentials(self.home))

    def answer(self, project: int) -> int:
        """Correct every task that nobody has answered, as somebody who knows the plant would; how many."""
        studio, count = self.studio(), 0
        for task in tasks_of(studio, project):
            if not task["total_annotations"] and not task["cancelled_annotations"]:
                annotate(studio, task, *self.spans(task))
                count += 1
        return count

    def spans(self, task: dict[str, Any]) -> list[tuple[str, str]]:
        """First and last abnormal instant of each run in the task's window, as Label Studio shows them."""
        series = self.truth[task["data"]["point_id"]]
        shown = times_of(task)
        first = np.datetime64(shown[0].replace(" ", "T"), "ns").astype(np.int64)
        at = int(np.searchsorted(series.timestamps, first))
        abnormal = intervals_to_mask(series.labels or (), series.timestamps)[at : at + len(shown)]
        return [(shown[a], shown[b - 1]) for a, b in runs_of(abnormal)]


def tasks_of(studio: Studio, project: int) -> list[dict[str, Any]]:
    """The project's tasks in the order in which people open them."""
    asked = {"project": project, "page_size": 500, "fields": "all"}
    return sorted(studio.call("GET", "/api/tasks/", params=asked)["tasks"], key=lambda task: task["id"])


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """With a store that is empty; its server is stopped in the end."""
    try:
        server.require_package()
    except Exception as error:
        unavailable(str(error))
    made = Newcomer(tmp_path)
    yield made
    server.stop(made.home)


@pytest.mark.timeout(3000)
def test_the_first_hour(newcomer: Newcomer) -> None:
    newcomer.cut_series()
    assert newcomer.tsad().lines[-2].startswith("next: tsad iterate")

    opened = newcomer.tsad("studio")
    studio = newcomer.studio()
    for shown in (studio.url, studio.credentials.user, studio.credentials.password):
        assert shown in opened.said
    assert any("waiting for Label Studio" in line for line in opened.drawn)

    first = newcomer.tsad("iterate", f"source.root={newcomer.folder}", "loop.name=plant")
    assert first.code == 3, "people have to review"
    for stage in ("iterate  ", "iteration 1, detect", "iteration 1, push"):  # their parts may be over before one looks
        assert any(stage in line for line in first.drawn), f"{stage} is not seen"
    url = re.search(r"\S+/projects/(\d+)/data", first.said)
    assert url is not None
    project = int(url[1])
    tasks = tasks_of(studio, project)
    with_proposals = [task for task in tasks if task["data"]["purpose"] == "train"]
    assert tasks[0] in with_proposals, "the first task that a person opens has a proposal"
    assert 0 < len(tasks) - len(with_proposals) < len(with_proposals), "gold is the smaller part"
    waiting = newcomer.tsad()
    assert f"{len(with_proposals)} pending" in waiting.said, "blind ones are counted apart"
    assert f"next: review {len(tasks)} windows at {url[0]}" in waiting.said

    for _ in range(ROUNDS):
        assert newcomer.answer(project) > 0, "there is something to answer"
        went_on = newcomer.tsad("iterate")
        assert went_on.code in (0, 3) and "loop plant" in went_on.said
        verdict = re.search(r"iteration \d+: (.*?)(?= loop plant| iteration \d+)", went_on.said)
        assert verdict is not None, "what became of it is said"
        if verdict[1].startswith("promoted"):
            assert "\x1b[32mpromoted\x1b[0m" in went_on.text
            break
        missing = re.search(r"what is missing: .*?\d|\d+ (more|gold)|no challenger", went_on.said)
        assert missing, f"it says what is missing: {went_on.said}"
        assert "\x1b[33m" in went_on.text, "kept is yellow"
        if went_on.code == 0:
            break
    ended = newcomer.tsad()
    assert "next: " in "\n".join(ended.lines[-4:]), "what to do next comes last"
    assert newcomer.tsad("studio", "action=stop").code == 0
