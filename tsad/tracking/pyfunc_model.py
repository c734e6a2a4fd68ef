"""A detector version as an MLflow model: saved from code, loaded by ``mlflow.pyfunc`` or by the loop itself.

The model folder holds no pickle, no copy of the base weights and no path of the machine it was made on:
``artifacts/detector.json`` says how to build the detector (``_target_`` and keyword arguments), which base it stands on
(id, SHA-256), its threshold and its origin; ``artifacts/adapter/`` is the peft folder, absent for an unadapted base;
``artifacts/memory.parquet`` what people have called normal, absent where nothing reads it.

What ``predict`` takes and gives is said in ``frames.py``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from tsad import __version__
from tsad.core.bases import DetectorBase, ProposerBase
from tsad.core.building import build
from tsad.core.environment import set_environment
from tsad.core.errors import StorageError, WeightsError
from tsad.core.memory import NormalMemory
from tsad.core.options import ThresholdOptions
from tsad.core.options.threshold import kept_threshold
from tsad.core.proposing import PointThreshold
from tsad.core.protocols import Proposing
from tsad.core.series import Series
from tsad.core.types import Detection, FloatArray, Origin
from tsad.files.hashing import digest_of_file, digest_of_folder
from tsad.tracking.guard import guarded
from tsad.tracking.logged_models import DIGEST, create, fill
from tsad.tracking.memory_file import MEMORY, read_memory, write_memory
from tsad.tracking.recorder import plain
from tsad.tracking.registry import Registry, Version
from tsad.tracking.signature import signature_of
from tsad.tracking.steps import StepRun

MODEL, DETECTOR, ADAPTER = "model", "detector.json", "adapter"
CODE = Path(__file__).with_name("pyfunc_entry.py")


class AnyDetector(Protocol):
    """What this module needs of a detector."""

    def score(self, series: Sequence[Series]) -> list[FloatArray]: ...

    def detect(self, series: Sequence[Series], proposing: Proposing) -> Iterator[Detection]: ...

    def base_reference(self) -> Mapping[str, str]: ...

    def on_base(self, reference: Mapping[str, str]) -> AnyDetector: ...

    def with_adapter(self, folder: Path | None) -> AnyDetector: ...

    def with_memory(self, memory: NormalMemory | None) -> AnyDetector: ...


class AnyProposer(Protocol):
    """What makes proposals of a detector's scores; built like the detector."""

    def under(self, origin: Origin, language: Literal["en", "zh"] = "en") -> Proposing: ...


@dataclass(frozen=True)
class LoadedVersion:
    """A detector version, ready to score.

    Attributes:
        detector: under its adapter, with its memory.
        threshold: score from which a point counts as abnormal; fitted with this version.
        threshold_options: how its scores become intervals, where there is no proposer.
        proposer: what makes calibrated proposals of a detector's scores; ``None`` = points above the threshold.
        adapter: peft folder; ``None`` for an unadapted base.
        language: of the notes that people read beside proposals, en | zh.
    """

    detector: Any
    threshold: float
    threshold_options: ThresholdOptions
    origin: Origin
    adapter: Path | None
    proposer: AnyProposer | None = None
    language: Literal["en", "zh"] = "en"
    _keep: object = field(default=None, repr=False, compare=False)  # a temporary folder lives as long as this does

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        """Scores of each series, [T] in 0..1."""
        return list(self.detector.score(series))

    def detections(self, series: Sequence[Series]) -> list[Detection]:
        """Scores and proposals of each series, in the order given."""
        return list(self.detector.detect(series, self.proposing))

    @property
    def proposing(self) -> Proposing:
        """What its detector proposes by."""
        if self.proposer is not None:
            return self.proposer.under(self.origin, self.language)
        return PointThreshold(self.threshold, self.threshold_options, self.origin)


@dataclass(frozen=True, kw_only=True)
class Described:
    """What ``detector.json`` says of a detector version.

    Attributes:
        detector: ``Detector.describe()``.
        base: ``Detector.base_reference()``; the weights themselves are not copied.
        proposer: ``_target_`` and ``state`` of what makes proposals; ``None`` = points above the threshold.
        channels: names of the value columns that it was made for, for the signature that MLflow shows.
    """

    detector: Mapping[str, Any]
    base: Mapping[str, str]
    threshold: float
    threshold_options: Mapping[str, Any]
    origin: Mapping[str, Any]
    proposer: Mapping[str, Any] | None = None
    channels: Sequence[str] = ("value",)


