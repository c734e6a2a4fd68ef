"""From a block and a prompt's YAML to the text that the model reads, and the codec of its answer."""

from __future__ import annotations

from tsad.core.errors import DetectorError
from tsad.core.options.prompt import PromptOptions
from tsad.core.types import ANOMALY, IntArray
from tsad.detectors.llm.codec import FlagCodec, IntervalCodec
from tsad.detectors.llm.reader import Block, Reader, Wording


def chat_text(prompt: PromptOptions, reader: Reader, block: Block) -> str:
    """The whole text of a conversation up to where the answer begins, by the checkpoint's chat template.

    Raises:
        DetectorError: the checkpoint has no chat template, or one that cannot be filled in.
    """
    if not getattr(reader.tokenizer, "chat_template", None):
        raise DetectorError(
            "The checkpoint has no chat template, so nobody knows how it is to be asked",
            "Put its chat_template.jinja beside the weights (the instruct version of the model has one).",
        )
    turns = [{"role": "system", "content": prompt.system}] if prompt.system else []
    turns.append({"role": "user", "content": question(prompt, reader, block)})
    try:
        return str(
            reader.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )
    except Exception as error:  # jinja's own errors, of whatever the template does
        raise DetectorError(
            f"The checkpoint's chat template cannot be filled in: {error}", "Mend its chat_template.jinja."
        ) from error


def question(prompt: PromptOptions, reader: Wording, block: Block) -> str:
    """The prompt's text with its places filled in, the block's marks where the series belongs."""
    return prompt.text.format(
        series=reader.marks(block), points=len(block), last=len(reader.position_edges(len(block))) - 2,
        units=reader.units(len(block)), kinds=", ".join(kinds_of(prompt)), channels=", ".join(block.channels),
        most=prompt.most,
    )  # fmt: skip


def kinds_of(prompt: PromptOptions) -> tuple[str, ...]:
    """The kinds that an answer may name: those of the prompt, and one for what nobody has named."""
    if not prompt.kinds:
        return ()
    return tuple(prompt.kinds) if ANOMALY in prompt.kinds else (*prompt.kinds, ANOMALY)


def codec_of(prompt: PromptOptions, reader: Reader, points: int) -> FlagCodec | IntervalCodec:
    """How the answer for a block of so many points is written."""
    if prompt.answer == "flags":
        return FlagCodec(reader.tokenizer, reader.units(points))
    return interval_codec(prompt, reader, points)


def interval_codec(prompt: PromptOptions, reader: Reader, points: int) -> IntervalCodec:
    """How the intervals in a block of so many points are written."""
    positions = len(reader.position_edges(points)) - 1
    return IntervalCodec(reader.tokenizer, positions, prompt.most, kinds_of(prompt), prompt.reasons)


def answer_edges(prompt: PromptOptions, reader: Wording, points: int) -> IntArray:
    """First point of each unit of the answer (of each position, for intervals), and the number of points."""
    return reader.edges(points) if prompt.answer == "flags" else reader.position_edges(points)
