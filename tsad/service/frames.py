"""What the service and its model process send each other: a header of JSON, then arrays or an answer. No pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_LENGTH = struct.Struct("<I")  # bytes of the header, before it
_KINDS = {"int64": np.int64, "float64": np.float64}


@dataclass(frozen=True, eq=False)
class Frame:
    """One message.

    Attributes:
        about: of JSON's types only. body: bytes behind it; of arrays see :meth:`arrays`.
    """

    about: dict[str, Any]
    body: bytes | memoryview = b""

    @classmethod
    def of(cls, about: dict[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Frame:
        """A message with arrays of int64 or float64."""
        shapes = [[array.dtype.name, list(array.shape)] for array in arrays]
        body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        return cls({**about, "arrays": shapes}, body)

    def arrays(self) -> list[npt.NDArray[Any]]:
        """The arrays that it was made of; they are views, and cannot be written to."""
        at, made = 0, []
        for kind, shape in self.about.get("arrays", []):
            dtype, count = np.dtype(_KINDS[kind]), int(np.prod(shape, dtype=np.int64))
            made.append(np.frombuffer(self.body, dtype, count, at).reshape(shape))
            at += count * dtype.itemsize
        return made

    def packed(self) -> bytes:
        """As it goes over the pipe."""
        head = json.dumps(self.about, ensure_ascii=False, separators=(",", ":")).encode()
        return b"".join((_LENGTH.pack(len(head)), head, self.body))

    @classmethod
    def unpacked(cls, data: bytes) -> Frame:
        """The inverse of :meth:`packed`."""
        (size,) = _LENGTH.unpack_from(data)
        begin = _LENGTH.size + size
        return cls(json.loads(data[_LENGTH.size : begin]), memoryview(data)[begin:])
