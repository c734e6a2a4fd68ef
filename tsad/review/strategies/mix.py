"""A mix, so that likely anomalies are confirmed, doubts are settled and nothing is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from tsad.command.naming import nearest
from tsad.core.option_model import Refusal
from tsad.review.strategies.base import ComparingOptions, Component, Pool, Strategy
from tsad.review.strategies.disagreement import Disagreement
from tsad.review.strategies.diversity import Diversity
from tsad.review.strategies.look_alikes import LookAlikes
from tsad.review.strategies.low_confidence import LowConfidence
from tsad.review.strategies.random import Random
from tsad.review.strategies.top_score import TopScore

Share = Annotated[float, Field(ge=0, le=1)]


class MixOptions(ComparingOptions):
    """What :class:`Mix` takes."""

    members: ClassVar[tuple[type[Strategy], ...]] = (
        TopScore, LowConfidence, Random, Diversity, Disagreement, LookAlikes,
    )  # fmt: skip

    mix: dict[str, Share]  # share of each strategy; random must be > 0, or nothing can be said of the rest

    @model_validator(mode="before")
    @classmethod
    def _without_comparing(cls, given: Any) -> Any:
        """A mix of somebody's own, whose YAML was written before any member compared windows."""
        return {"embedding": "shape", **given} if isinstance(given, dict) else given

    @field_validator("mix")
    @classmethod
    def _fair(cls, mix: dict[str, float]) -> dict[str, float]:
        known = [member.name for member in cls.members]
        for name in mix:
            if name not in known:
                raise Refusal("unknown key {key}.{0}", "{1}", name, nearest(name, known))
        total = sum(mix.values())
        if abs(total - 1) > 1e-6:
            raise Refusal("the shares of {key} add up to {0}", "They have to add up to 1.", f"{total:g}")
        if mix.get(Random.name, 0.0) <= 0:
            raise Refusal(
                "{key}.random is 0",
                "Without a random share some windows are never seen and no estimate is fair; give it at least 0.1.",
            )
        return mix


class Mix(Strategy):
    """Several strategies at once, each with its share of the windows."""

    name = "mix"
    options_model = MixOptions
    settings: MixOptions

    @property
    def asks_for(self) -> frozenset[str]:
        return frozenset().union(*(member.asks_for for _, member in self._members()))

    def parts(self, pool: Pool) -> Sequence[Component]:
        """See :meth:`Strategy.parts`; in the order of the shares."""
        return [replace(part, share=share) for share, member in self._members() for part in member.parts(pool)]

    def _members(self) -> list[tuple[float, Strategy]]:
        """Those that have a share, with it."""
        kinds = {member.name: member for member in self.settings.members}
        made = []
        for name, share in self.settings.mix.items():
            if share > 0:
                own = {key: getattr(self.settings, key) for key in kinds[name].options_model.model_fields}
                made.append((share, kinds[name](**own)))
        return made
