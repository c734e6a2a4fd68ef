"""What an iteration's run tells people in MLflow: its figures, who won and why, what it read; and the loop's curve.

Everything else hangs on the runs of its stages. A figure has one name wherever it stands: ``gold/<metric>`` of the
champion that an iteration leaves, ``champion/<metric>`` and ``challenger/<metric>`` of the two that EVALUATE compares,
``gain/<metric>`` of their difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from tsad.core.printing import decimals
from tsad.loop.champion import registry_of
from tsad.loop.datasets import dataset_record
from tsad.loop.evaluate import EVALUATE
from tsad.loop.figures import FIGURES, FIRST, figures_table
from tsad.loop.model_notes import note_model
from tsad.loop.progress import ReviewProgress
from tsad.loop.promote import PROMOTE
from tsad.loop.pull import DATASET
from tsad.loop.results import Collected, Promoted, Scored
from tsad.loop.runner import Turn, record_of, result_of
from tsad.loop.train import TRAIN
from tsad.metrics.paired import gain_figures
from tsad.tracking.logged_models import name_as_outputs

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore

GOLD, GAIN, REVIEWED = "gold/", "gain/", "reviewed_windows"
REVIEWS = "tsad.reviews"  # tag: how the windows of the queue were answered
ENDS = ("", "_low", "_high")
_OF_BEFORE = {"gold.": GOLD, "gain.": GAIN}  # what the names of figures began with


def headline(metric: str, collected: Collected, decision: Promoted) -> dict[str, float]:
    """The figures that iterations are compared by.

    Args:
        metric: the gate's; its gain and the interval of it are among them.
    """
    figures = {f"{GOLD}{key}": decision.scores[key] for key in (FIRST, *FIGURES) if key in decision.scores}
    gains = gain_figures(decision.gains)
    figures |= {key: gains[key] for end in ENDS if (key := f"{GAIN}{metric}{end}") in gains}
    return figures | {REVIEWED: float(collected.windows)}


def figures_of(iteration: Iteration) -> dict[str, float]:
    """The headline figures of a completed iteration, those of before under today's names."""
    metrics = dict(iteration.metrics)
    for before, now in _OF_BEFORE.items():
        metrics |= {now + key.removeprefix(before): metrics[key] for key in iteration.metrics if key.startswith(before)}
    wanted = {f"{GOLD}{key}" for key in FIGURES} | {REVIEWED}
    return {
        key: value for key, value in metrics.items()
        if key in wanted or (key.startswith(GAIN) and not key.endswith("_p"))
    }  # fmt: skip


def scores_of(iteration: Iteration) -> dict[str, float]:
    """The champion's scores among them, by metric."""
    return {k.removeprefix(GOLD): value for k, value in figures_of(iteration).items() if k.startswith(GOLD)}


def answered(iteration: Iteration) -> ReviewProgress | None:
    """How the windows of a completed iteration were answered; of before it is said by metrics."""
    if REVIEWS in iteration.tags:
        return ReviewProgress.from_json(json.loads(iteration.tags[REVIEWS]))
    counts = [
        {key.removeprefix(begin).upper(): int(n) for key, n in iteration.metrics.items() if key.startswith(begin)}
        for begin in ("reviews.", "gold_reviews.")
    ]
    return ReviewProgress(counts[0], counts[1]) if any(counts) else None


