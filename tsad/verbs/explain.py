"""``tsad explain``: why an interval was proposed."""

from __future__ import annotations

from typing import Literal

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.alarm import Explained, Explanation, explain_alarm
from tsad.verbs.console import Console


class ExplainKeys(Options):
    """Own keys of ``tsad explain``."""

    of: str
    version: str
    language: Literal["en", "zh"]


keys_model = ExplainKeys


def run(bench: Workbench, keys: ExplainKeys, console: Console) -> Explanation:
    """Say why a version proposes an interval, or what it makes of a window.

    Raises:
        LoopError: nothing of that name, or nothing is considered there.
        RegistryError: no such version.
    """
    return console.answer(explain_alarm(bench, keys.of, keys.version, keys.language), _present)


def _present(explanation: Explanation, console: Console) -> None:
    console.say(f"{explanation.point_id}, by {explanation.model_version}")
    for stretch in explanation.stretches:
        _present_stretch(stretch, console)
    learned = f"its probabilities have learned from {explanation.reviews} reviewed candidates"
    console.say(learned if explanation.reviews else "nobody has reviewed anything yet")
    if explanation.weights:
        rows = sorted(explanation.weights.items(), key=lambda item: -abs(item[1]))
        console.table([{"says": k, "weight": f"{v:+.2f}"} for k, v in rows if abs(v) >= 0.005], "what members count")


def _present_stretch(stretch: Explained, console: Console) -> None:
    is_proposed = "proposed" if stretch.proposed else "not proposed"
    console.say(f"{stretch.start} to {stretch.end}: {is_proposed}")
    console.say(f"  probability {stretch.probability:.0%}, proposed from {stretch.threshold:.0%}")
    if stretch.note:
        console.say(f"  {stretch.label}: {stretch.note}")
    for reason in stretch.reasons:
        console.say(f"  - {reason}")
    if stretch.votes:
        console.table([
            {"member": v.member, "says": "not asked" if v.probability is None else f"{v.probability:.0%}",
             "intervals of its own": v.intervals} for v in stretch.votes
        ], "votes")  # fmt: skip
    for vote in stretch.votes:
        if vote.reason:
            console.say(f"  {vote.member} says: {vote.reason}")
    if stretch.alike:
        console.table([
            {"most like it": a.point_id, "from": a.start, "people said": "abnormal" if a.confirmed else "normal",
             "distance": f"{a.distance:.2f}"} for a in stretch.alike
        ], "reviewed before")  # fmt: skip
