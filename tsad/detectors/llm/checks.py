"""What is looked at before transformers is imported."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util

from tsad.core.errors import DetectorError

TORCHVISION = "torchvision"


def check_torchvision() -> None:
    """Refuse a torchvision that is installed and cannot be imported: with it no model of transformers can be, either.

    tsad itself needs none. Where none is installed nothing happens.

    Raises:
        DetectorError: with both versions and what torchvision says, e.g. ``operator torchvision::nms does not exist``,
            which is how a build for another torch looks.
    """
    if importlib.util.find_spec(TORCHVISION) is None:
        return
    try:
        importlib.import_module(TORCHVISION)
    except Exception as error:  # RuntimeError, ImportError, OSError: whatever its compiled part cannot do
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DetectorError(
            f"torchvision {_version(TORCHVISION)} cannot be imported beside torch {_version('torch')} ({said}), and "
            "while it is installed no model of transformers can be",
            "Run pip uninstall torchvision (tsad needs none), or install the build that goes with this torch.",
        ) from error


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"
