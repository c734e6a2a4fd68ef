"""Blocks as pictures in prompts: pixel values of transformers, sizes, and where points lie in an answer."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tsad.core.errors import DetectorError, WeightsError
from tsad.detectors.llm.qwen_vl.pixels import PREPROCESSOR, Patching, patching_of, pixel_values
from tsad.detectors.llm.qwen_vl.reader import Drawing, QwenVLReader
from tsad.detectors.llm.qwen_vl.tiny import TOKENS, write_preprocessor
from tsad.detectors.llm.reader import Block
from tsad.detectors.llm.render import COLOURS, render
from tsad.detectors.llm.tiny import tokenizer

VISION = {"patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}
PATCHING = Patching(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), patch=16, merge=2, frames=2)
DRAWING = Drawing(
    width=0, height=0, stretch=4, most_tokens=1024, channels=1, paper=160, ticks=0, numbers=False, columns=False,
    captions=False,
)  # fmt: skip


def reader(patching: Patching = PATCHING, **changes: Any) -> QwenVLReader:
    tok = tokenizer()
    image, before, after = tok.convert_tokens_to_ids([TOKENS[0], TOKENS[2], TOKENS[3]])
    return QwenVLReader(tok, (image, before, after), patching, replace(DRAWING, **changes))


def block(length: int, channels: int = 1) -> Block:
    values = np.random.default_rng(length).standard_normal((length, channels))
    return Block(values, tuple(f"c{k}" for k in range(channels)))


@pytest.mark.parametrize(("patch", "merge", "frames"), [(16, 2, 2), (14, 2, 2), (8, 4, 1)])
def test_pixel_values_are_those_of_transformers(patch: int, merge: int, frames: int) -> None:
    from transformers import Qwen2VLImageProcessorPil

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    unit = patch * merge
    pictures = np.random.default_rng(0).integers(0, 256, (3, 2 * unit, 5 * unit, 3)).astype(np.uint8)
    pictures[0].reshape(-1, 3)[:256] = np.arange(256)[:, None]  # every shade
    theirs = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=merge, temporal_patch_size=frames, image_mean=mean, image_std=std,
        size={"shortest_edge": 1, "longest_edge": 10**8},
    )([Image.fromarray(p) for p in pictures], return_tensors="np")  # fmt: skip
    pixels, grid = pixel_values(pictures, Patching(mean=mean, std=std, patch=patch, merge=merge, frames=frames))
    assert pixels.dtype == np.float32 and np.abs(pixels - theirs["pixel_values"]).max() < 1e-6
    assert np.array_equal(grid, theirs["image_grid_thw"])


def test_the_checkpoint_says_how(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json is missing.*CLIP"):
        patching_of(tmp_path, VISION)
    write_preprocessor(tmp_path)
    assert patching_of(tmp_path, VISION) == replace(PATCHING, fewest=1024, most=1 << 24)
    stated = json.loads((tmp_path / PREPROCESSOR).read_text())
    for change, words in (
        ({"image_mean": None}, "is corrupted"), ({"patch_size": 14}, "says patch_size 14, config.json patch_size 16"),
        ({"do_normalize": False}, "scaled otherwise"), ({"rescale_factor": 1.0}, "scaled otherwise"),
        ({"size": 3}, "is corrupted"),
    ):  # fmt: skip
        (tmp_path / PREPROCESSOR).write_text(json.dumps(stated | change))
        with pytest.raises(WeightsError, match=words):
            patching_of(tmp_path, VISION)
    del stated["image_std"]
    (tmp_path / PREPROCESSOR).write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match="has no image_std"):
        patching_of(tmp_path, VISION)
    (tmp_path / PREPROCESSOR).write_text("[")
    with pytest.raises(WeightsError, match="cannot be read"):
        patching_of(tmp_path, VISION)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100, 256, 1000])
def test_a_unit_is_a_column_of_tokens(length: int) -> None:
    reading = reader()
    width = reading.width(length)
    assert width == -(-4 * length // 32) * 32 and reading.units(length) == width // 32
    edges = reading.edges(length)
    column = np.arange(length) * width // length
    for unit, (first, last) in enumerate(itertools.pairwise(edges)):
        assert (column[first:last] // 32 == unit).all()
    assert edges[0] == 0 and edges[-1] == length


def test_an_anomaly_is_seen_in_its_own_unit() -> None:
    reading = reader(stretch=1, paper=255)
    rng = np.random.default_rng(0)
    for where in rng.integers(0, 1000, 50):
        values = np.zeros((1000, 1))
        values[where] = 1.0
        picture = render(values.T[None], reading.canvas(1000))[0]
        seen = np.flatnonzero((picture[1] == COLOURS[0]).all(-1))
        unit = np.searchsorted(reading.edges(1000), where, side="right") - 1
        assert seen.tolist() == [where * 1024 // 1000] and seen[0] // 32 == unit


def test_the_prompt_has_as_many_places_as_the_network_puts_tokens_there() -> None:
    reading = reader()
    one = block(100)
    prompted = reading.read(one, f"a{reading.marks(one)}b")
    assert reading.marks(one) == "<|vision_start|><|image_pad|><|vision_end|>"
    assert prompted.ids.count(reading.image) == 13
    assert reading.tokenizer.decode(prompted.ids) == f"a<|vision_start|>{'<|image_pad|>' * 13}<|vision_end|>b"
    for text in ("nothing", 2 * reading.marks(one)):
        with pytest.raises(DetectorError, match="pictures in the text instead of one"):
            reading.read(one, text)


def test_batches_hold_pictures_in_the_order_of_the_prompts() -> None:
    reading = reader()
    blocks = [block(100), block(64), replace(block(100), values=block(100).values * [-1.0]), block(8)]
    prompted = [reading.read(b, reading.marks(b)) for b in blocks]
    batch = reading.collate(prompted)
    assert batch["image_grid_thw"].tolist() == [[1, 2, 26], [1, 2, 16], [1, 2, 26], [1, 2, 2]]
    assert (batch["mm_token_type_ids"].sum(1) == batch["image_grid_thw"].prod(1) // 4).all()
    start = 0
    for one, single in zip(blocks, prompted, strict=True):
        alone = reading.collate([single])["pixel_values"]
        assert (batch["pixel_values"][start : start + len(alone)] == alone).all(), one
        start += len(alone)
    assert start == len(batch["pixel_values"])
    taught = reading.collate(prompted, [[5], [6, 7], [8], [9]])
    assert taught["mm_token_type_ids"].shape == taught["labels"].shape == taught["input_ids"].shape


def test_channels_are_named_in_order() -> None:
    reading = reader(channels=3, captions=True)
    three = Block(np.column_stack([[1.0, 2], [np.nan, np.nan], [-1e6, 1e6]]), ("a", "b", "c"))
    assert reading.marks(three).endswith("(from top to bottom: a from 1 to 2; b; c from -1e+06 to 1e+06)")
    assert reading.marks(Block(three.values[:, :1], ("a",))).endswith("<|vision_end|> (a from 1 to 2)")
    assert reader(channels=3).marks(three).endswith("(from top to bottom: a; b; c)")
    assert reading.height == 96 and reading.read(three, reading.marks(three)).ids.count(reading.image) == 3
    with pytest.raises(DetectorError, match="9 channels"):
        reader().read(block(8, 9), reader().marks(block(8)))


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(DetectorError, match=r"1000 x 32 pixels does not fit.*32 x 32"):
        reader(width=1000)
    with pytest.raises(DetectorError, match=r"takes 64 tokens, above detector\.most_tokens 32"):
        reader(width=2048, most_tokens=32)
    assert reader(most_tokens=32).width(50_000) == 1024  # follows from the points: as far as there may be tokens
    bounded = replace(PATCHING, fewest=65536, most=262144)
    with pytest.raises(DetectorError, match=r"32,768 pixels, and this model takes 65,536 to 262,144"):
        reader(bounded, width=1024)
    assert reader(bounded).width(10) == 2048 and reader(replace(bounded, most=163840)).width(9000) == 5120
    assert reader(most_tokens=9999).width(9000) == 6400  # 200 times its height
    with pytest.raises(DetectorError, match="more than 200 times"):
        reader(width=32 * 201)


def test_numbers_below_the_picture_count_points_or_columns() -> None:
    points = reader(height=64, ticks=5, numbers=True).canvas(256)
    assert points.ticks == tuple((k * 400, str(100 * k)) for k in range(3))
    columns = reader(height=64, ticks=4, numbers=True, columns=True).canvas(256)
    assert columns.ticks == tuple((k * 320, str(10 * k)) for k in range(4))
    assert reader(ticks=5).canvas(256).ticks == ((0, ""), (400, ""), (800, ""))
    assert reader(ticks=5, numbers=True).height == 64 and reader().height == 32


def test_a_tokenizer_of_another_checkpoint_is_named() -> None:
    with pytest.raises(WeightsError, match="image token 151655"):
        QwenVLReader(tokenizer(), (151655, 3, 4), PATCHING, DRAWING)
