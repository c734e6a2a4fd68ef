"""The ``committee`` detector: the first member's scores, everybody's candidates, one calibrated answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tsad.core.bases import DetectorBase
from tsad.core.building import TARGET, build
from tsad.core.errors import DetectorError, TsadError
from tsad.core.memory import NormalMemory
from tsad.core.option_model import Options, Refusal
from tsad.core.options.engine import EngineOptions, without_address
from tsad.core.series import Series
from tsad.core.types import FloatArray
from tsad.detectors.base import Detector
from tsad.detectors.committee.opinions import opinion_of, own_opinion, silent
from tsad.detectors.committee.second import budget, in_doubt
from tsad.detectors.evidence.examined import Examined, Opinion
from tsad.detectors.proposals.features.committee import MOST
from tsad.detectors.proposals.proposer import default_proposer, look_at
from tsad.files.hashing import digest_of_text

log = logging.getLogger("tsad")
NAME = "committee"
WINDOW = 512  # points shown to a second opinion that has no length of its own


class CommitteeOptions(Options):
    """Keyword arguments of :class:`Committee`."""

    members: list[dict[str, Any]]
    second_opinion: list[str]
    windows_per_hour: float = Field(ge=0)
    when_failing: Literal["stop", "leave_out"]

    @field_validator("members")
    @classmethod
    def _distinct(cls, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = [str(member.get("name", "")) for member in members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Refusal("{key} names {0} twice", "Give each member a name of its own.", ", ".join(twice))
        if not 2 <= len(members) <= MOST:
            raise Refusal("{key} has {0} members", f"A committee has two to {MOST}.", len(members))
        for member in members:
            if not member.get("name") or not member.get(TARGET):
                raise Refusal("{key} has a member without a name or _target_", "Name files of conf/detector.")
            if str(member[TARGET]).startswith("tsad.detectors.committee."):
                raise Refusal("{key} has a committee among its members", "Name the members of that one instead.")
        return members

    @model_validator(mode="after")
    def _seconds(self) -> Self:
        others = [str(member["name"]) for member in self.members[1:]]
        strange = [name for name in self.second_opinion if name not in others]
        if strange:
            raise Refusal(
                "{second_opinion} names {0}", f"It can be any of {', '.join(others)}: members, but not the first.",
                ", ".join(strange),
            )  # fmt: skip
        return self


class Committee(Detector):
    """Several detectors that are asked about the same series, and one answer that says who agreed.

    The first member leads: its scores are the committee's, and an adapter is trained for its network. What all of them
    take for candidates is rated together, by what each says of it (``proposals.features.committee``); before any review
    the default weights decide, after it the reviews whom to trust. Members named in ``second_opinion`` are asked about
    the windows in doubt alone, as many as the budget allows: a large model on a thousand series.

    Args:
        members: two to six detectors: ``name``, ``_target_`` and keyword arguments of each.
        second_opinion: those that are asked about doubtful windows only.
        windows_per_hour: that each of them is asked about, per hour of the series' own time; 0 = none.
        when_failing: stop, with an error that names the member, or leave it out of what it fails at, with a warning.

    Raises:
        DetectorError: a member that cannot be built or fails; the first one gives no scores.
    """

    name = NAME
    trainable = True
    votes = True
    unhashed = ("when_failing",)
    options_model = CommitteeOptions
    settings: CommitteeOptions

    def __init__(self, options: CommitteeOptions | None = None, **given: Any) -> None:
        super().__init__(options, **given)
        self.members: dict[str, Detector] = {str(m["name"]): _built(m) for m in self.settings.members}
        lead = self.lead
        if not lead.scored:
            raise DetectorError(
                f"the first member of the committee, {next(iter(self.members))}, gives intervals, no scores",
                "Name one with scores first, e.g. patch.",
            )
        self.tuner, self.adapter_defaults = lead.tuner, lead.adapter_defaults  # type: ignore[misc]
        self.embeds = lead.embeds

    @property
    def lead(self) -> Detector:
        """The first member."""
        return next(iter(self.members.values()))

    @property
    def rated_as(self) -> str:
        return f"{NAME}:{self.lead.rated_as}"

    def __getattr__(self, name: str) -> Any:
        """What trains the first member's network, where it has one (core.protocols.Trainable)."""
        if name in ("network", "encode", "collate", "replay", "validate", "rows"):
            return getattr(self.lead, name)
        raise AttributeError(f"{type(self).__name__} has no {name}")

    # ---- scoring

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return self.lead.score(series)

    def hidden_states(self, stretches: Sequence[FloatArray]) -> FloatArray:
        return self.lead.hidden_states(stretches)

    def examine(self, series: Sequence[Series]) -> Iterator[Examined]:
        first, *others = self.members.items()
        for one, examined in zip(series, self.lead.examine(series), strict=True):
            opinions = [own_opinion(first[0], first[1], one, examined)]
            opinions += [
                self._opinion(name, member, one, examined, None) if name not in self.settings.second_opinion
                else silent(name, len(one)) for name, member in others
            ]  # fmt: skip
            told = replace(examined, opinions=tuple(opinions))
            yield self._with_second_opinions(one, told) if self.settings.second_opinion else told

    def _with_second_opinions(self, one: Series, told: Examined) -> Examined:
        """The same with the opinions of those who are asked about what the others leave in doubt."""
        opinions = {opinion.name: opinion for opinion in told.opinions}
        most = budget(one, self.settings.windows_per_hour)
        if most:
            rater = default_proposer(self.rated_as)
            rated = rater.rate(look_at(one, told))
            for name in self.settings.second_opinion:
                member = self.members[name]
                length = min(int(getattr(member.settings, "length", WINDOW)), len(one))
                parts = in_doubt(
                    rated.runs, rated.probability, rater.threshold, total=len(one), length=length, most=most
                )
                if parts:
                    opinions[name] = self._opinion(name, member, one, told, parts)
        return replace(told, opinions=tuple(opinions.values()))

    def _opinion(
        self, name: str, member: Detector, one: Series, examined: Examined, asked: Sequence[slice] | None
    ) -> Opinion:
        try:
            return opinion_of(name, member, one, examined, asked)
        except Exception as error:
            if self.settings.when_failing == "leave_out":
                log.warning("member %s of the committee is left out of %s: %s", name, one.point_id, error)
                return silent(name, len(one))
            if isinstance(error, TsadError):
                raise
            raise DetectorError(
                f"member {name} of the committee failed at {one.point_id}: {type(error).__name__}: {error}",
                "Leave it out of detector.members, or set detector.when_failing=leave_out.",
            ) from error

    # ---- versions

    def describe(self) -> dict[str, Any]:
        told = super().describe()
        told["members"] = [m | {"engine": without_address(m["engine"])} if "engine" in m else m
                           for m in told["members"]]  # fmt: skip
        return told

    def on_engine(self, engine: EngineOptions) -> Self:
        return self._each(lambda member: member.on_engine(engine))

    def base_reference(self) -> dict[str, str]:
        own = {name: member.base_reference() for name, member in self.members.items()}
        digests = "|".join(f"{name}:{reference.get('sha256', '')}" for name, reference in own.items())
        first = next(iter(own.values()))
        return {"id": f"tsad/{NAME}", "path": first.get("path", ""), "sha256": digest_of_text(digests)}

    def with_adapter(self, folder: Path | None) -> Self:
        return self._led_by(self.lead.with_adapter(folder))

    @property
    def remembers(self) -> bool:
        return self.lead.remembers

    def with_memory(self, memory: NormalMemory | None) -> Self:
        other = self._led_by(self.lead.with_memory(memory))
        other.memory = memory
        return other

    def continuing(self, folder: Path, refit_every: float) -> Self:
        return self._each(lambda member: member.continuing(folder, refit_every))

    def keeping_answers(self, folder: Path) -> Self:
        return self._each(lambda member: member.keeping_answers(folder))

    def _led_by(self, lead: Detector) -> Self:
        other = self._twin()
        other.members = {**self.members, next(iter(self.members)): lead}
        return other

    def _each(self, change: Any) -> Self:
        other = self._twin()
        other.members = {name: change(member) for name, member in self.members.items()}
        return other


def _built(member: Mapping[str, Any]) -> Detector:
    """A member from its description.

    Raises:
        TsadError: of the kind that building it raised; names the member.
    """
    try:
        made: Any = build({k: v for k, v in member.items() if k != "name"}, DetectorBase)  # type: ignore[type-abstract]
    except TsadError as error:
        raise type(error)(f"member {member['name']} of the committee: {error.found}", error.remedy) from error
    return made  # type: ignore[no-any-return]
