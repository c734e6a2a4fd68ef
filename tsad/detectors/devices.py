"""Which device a network runs on, and what it says when it is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tsad.core.errors import DetectorError


def resolve_device(wanted: str, name: str = "patch") -> str:
    """``cpu`` or ``cuda`` from auto | cpu | cuda.

    Args:
        name: of the detector, for messages.

    Raises:
        DetectorError: an unknown word, or CUDA asked for where there is none.
    """
    if wanted == "cpu":
        return "cpu"
    if wanted not in ("auto", "cuda"):
        raise DetectorError(f"{name}: device={wanted} is unknown", "Use auto, cpu or cuda.")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise DetectorError(
            f"{name}: device=cuda, but torch sees no CUDA device here",
            "Use device=auto (detector.device=auto), or install a CUDA build of torch and a driver.",
        )
    return "cpu"


@contextmanager
def full_device_named(name: str, remedy: str) -> Iterator[None]:
    """Turn a device that has run out of memory into a :class:`DetectorError` with figures and what to do.

    Args:
        name: of the detector.
        remedy: what takes less memory.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        figures = ""
        if torch.cuda.is_available():
            free, total = (value / 2**30 for value in torch.cuda.mem_get_info())
            figures = f": {free:.1f} of {total:.1f} GiB are free"
        raise DetectorError(f"{name}: the device is full{figures} ({str(error).splitlines()[0]})", remedy) from error
