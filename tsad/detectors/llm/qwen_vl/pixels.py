"""Pictures as the patches that Qwen's vision towers take, without torchvision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsad.core.errors import DetectorError, WeightsError
from tsad.core.types import IntArray
from tsad.detectors.llm.render import Pictures

PREPROCESSOR = "preprocessor_config.json"
MOST_ASPECT = 200  # of a picture's longer side to its shorter one, in transformers' resizing
_REMEDY = "Use the preprocessor_config.json of the published checkpoint."


@dataclass(frozen=True, kw_only=True)
class Patching:
    """How a checkpoint wants its pictures.

    Attributes:
        mean, std: of red, green and blue in 0..1.
        patch: pixels along a side of a patch.
        merge: patches along a side of what becomes one token.
        frames: equal frames that a still picture stands for.
        fewest, most: pixels of a picture.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    patch: int
    merge: int
    frames: int
    fewest: int = 0
    most: int = 1 << 62

    @property
    def unit(self) -> int:
        """Pixels along a side of what becomes one token."""
        return self.patch * self.merge

    def check(self, height: int, width: int) -> None:
        """A picture of this size goes in as it is, so that nothing has to be resized and every column stays exact.

        Raises:
            DetectorError: it would have to be resized.
        """
        unit, pixels = self.unit, height * width
        if height % unit or width % unit or min(height, width) < unit:
            raise DetectorError(
                f"A picture of {width} x {height} pixels does not fit this model's tokens of {unit} x {unit}",
                f"Set detector.width and detector.height to multiples of {unit}.",
            )
        if not self.fewest <= pixels <= self.most:
            raise DetectorError(
                f"A picture of {width} x {height} is {pixels:,} pixels, and this model takes {self.fewest:,} to "
                f"{self.most:,}",
                "Set detector.width and detector.height so that their product lies between.",
            )
        if max(height, width) > MOST_ASPECT * min(height, width):
            raise DetectorError(
                f"A picture of {width} x {height} is more than {MOST_ASPECT} times as long as it is high",
                "Set detector.width and detector.height nearer to each other.",
            )

    def tokens(self, height: int, width: int) -> int:
        """Image tokens of a picture in the prompt."""
        return (height // self.unit) * (width // self.unit)


def patching_of(folder: Path, vision: Mapping[str, Any]) -> Patching:
    """What the checkpoint's ``preprocessor_config.json`` says.

    Args:
        vision: ``vision_config`` of its ``config.json``, which has to agree.

    Raises:
        WeightsError: the file or a value in it is missing, or it contradicts the network's configuration.
    """
    file = folder / PREPROCESSOR
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{file} is missing: how the model wants its pictures scaled is written there, and transformers' own "
            "default (CLIP's mean and deviation) need not be this checkpoint's",
            _REMEDY,
        ) from error
    except (ValueError, OSError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", _REMEDY) from error
    try:
        size = stated.get("size") or {}
        patching = Patching(
            mean=_triple(stated["image_mean"]), std=_triple(stated["image_std"]), patch=int(stated["patch_size"]),
            merge=int(stated["merge_size"]), frames=int(stated.get("temporal_patch_size", 2)),
            fewest=int(stated.get("min_pixels") or size.get("shortest_edge") or 0),
            most=int(stated.get("max_pixels") or size.get("longest_edge") or 1 << 62),
        )  # fmt: skip
        plain = all(stated.get(key, True) for key in ("do_rescale", "do_normalize"))
        factor = float(stated.get("rescale_factor", 1 / 255))
    except KeyError as error:
        raise WeightsError(f"{file} has no {error.args[0]}", _REMEDY) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{file} is corrupted: {error}", _REMEDY) from error
    if not plain or abs(factor * 255 - 1) > 1e-6:
        raise WeightsError(f"{file} wants its pictures scaled otherwise than to 0..1 and standardised", _REMEDY)
    _agree(file, patching, vision)
    return patching


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def _agree(file: Path, patching: Patching, vision: Mapping[str, Any]) -> None:
    """Where ``config.json`` is silent, transformers' defaults hold: 16, 2 and 2."""
    for name, stated, key, default in (
        ("patch_size", patching.patch, "patch_size", 16),
        ("merge_size", patching.merge, "spatial_merge_size", 2),
        ("temporal_patch_size", patching.frames, "temporal_patch_size", 2),
    ):
        if stated != vision.get(key, default):
            raise WeightsError(f"{file} says {name} {stated}, config.json {key} {vision.get(key, default)}", _REMEDY)


def pixel_values(pictures: Pictures, patching: Patching) -> tuple[NDArray[np.float32], IntArray]:
    """What ``Qwen2VLImageProcessor`` of transformers makes of pictures that need no resizing, to the last bit.

    Args:
        pictures: [B, H, W, 3], all of one size that :meth:`Patching.check` lets through.

    Returns:
        Patches [B * H/patch * W/patch, 3 * frames * patch * patch] in the order of the tokens, and ``image_grid_thw``
        [B, 3]: frames, rows and columns of patches.

    Raises:
        DetectorError: a size that would have to be changed.
    """
    count, height, width, _ = pictures.shape
    patching.check(height, width)
    patch, merge, unit = patching.patch, patching.merge, patching.unit
    cells = pictures.transpose(0, 3, 1, 2).reshape(
        count, 3, height // unit, merge, patch, width // unit, merge, patch
    )  # fmt: skip
    cells = np.ascontiguousarray(cells.transpose(1, 0, 2, 5, 3, 6, 4, 7)).reshape(3, -1, patch * patch)
    made = np.empty((cells.shape[1], 3, patching.frames, patch * patch), np.float32)
    for colour, table in enumerate(_tables(patching)):
        made[:, colour] = table[cells[colour]][:, None]  # equal frames
    grid = np.tile(np.array([[1, height // patch, width // patch]], np.int64), (count, 1))
    return made.reshape(len(made), -1), grid


def _tables(patching: Patching) -> NDArray[np.float32]:
    """[3, 256] what each shade of a colour becomes: to 0..1, then standardised, in transformers' order of steps."""
    shades = (np.arange(256, dtype=np.float64) / 255.0).astype(np.float32)
    mean, std = np.array(patching.mean, np.float32)[:, None], np.array(patching.std, np.float32)[:, None]
    return (shades - mean) / std