def log_model(
    step_run: StepRun, described: Described, adapter: Path | None, folder: Path, memory: NormalMemory | None = None
) -> str:
    """Save a detector version and log it as a model of the step's run, where MLflow's Models tab lists it.

    See ``logged_models`` for the order of things, and for what becomes of it where it is killed.

    Args:
        adapter: its peft folder; ``None`` for an unadapted base.
        folder: scratch space, emptied before and deleted after; must not hold ``adapter``.
        memory: what people have called normal; ``None`` where nothing reads it.

    Returns:
        ``models:/<model_id>``.
    """
    _write_parts(described, adapter, memory, folder)
    digest = digest_of_file(folder / DETECTOR)
    origin, model = described.origin, folder / MODEL
    _save(step_run, described, adapter is not None, folder)
    name = f"{origin.get('detector', 'detector')}-{str(origin.get('dataset_version') or 'base')[:8]}"
    model_id = create(step_run.store, step_run.run_id, name, _shown(described))
    step_run.once(f"{DIGEST}.{step_run.run_id}", digest)
    make_portable(model, model_id)
    uri = fill(step_run.store, step_run.run_id, model_id, model)
    shutil.rmtree(folder, ignore_errors=True)
    return uri


def _shown(described: Described) -> dict[str, Any]:
    """What people compare between models."""
    options = {f"detector.{key}": value for key, value in described.detector.items() if key != "_target_"}
    base = {f"base.{key}": described.base[key] for key in ("id", "sha256") if key in described.base}
    return {
        "detector": described.detector["_target_"], **options, **base, "threshold": f"{described.threshold:.6f}",
        **{key: value for key, value in described.origin.items() if value and key != "detector"},
    }  # fmt: skip


def _save(step_run: StepRun, described: Described, adapted: bool, folder: Path) -> None:
    """The model as MLflow saves one, with tsad's version and its own beside it."""
    import mlflow
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    artifacts = {"detector": str(folder / DETECTOR)} | ({"adapter": str(folder / ADAPTER)} if adapted else {})
    artifacts |= {"memory": str(folder / MEMORY)} if (folder / MEMORY).exists() else {}
    signature, example = signature_of(described.channels)
    with guarded("saving the model", str(folder)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow asks for type hints and an input example on every save
        save_model(
            path=str(folder / MODEL),
            python_model=str(CODE),
            artifacts=artifacts,
            # Not ourselves: a stranger's package is called tsad, and tsad-loop comes from a checkout or a wheel.
            pip_requirements=[f"mlflow=={mlflow.__version__}"],
            signature=signature,
            input_example=example,
            mlflow_model=Model(artifact_path=MODEL, run_id=step_run.run_id),
            metadata={
                "tsad.version": __version__,
                "tsad.base": _without_path(described.base),
                "tsad.origin": plain(described.origin),
            },
        )


def make_portable(model: Path, model_id: str) -> None:
    """Take out of a saved model's ``MLmodel`` where it was made, and write in which LoggedModel it is; close its files,
    of which MLflow has copied our code with the rights that it has where tsad is installed.

    MLflow finds the parts by their paths below the folder; ``artifacts.*.uri``, ``model_code_path`` and
    ``artifact_path`` are only told.
    """
    import yaml

    path = model / "MLmodel"
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    told.pop("artifact_path", None)
    told["model_id"] = model_id
    function = told["flavors"]["python_function"]
    function["model_code_path"] = Path(function["model_code_path"]).name
    for part in function["artifacts"].values():
        part["uri"] = part["path"]
    path.write_text(yaml.safe_dump(told, sort_keys=False, allow_unicode=True), encoding="utf-8")
    for part in model.rglob("*"):
        part.chmod(part.stat().st_mode & 0o700)


def _without_path(base: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in base.items() if key != "path"}


def _write_parts(described: Described, adapter: Path | None, memory: NormalMemory | None, folder: Path) -> None:
    """``detector.json``, adapter and memory, as they go into the model."""
    content = plain(described)
    content.pop("channels")
    content["base"] = _without_path(described.base)
    content["threshold"] = float(described.threshold)
    content["adapter_sha256"] = digest_of_folder(adapter) if adapter else None
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if adapter is not None:
            shutil.copytree(adapter, folder / ADAPTER)
        if memory is not None:
            content["memory_sha256"] = write_memory(memory, folder / MEMORY)
        (folder / DETECTOR).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"The model cannot be saved in {folder} ({error})", "Free some space and go on.") from error