def close(turn: Turn) -> None:
    """Complete the iteration, with what people are to see of it; then the loop's learning curve. May be done again."""
    iteration, metric = turn.iteration, turn.bench.gold.metric
    collected, decision = result_of(iteration, DATASET), result_of(iteration, PROMOTE)
    scored = result_of(iteration, EVALUATE)
    progress = ReviewProgress(collected.states, collected.gold_states)
    iteration.recorder.tags({
        "mlflow.note.content": _note(turn, collected, scored, decision), "tsad.promoted": _yes(decision.promoted),
        "tsad.clause": decision.clause.value, "tsad.champion": f"v{decision.champion}",
        "tsad.dataset_version": collected.version, "tsad.gold_version": scored.gold_version,
        REVIEWS: json.dumps(progress.to_json()),
    })  # fmt: skip
    # MLflow's page that compares runs draws the first three parameters that differ: these, not the claims
    iteration.recorder.params({
        "annotated_windows": collected.windows, "anomalous_windows": collected.positive,
        "challenger": scored.versions.get("challenger", "none"),
    })  # fmt: skip
    registry = registry_of(turn.bench, turn.loop)
    models = (registry.get(number).model_id for number in scored.versions.values())
    name_as_outputs(turn.loop.store, iteration.run_id, {model: iteration.number for model in models if model})
    note_model(turn.bench, turn.loop, registry, scored.gold_version)
    for version, context in ((collected.version, "training"), (scored.gold_version, "gold")):
        iteration.recorder.log_dataset(dataset_record(turn.loop, version), context)
    iteration.complete(headline(metric, collected, decision), decision.reason)
    draw_history(turn.loop)


def draw_history(loop: LoopStore) -> None:
    """The loop's completed iterations as steps of its history run; those of before, too. Needs the lock."""
    from tsad.tracking.history import Point, write_history

    done = [i for i in loop.iterations() if i.state == "COMPLETED"]
    write_history(loop, [Point(i.number, i.ended or i.started, figures_of(i)) for i in done])


# --- the description ----------------------------------------------------------------------------------------


def _note(turn: Turn, collected: Collected, scored: Scored, decision: Promoted) -> str:
    """The iteration in Markdown: one line for who is in a hurry, then why, the figures, and where to look."""
    return "\n\n".join([
        f"{_outcome(turn.bench.gold.metric, scored, decision)}; {_reviewed(collected)}", f"Why: {decision.reason}",
        "\n".join(figures_table(scored.scores, scored.versions)),
        f"Look at: {', '.join(_links(turn, decision))}; `iterations.png` below Artifacts",
    ])  # fmt: skip


def _outcome(metric: str, scored: Scored, decision: Promoted) -> str:
    """E.g. ``v3 promoted: interval F1 .364 -> .510 [+.03, +.27]``; the interval is that of the gain."""
    title, before, after = FIGURES.get(metric, metric), scored.scores["champion"], scored.scores.get("challenger")
    if after is None:
        return f"v{decision.champion} stays: {title} {decimals(before[metric])}, {decision.reason}"
    gain = decision.gains.get(metric)
    spread = "" if gain is None else f" [{decimals(gain.low, 2, '+')}, {decimals(gain.high, 2, '+')}]"
    change = f"{title} {decimals(before[metric])} -> {decimals(after[metric])}{spread}"
    if decision.promoted:
        return f"v{decision.champion} promoted: {change}"
    return f"v{decision.champion} stays, challenger v{scored.versions['challenger']}: {change}"


def _reviewed(collected: Collected) -> str:
    """E.g. ``24 windows reviewed by 2 people, 48 in all``."""
    states = (collected.states, collected.gold_states)
    count = sum(sum(of.values()) - of.get("PENDING", 0) for of in states)
    by = f" by {collected.people} {'person' if collected.people == 1 else 'people'}" if collected.people else ""
    return f"{count} windows reviewed{by}, {collected.windows} to learn from in all"


def _links(turn: Turn, decision: Promoted) -> Iterator[str]:
    """Addresses inside MLflow's UI."""
    experiment, model = turn.loop.experiment_id, registry_of(turn.bench, turn.loop).name
    for title, stage in (("scores", EVALUATE), ("training", TRAIN)):
        run_id = record_of(turn.iteration, stage).run_id
        yield f"[{title}](#/experiments/{experiment}/runs/{run_id})"
    yield f"[champion v{decision.champion}](#/models/{quote(model, safe='')}/versions/{decision.champion})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"

