"""Every draw of a training run follows from its seed and the step, so a resumed run needs no generator state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def generator(seed: int, *path: int) -> np.random.Generator:
    """A NumPy generator for one purpose: the same seed and path give the same draws."""
    return np.random.default_rng([seed & 0xFFFFFFFF, *path])


def seed_all(seed: int, *path: int) -> None:
    """Seed Python's, NumPy's and torch's global generators (dropout and initialisation draw from torch's)."""
    import torch

    number = int(generator(seed, *path, 7).integers(2**32))
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


@contextmanager
def preserved() -> Iterator[None]:
    """Give the global generators their state back afterwards: training disturbs nobody else's draws."""
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
