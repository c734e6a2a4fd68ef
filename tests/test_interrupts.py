"""Ctrl-C and SIGTERM: the loop stops where nothing is lost, says how to go on, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from verbs_kit import call

from tsad.config import compose, settings
from tsad.config.workbench import Workbench
from tsad.core.control import StopRequested
from tsad.tracking.runs import LoopStore
from tsad.tracking.store import open_store
from tsad.verbs.interrupts import Interrupts

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=8", "source.points=1200", "windows.length=200",
    "sampling.windows=8", "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.9", "tracking.system_metrics=false",
)  # fmt: skip


def interrupted(home: Path, number: int, said: str, *words: str) -> tuple[int, str]:
    """``tsad WORDS``, sent a signal once it has said something; its exit code and its words on standard error."""
    env = {**os.environ, "TSAD_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tsad", *words]
    with subprocess.Popen(
        command, cwd=home.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if said in line:
                process.send_signal(number)
                break
        _, err = process.communicate(timeout=400)
    return process.returncode, err


@pytest.mark.timeout(900)  # two processes that import everything, on machines that are busy
@pytest.mark.usefixtures("stocked")
def test_a_loop_that_is_interrupted_goes_on(home: Path, bench: Callable[..., Workbench]) -> None:
    tracking = settings(compose(SMALL), SMALL).tracking
    code, err = interrupted(home, signal.SIGINT, "loop demo: iteration 1", "iterate", *SMALL)
    assert code == 130 and err.splitlines()[-1] == "error: interrupted. Go on with: tsad iterate loop.name=demo", err
    loop = LoopStore(open_store(tracking, home), "demo")
    assert loop.search("attributes.status = 'RUNNING'") == []
    code, err = interrupted(home, signal.SIGTERM, "going on with loop demo, iteration 1", "iterate")
    assert code == 130 and "tsad iterate loop.name=demo" in err, err
    assert loop.search("attributes.status = 'RUNNING'") == []
    state = call("iterate", bench("loop.name=demo"))  # as it said
    assert state.ended and len(state.iterations) == 1
    (iteration,) = LoopStore(open_store(tracking, home), "demo").iterations()
    assert iteration.state == "COMPLETED" and loop.search("attributes.status = 'RUNNING'") == []


def test_the_first_signal_waits_for_a_safe_point_and_the_second_does_not() -> None:
    control = Interrupts()
    with control.handled():
        control.safe_point()
        os.kill(os.getpid(), signal.SIGTERM)
        assert control.stopping
        with pytest.raises(StopRequested):
            control.safe_point()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_work_without_safe_points_is_interrupted_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    control = Interrupts()
    with control.handled(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before and not control.stopping


def test_other_threads_take_no_signals() -> None:
    before = signal.getsignal(signal.SIGTERM)
    inside = []

    def work() -> None:
        with Interrupts().handled():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]
