"""``tsad train``: a dataset version -> LoRA adapter and threshold -> challenger; ``dry_run=true``: what that takes."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.tuning import MemoryPlan, Saving
from tsad.loop.rehearse import Counted, Rehearsal, rehearse
from tsad.loop.train import Challenger, train_challenger
from tsad.verbs.console import Console


class TrainKeys(Options):
    """Own keys of ``tsad train``."""

    dataset: str
    dry_run: bool


keys_model = TrainKeys


def run(bench: Workbench, keys: TrainKeys, console: Console) -> Challenger | Rehearsal:
    """Train on a dataset version outside any iteration and register what it gives as a new version; or plan it.

    Raises:
        DatasetError: the loop has no dataset version yet.
    """
    if keys.dry_run:
        return console.answer(rehearse(bench, keys.dataset), _present_plan)
    return console.answer(train_challenger(bench, keys.dataset), _present)


def _present(challenger: Challenger, console: Console) -> None:
    trained = challenger.training
    console.table([{"metric": key, "value": value} for key, value in trained.metrics.items()], "trained")
    if challenger.version is None:
        console.say(f"no new version of {challenger.model}: {trained.reason}")
    else:
        console.say(f"registered {challenger.model}:{challenger.version}")
    if challenger.learning is not None:
        console.say(f"what is missing: {challenger.learning}")


def _present_plan(rehearsal: Rehearsal, console: Console) -> None:
    plan = rehearsal.plan
    if plan is None:
        console.say(rehearsal.needs)
    else:
        _present_memory(plan, rehearsal, console)
    console.say(_told(rehearsal.counted))
    console.say("dry_run: nothing was loaded, started or recorded")


def _present_memory(plan: MemoryPlan, rehearsal: Rehearsal, console: Console) -> None:
    console.say(
        f"{plan.base}: {plan.parameters:,} parameters, {plan.trainable:,} of them trained; {plan.steps} steps, "
        f"{plan.rows} rows of about {plan.tokens} tokens at a time"
    )
    parts = [{"part": name, "GiB": f"{size:.2f}"} for name, size in plan.parts.items()]
    console.table([*parts, {"part": "sum, and a tenth that is lost", "GiB": f"{plan.total:.1f}"}], "memory, computed")
    console.table([_saving(saving, rehearsal.gpu_gib) for saving in plan.savings], "what each option saves")
    if rehearsal.gpu is None or rehearsal.gpu_gib is None:
        console.say("no GPU here: these figures are computed")
    else:
        fits = "fits" if rehearsal.fits else "does not fit"
        here = f"{rehearsal.gpu} ({rehearsal.gpu_gib:.1f} GiB)"
        console.say(f"{plan.total:.1f} GiB {fits} {here}; the figures are computed")
    for text in plan.warnings:
        console.say(f"warning: {text}")


def _saving(saving: Saving, gpu_gib: float | None) -> dict[str, str]:
    row = {
        "option": saving.option, "set": "yes" if saving.used else "no", "GiB with it": f"{saving.total:.1f}",
        "saves": f"{saving.saved:.1f}",
    }  # fmt: skip
    return row if gpu_gib is None else row | {"fits": "yes" if saving.total <= gpu_gib else "no"}


def _told(counted: Counted) -> str:
    if counted.version is None:
        return counted.reason
    return (
        f"dataset version {counted.version[:12]}: {counted.windows} reviewed windows, {counted.positive} with an "
        f"anomaly; all steps see each about {counted.epochs:.1f} times"
    )
