"""How answers that agree become one; by itself, because options name it and help must not import NumPy."""

from __future__ import annotations

from typing import Literal

ConsensusMode = Literal["majority", "union", "intersection", "expert"]
