"""The generator's benchmark: it measures, and its page has a panel for every kind and labels none that is normal."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tsad.core.intervals import runs_of
from tsad.synthetic.anomalies import KINDS, MISSING
from tsad.synthetic.coupled import CORRELATION_BREAK


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "generator.py"
    spec = importlib.util.spec_from_file_location("benchmarks_generator", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    module.CHUNKS, module.MACHINES, module.CHUNK_POINTS = 4, 60, 2048
    return module


def test_windows_per_second_are_printed(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    bench.LENGTHS, bench.WORKERS = (64, 128), (0,)
    bench.speed(0.01)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["points", "in", "process", "windows/s"]
    assert [line.split()[0] for line in lines[1:]] == ["64", "128"]
    assert all(int(line.split()[1].replace(",", "")) > 10 for line in lines[1:])


def test_every_kind_has_a_panel_with_one_labelled_stretch(bench: ModuleType) -> None:
    panels = [*bench.kind_panels(0), bench.break_panel(0)]
    assert [panel.title for panel in panels] == [*KINDS[1:], CORRELATION_BREAK]
    for panel in panels:
        assert panel.values.shape == panel.labels.shape == panel.clean.shape
        assert len(runs_of(panel.labels.any(axis=1))) == 1
        assert np.isnan(panel.values).any() == (panel.title == MISSING)
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    bench.draw(axes, panels[-1])
    assert len(axes.lines) == 2 * panels[-1].values.shape[1] and len(axes.patches) == 1


def test_what_is_normal_carries_no_label_but_the_step_into_a_new_regime(bench: ModuleType) -> None:
    step, *others = bench.normal_panels(0)
    ((_, stop),) = runs_of(step.labels[:, 0])
    assert 0 < stop < len(step.labels) // 2 + 1
    assert len(others) == 7 and not any(panel.labels.any() for panel in others)
    assert all(np.isfinite(panel.values[:, -1]).sum() > 100 for panel in others)
