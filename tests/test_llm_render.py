"""Windows as pictures: no spike is lost, places are exact, gaps and constants look like what they are."""

from __future__ import annotations

import numpy as np
import pytest

from tsad.core.errors import DetectorError
from tsad.detectors.llm.render import COLOURS, Canvas, render, spans, writing
from tsad.plots.ticks import round_steps

SMALL = Canvas(height=32, width=128)


def ink(pictures: np.ndarray, channel: int = 0) -> np.ndarray:
    """[B, H, W] where the line of a channel is."""
    return (pictures == np.array(COLOURS[channel], np.uint8)).all(-1)


@pytest.mark.parametrize("length", [1, 2, 3, 31, 100, 127, 128, 129, 256, 1000, 50_000])
def test_any_length(length: int) -> None:
    values = np.random.default_rng(length).standard_normal((3, 1, length))
    pictures = render(values, SMALL)
    assert pictures.shape == (3, 32, 128, 3) and pictures.dtype == np.uint8
    column = np.arange(length) * 128 // length
    drawn = ink(pictures).any(1)
    assert drawn[:, : column[-1] + 1].all() and not drawn[:, column[-1] + 1 :].any()
    assert np.array_equal(pictures, render(values, SMALL))
    assert np.array_equal(pictures[1:2], render(values[1:2], SMALL))  # a window looks the same in any batch


@pytest.mark.parametrize("length", [17, 100, 128, 300, 1024, 5000])
def test_no_one_point_spike_is_lost(length: int) -> None:
    rng = np.random.default_rng(length)
    values = rng.standard_normal((400, 1, length)).clip(-2, 2)
    where = rng.integers(0, length, 400)
    sign = rng.choice((-1, 1), 400)
    values[np.arange(400), 0, where] = 12.0 * sign
    drawn = ink(render(values, Canvas(height=64, width=128)))
    row = np.where(sign > 0, 1, 62)
    extreme = drawn[np.arange(400), row]  # [400, W]: the outermost row of ink holds the spike alone
    assert np.array_equal(extreme.argmax(1), where * 128 // length)
    assert (extreme.sum(1) == 1).all()


@pytest.mark.parametrize(("length", "width"), [(10, 64), (64, 64), (100, 64), (1024, 96), (97, 160)])
def test_a_stretch_of_columns_is_a_stretch_of_points(length: int, width: int) -> None:
    values = np.full((1, length), np.nan)
    for low in range(0, width, 32):
        first, last = -(-low * length // width), -(-(low + 32) * length // width)
        values[:] = np.nan
        values[:, first:last] = 1.0
        columns = np.flatnonzero(~np.isnan(spans(values, width)[0][0]))
        assert columns.min() >= low and columns.max() < low + 32


def test_gaps_have_no_ink_and_lone_points_have() -> None:
    values = np.sin(np.arange(128) / 9)[None, None]
    values[..., 40:60] = np.nan
    values[..., 100] = values[..., 102] = np.nan
    drawn = ink(render(values, SMALL)).any(1)[0]
    assert np.flatnonzero(~drawn).tolist() == [*range(40, 60), 100, 102]
    wide = ink(render(values, Canvas(height=32, width=512))).any(1)[0]
    assert not wide[39 * 4 + 1 : 60 * 4].any() and wide[404] and not wide[405:412].any()


def test_constant_missing_and_huge_windows() -> None:
    values = np.stack([np.full(64, 7.5), np.full(64, np.nan), np.where(np.arange(64) < 32, -1.7e308, 1.7e308)])[:, None]
    with np.errstate(all="raise"):
        drawn = ink(render(values, SMALL))
    rows = np.flatnonzero(drawn[0].any(1))
    assert rows.tolist() == [15] or rows.tolist() == [16]
    assert not drawn[1].any()
    assert drawn[2, 30, :60].all() and drawn[2, 1, 66:127].all()
    values[:, :, 3] = np.inf  # no value either
    assert np.isnan(spans(values[0], 64)[0][0, 3])


def test_each_channel_has_a_panel_and_a_scale_of_its_own() -> None:
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal(256), 1e6 + 1e5 * rng.standard_normal(256)
    pictures = render(np.stack([small, large])[None], Canvas(height=64, width=128))
    above, below = ink(pictures, 0)[0], ink(pictures, 1)[0]
    assert np.flatnonzero(above.any(1)).tolist() == list(range(1, 31))
    assert np.flatnonzero(below.any(1)).tolist() == list(range(33, 63))
    alone = ink(render(large[None, None], Canvas(height=32, width=128)))[0]
    assert np.array_equal(below[32:], alone)
    with pytest.raises(DetectorError, match="9 channels in a picture 64 pixels high"):
        render(np.zeros((1, 9, 20)), Canvas(height=64, width=128))


def test_ticks_and_numbers() -> None:
    canvas = Canvas(height=64, width=128, paper=200, ticks=((0, "0"), (50, "100"), (54, "108"), (127, "254")))
    picture = render(np.full((1, 1, 9), np.nan), canvas)[0, :, :, 0]
    assert canvas.strip == 7 and picture[0, 1] == 200
    assert np.flatnonzero(picture[10] == 176).tolist() == [0, 50, 54, 127]
    numbers = picture[57:] == 70
    columns = np.flatnonzero(numbers.any(0))
    assert columns.min() == 0 and columns.max() == 127
    assert np.array_equal(numbers[1:6, 45:56], writing("100"))  # centred below its line
    assert not numbers[:, 56:100].any()  # 108 would lie upon 100


def test_digits_can_be_told_apart() -> None:
    dots = [writing(str(d)).tobytes() for d in range(10)]
    assert len(set(dots)) == 10
    assert writing("10", 2).shape == (10, 14)
    assert writing("7").tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(("total", "most", "step"), [(1, 8, 1), (256, 8, 50), (1000, 10, 100), (1024, 10, 200)])
def test_round_steps(total: int, most: int, step: int) -> None:
    assert round_steps(total, most) == step