def load_version(registry: Registry, version: Version, *, allowed: Collection[str] = ()) -> LoadedVersion:
    """A registered version, checked and ready to score; its origin carries the version's name.

    Args:
        allowed: dotted paths of classes outside tsad that may be built: those that the user's own config names.

    Raises:
        RegistryError: its files were pruned.
        WeightsError: base weights, adapter or description are missing, or are not those it was made with; or it names
            a class that may not be built.
    """
    keep = tempfile.TemporaryDirectory(prefix="tsad-model-")
    digest = registry.digest_of(version)
    model = registry.fetch(version, Path(keep.name))
    if digest is not None and digest_of_file(model / "artifacts" / DETECTOR) != digest:
        raise WeightsError(
            f"The description of {version.label} is not the one that was registered (SHA-256)",
            "Somebody has changed its files: restore them from a backup, or go back with `tsad rollback`.",
        )
    loaded = load_folder(model / "artifacts" / DETECTOR, model / "artifacts" / ADAPTER, version.label, allowed)
    return replace(loaded, _keep=keep)


def load_folder(
    description: Path, adapter: Path | None, model_version: str = "", allowed: Collection[str] = ()
) -> LoadedVersion:
    """A detector version from its files.

    Args:
        description: ``detector.json``; the memory, where it names one, lies beside it.
        adapter: the peft folder; may be missing for an unadapted base.
        model_version: ``<name>:<number>``, "" where only the files are known.
        allowed: see :func:`load_version`.
    """
    set_environment()  # older copies of pyfunc_entry.py do not
    described, threshold_options = _read_description(description)
    digest = described["adapter_sha256"]
    if digest is not None and (adapter is None or digest_of_folder(adapter) != digest):
        raise WeightsError(
            f"The adapter {adapter} is missing or damaged: it is not the one that was registered",
            "Restore it from a backup, or go back with `tsad rollback`.",
        )
    detector: Any = build(described["detector"], DetectorBase, allowed)  # type: ignore[type-abstract]
    detector = detector.on_base(described["base"])
    check_base(detector, described["base"])
    if digest is not None:
        detector = detector.with_adapter(adapter)
    if recalled := described["memory_sha256"]:
        detector = detector.with_memory(read_memory(description.with_name(MEMORY), recalled))
    return LoadedVersion(
        detector,
        described["threshold"],
        threshold_options,
        _origin(described["origin"], model_version),
        adapter if digest is not None else None,
        _proposer(described["proposer"], allowed),
    )


class _Description(BaseModel):
    """The shape of ``detector.json``: whoever wrote it, parts of another kind are refused before any is used."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    detector: dict[str, Any]
    base: dict[str, str]
    threshold: float
    threshold_options: dict[str, Any]
    origin: dict[str, str | None]
    adapter_sha256: str | None
    proposer: dict[str, Any] | None = None
    memory_sha256: str | None = None


def _read_description(path: Path) -> tuple[dict[str, Any], ThresholdOptions]:
    try:
        described = _Description.model_validate_json(path.read_text(encoding="utf-8")).model_dump()
        return described, kept_threshold(described["threshold_options"])
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"The model's description {path} cannot be read ({error})", "Restore it, or promote another version."
        ) from error


def _origin(origin: Mapping[str, Any], model_version: str) -> Origin:
    return Origin(
        detector=origin.get("detector", ""),
        model_version=model_version or f"{origin.get('detector', '')}:unregistered",
        dataset_version=origin.get("dataset_version"),
        config_hash=origin.get("config_hash", ""),
    )


def _proposer(description: Mapping[str, Any] | None, allowed: Collection[str]) -> Any:
    if not description:
        return None
    return build(description, ProposerBase, allowed)  # type: ignore[type-abstract]


def check_base(detector: AnyDetector, expected: Mapping[str, str]) -> None:
    """Make sure that the base under a detector is the one its adapter and threshold were made for.

    Raises:
        WeightsError: naming the path and both hashes.
    """
    if not expected:
        return
    found = detector.base_reference()
    if found.get("sha256") != expected.get("sha256"):
        raise WeightsError(
            f"The base weights {found.get('path', '')} ({found.get('id', '')}) have SHA-256 "
            f"{str(found.get('sha256', ''))[:12]}..., the model was made on {expected.get('sha256', '')[:12]}...",
            f"Put back the weights it was made on ({expected.get('id', '')}), or train again on the new ones.",
        )
