"""What a running ``tsad watch`` talks to is restarted under it: Label Studio, then the MLflow server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Studio, free_port
from second_studio import copied, killed, until
from test_tracking_server import Server
from test_watching import PATIENCE, SMALL, Terminal, project_of, submit_all, unanswered

from tsad.config.workbench import Workbench
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.review.label_studio import server as label_studio

pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]


@pytest.fixture
def second(studio: Studio, tmp_path: Path) -> Iterator[Studio]:
    """A copy of the session's Label Studio, to be killed."""
    home = tmp_path / "studio"
    home.mkdir()
    copied(studio.home, home)
    url = label_studio.start(home, free_port())
    yield Studio(home, url, label_studio.read_credentials(home))
    label_studio.stop(home)


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "tracking"
    folder.mkdir()
    made = Server(folder)
    made.start()
    yield made
    made.kill()


def test_a_watcher_outlives_restarts_of_label_studio_and_mlflow(
    bench: Callable[..., Workbench], second: Studio, tracking: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", second.token)
    at = ("tracking=server", f"tracking.uri={tracking.url}", "tracking.timeout_seconds=12", "tracking.plots=0",
          "tracking.system_metrics=false")  # fmt: skip
    one = bench(*SMALL, *at, "loop.name=restarts", "review=label_studio", f"review.url={second.url}",
                "review.patience=0.5")  # fmt: skip
    assert iterate(one).waiting is not None
    project, terminal = project_of(one), Terminal(home, second, "restarts")
    watcher = terminal.start("watch", "watch.poll_seconds=1", *at)
    try:
        until(PATIENCE, lambda: "not yet" in terminal.said() or watcher.poll() is not None)
        assert watcher.poll() is None, terminal.said()
        killed(second.home)
        until(PATIENCE, lambda: "Label Studio" in _faults(terminal))
        assert label_studio.start(second.home) == second.url, "where it was"
        tracking.kill()
        until(PATIENCE, lambda: tracking.url in _faults(terminal))
        tracking.start()
        assert watcher.poll() is None, terminal.said()
        submit_all(second, project)
        until(PATIENCE, lambda: len(open_loop(one).iterations()) == 2 and len(unanswered(second, project)) == 6)
        assert terminal.stop(watcher) == 0, terminal.said()
    finally:
        watcher.kill()
    first, next_one = open_loop(one).iterations()
    assert (first.state, next_one.state) == ("COMPLETED", "REVIEWING")
    assert "iterations completed meanwhile: 1" in terminal.said()


def _faults(terminal: Terminal) -> str:
    """What it says is away."""
    return "\n".join(line for line in terminal.said().splitlines() if "tried again in" in line)
