"""Advice that several rooms give, in one set of words."""

from __future__ import annotations

import shlex


def give_up(loop: str = "") -> str:
    """How the open iteration is given up for a new one, and what becomes of its answers."""
    named = f" {named_loop(loop)}" if loop else ""
    return (
        f"tsad iterate{named} new=true gives the open iteration up and begins another: what people have answered of "
        "its queue goes into the new one, as far as the source still holds it and people review in the same place."
    )


def named_loop(loop: str) -> str:
    """The loop's name as it is typed in a shell."""
    return shlex.quote(f"loop.name={loop}")
