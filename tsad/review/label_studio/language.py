"""What people read; by itself, because options name it and help must not import NumPy."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh"]
