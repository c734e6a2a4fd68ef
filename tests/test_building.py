"""Objects built by the name that an artifact gives: nothing but detectors and proposers, whatever a store says."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tracking_rig import TinyDetector

from tsad.core.bases import DetectorBase, ProposerBase
from tsad.core.building import build
from tsad.core.errors import WeightsError
from tsad.core.moved import MOVED, current, recorded
from tsad.core.option_model import Options
from tsad.detectors.proposals.proposer import Proposer, default_proposer, to_state
from tsad.detectors.robust_zscore import RobustZScore
from tsad.tracking.pyfunc_model import load_folder

ROOT = Path(__file__).resolve().parents[1]
ZSCORE = {"_target_": "tsad.detectors.robust_zscore.RobustZScore", "half": 6.0, "window": 0}
THRESHOLD = {
    "rule": "fixed", "default": 0.5, "quantile": 0.99, "shrinkage": 10.0, "merge_gap": 3, "min_length": 1,
    "max_length": 0,
}  # fmt: skip
TRAP = "tsad_trap_that_no_artifact_may_import"
ATTACKS: list[Any] = [
    "os.system", "builtins.eval", "subprocess.Popen", "tsad.core.errors.os.system", "tsad.core.errors.annotations",
    "tsad.__main__.main", "tsad.cli.main", "tsad.verbs.clean.run", "tsad.core.series.Series",
    "tsad.core.bases.DetectorBase", "tsad.detectors.base.Detector", "tsad.detectors.base.Detector.__subclasses__",
    "tsad.detectors.base.squash",
    "tsad.detectors.robust_zscore.RobustZScore.score",
    "tsad.detectors.robust_zscore.RobustZScore.__init__.__globals__",
    "tsad.detectors.base.json.loads", "tsad.tracking.ui.subprocess.Popen", "tsadx.RobustZScore", "RobustZScore",
    "tsad.",
    ".tsad.x", "tsad..x", "tsad.core.errors:TsadError", "", None, 7, ["os", "system"], {"a": 1}, f"{TRAP}.Detector",
    "tsad.detectors.proposals.proposer.Proposer", "os.path.join", "tsad/detectors/base.Detector",
]  # fmt: skip


class WideOptions(Options):
    width: int


class Wide(RobustZScore):
    """A user's own detector, with an options model of its own."""

    options_model: ClassVar[type[Options]] = WideOptions


@pytest.mark.parametrize("target", ATTACKS, ids=repr)
def test_no_other_callable_is_built(target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{TRAP}.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'sprung')!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for arguments in ({"command": f"touch {tmp_path / 'sprung'}"}, {}):
        with pytest.raises(WeightsError, match=r"not built|has no tsad\."):
            build({"_target_": target, **arguments}, DetectorBase)
    assert TRAP not in sys.modules and not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("part", ["detector", "proposer"])
def test_an_artifact_that_names_a_command_runs_none(part: str, tmp_path: Path) -> None:
    described: dict[str, Any] = {
        "detector": ZSCORE, "base": {}, "threshold": 0.5, "threshold_options": THRESHOLD, "origin": {},
        "proposer": None, "adapter_sha256": None,
    }  # fmt: skip
    described[part] = {"_target_": "os.system", "command": f"touch {tmp_path / 'sprung'}"}
    path = tmp_path / "detector.json"
    path.write_text(json.dumps(described))
    with pytest.raises(WeightsError, match=r"names 'os.system'.*not built"):
        load_folder(path, None)
    assert not (tmp_path / "sprung").exists()


def test_a_module_is_imported_only_once_its_name_has_passed() -> None:
    code = (
        "import sys\nfrom tsad.core.bases import DetectorBase\nfrom tsad.core.building import located\n"
        "from tsad.core.errors import WeightsError\nbefore = set(sys.modules)\n"
        "for path in ('antigravity.Detector', 'tracking_rig.TinyDetector', 'tsad.__main__.main', 'tsad.core._x.Y'):\n"
        "    try:\n        located(path, DetectorBase)\n"
        "    except WeightsError:\n        continue\n    raise SystemExit(path)\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "print(located('tracking_rig.TinyDetector', DetectorBase, {'tracking_rig.TinyDetector'}).__name__)\n"
    )
    path = f"{ROOT}:{Path(__file__).parent}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    assert done.stdout.splitlines() == ["", "TinyDetector"]


def test_what_is_built_is_what_was_described() -> None:
    made = build(ZSCORE, DetectorBase)
    assert isinstance(made, RobustZScore) and made.describe() == ZSCORE
    tiny = {"_target_": "tracking_rig.TinyDetector", "weights": "x", "gain": 0.5}
    assert isinstance(build(tiny, DetectorBase), TinyDetector), "this process has imported it itself"
    wide = build({"_target_": f"{__name__}.Wide", "width": 5}, DetectorBase, {f"{__name__}.Wide"})
    assert isinstance(wide, Wide) and wide.settings.width == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {**ZSCORE, "hook": "x"}, {**ZSCORE, "half": "much"}, {**ZSCORE, "half": True}, {"_target_": ZSCORE["_target_"]},
        {"_target_": f"{__name__}.Wide", "width": 5, "more": 1}, {"_target_": f"{__name__}.Wide", "width": 5.5},
        {"_target_": f"{__name__}.Wide", "options": {}},
    ],
)  # fmt: skip
def test_other_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="does not take the options"):
        build(wrong, DetectorBase)


def test_a_proposer_is_built_from_its_state_under_its_old_name_too() -> None:
    state = json.loads(json.dumps(to_state(default_proposer("robust_zscore"))))
    for name in ("from_state", "Proposer"):
        described = {"_target_": f"tsad.detectors.proposals.proposer.{name}", "state": state}
        made = build(described, ProposerBase)
        assert isinstance(made, Proposer) and to_state(made) == state
    with pytest.raises(WeightsError, match="does not take"):
        build({"_target_": "tsad.detectors.proposals.proposer.Proposer", "calibrator": 1}, ProposerBase)


def test_the_table_of_moved_classes_leads_to_classes() -> None:
    for old in MOVED:
        assert current(old).startswith("tsad.") and recorded(current(old)) in MOVED
        module, _, name = current(old).rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type)
    assert current("a.B") == recorded("a.B") == "a.B"
