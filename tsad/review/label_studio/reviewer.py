"""People review in Label Studio: one project per loop, one task per window, found again by the window's id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tsad.agreement.deciding import ConsensusRule
from tsad.core.errors import ConfigError, ReviewError
from tsad.core.reviews import Choice, Purpose, ReviewedWindow, ReviewState
from tsad.review.agreement import resolve
from tsad.review.base import Reviewer
from tsad.review.label_studio import batches, convert, instruction, server, tabs, template
from tsad.review.label_studio.client import ANSWERED, Client
from tsad.review.label_studio.conflicts import answer_layers, people_for, settle, share_out
from tsad.review.label_studio.kinds import read_kinds
from tsad.review.label_studio.layers import layers_of
from tsad.review.label_studio.located import find_file
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template
from tsad.review.order import in_order

DESCRIPTION = "Review queue of a tsad loop. Correct the proposed intervals and submit; none where nothing is abnormal."


@dataclass(frozen=True)
class ReviewProgress:
    """How far people are. ``answered`` counts windows judged or skipped by somebody."""

    url: str
    windows: int
    answered: int


class LabelStudioReviewer(Reviewer):
    """People, over a Label Studio project, found by its title or created with the first push.

    Nothing is kept here: what was pushed and answered is looked up in Label Studio every time, so a killed push
    or pull is simply done again.

    Args:
        url: the server, without a trailing slash. token: a user's token; never logged.
        loop: names the project ``tsad-<loop>`` where ``options.project`` is empty.
        push_id: names this push, so that it can be withdrawn; default: the model version of each window.
        client: a ready client, for tests.

    Raises:
        ReviewError: from push, pull, withdraw, progress: the server is down, the token refused, the project or tasks
            gone, the template changed by hand, an annotation that does not fit; each with the remedy.
        ConfigError: ``review.project`` or ``template`` cannot be honoured.
    """

    people = True
    options_model = LabelStudioOptions
    settings: LabelStudioOptions

    @classmethod
    def of_loop(cls, options: LabelStudioOptions, *, loop: str, home: Path) -> Self:
        """The reviewer of a loop; the server and the token have to be there."""
        return cls(options, url=server.service_url(options, home), token=server.token(options, home), loop=loop)

    def __init__(
        self, options: LabelStudioOptions, *, url: str, token: str, loop: str = "", push_id: str = "",
        client: Client | None = None,
    ) -> None:
        super().__init__(options)
        self.push_id = push_id
        self.title = options.project or f"tsad-{loop}"
        if len(self.title) < 3 or len(self.title) > 50:
            raise ConfigError(
                f"Label Studio takes titles of 3 to 50 characters, and the project would be called {self.title}",
                "Choose another: review.project=<name>.",
            )
        self._address, self._token, self._client = url.rstrip("/"), token, client
        self._complete: tuple[int, int] | None = None  # (project, tasks) when all windows were last seen there

    @cached_property
    def client(self) -> Client:
        """Connected at first use: making a reviewer costs nothing."""
        return self._client or Client(self._address, self._token)

    def push(self, choices: Sequence[Choice]) -> int:
        """Put windows into the queue, in the order in which people are to see them.

        Tasks there already stay as they are. An unanswered task that shows another model version's proposal gets the
        new one. Tasks that a killed push made twice are reduced to one.

        Returns:
            How many tasks were created.
        """
        wanted = _by_window(choices)
        if not wanted:
            return 0
        convert.check(wanted.values())  # before anything is made: half a queue helps nobody
        project, form = self._project_for(list(wanted.values()))
        convert.check(wanted.values(), form)
        known, version = self._known(project, wanted), _version(choices)
        order = in_order(wanted.values())
        ranks = {c.window.window_id: rank for rank, c in enumerate(order)}
        fresh = [c for c in order if c.window.window_id not in known]
        created = 0
        with self.context.progress.task("pushing windows", len(fresh)) as pushed:
            for at in range(0, len(fresh), self.settings.chunk):
                chunk = fresh[at : at + self.settings.chunk]
                part = [self._task(c, form, version, ranks[c.window.window_id]) for c in chunk]
                created += self.client.import_tasks(project, part)
                pushed(created)
        if created != len(fresh):
            raise ReviewError(
                f"Label Studio took {created} of {len(fresh)} tasks into project {self.title}",
                "See its log, then push again: what arrived is not pushed twice.",
            )
        self._refresh(project, form, wanted, known)
        share_out(self.client, project, (c.window for c in wanted.values()), self.settings.overlap)
        if version:
            # Label Studio shows the proposals of one model version only: the project's.
            self.client.update_project(project, model_version=version)
        self._instruct(form)
        tabs.keep_tabs(self.client, project, self.settings.language)
        return created

    def pull(self, choices: Sequence[Choice]) -> list[ReviewedWindow]:
        """Every window of ``choices`` as people left it, in the same order; ``PENDING`` where nobody answered."""
        return self._pulled(choices, gone=False)

    def look(self, choices: Sequence[Choice]) -> list[ReviewedWindow]:
        """See :meth:`Reviewer.look`; raises as :meth:`pull`."""
        return self._pulled(choices, gone=True)

    def _pulled(self, choices: Sequence[Choice], gone: bool) -> list[ReviewedWindow]:
        """The windows; with ``gone`` their tasks may be."""
        wanted = _by_window(choices)
        if not wanted:
            return []
        project = self._project()
        form = template.read(project["label_config"], self.title)
        answers: dict[str, list[Any]] = defaultdict(list)
        with self.context.progress.task("reading answers") as read:
            for count, found in enumerate(self.client.tasks(project["id"], ANSWERED), start=1):
                read(count)
                name = found["data"].get("window_id")
                if name in wanted:
                    answers[name] += convert.read_annotations(found, wanted[name], form)
        if not gone:
            self._check_present(project["id"], wanted, answers)
        return [
            resolve(c, answers[c.window.window_id], self.rule, people_for(c.window, self.settings.overlap))
            for c in choices
        ]

    def settle(self, reviewed: Sequence[ReviewedWindow]) -> int:
        """See :meth:`Reviewer.settle`; raises as :meth:`pull`."""
        conflicts = [r for r in reviewed if r.state is ReviewState.CONFLICT]
        layers = {layer.name for r in conflicts for layer in answer_layers(r, self.settings.language)}
        project = self._project()
        form = self._adapted(project, (), layers)
        return settle(self.client, project["id"], form, reviewed, self.settings)

    def user(self) -> str:
        """See :meth:`Reviewer.user`."""
        return str(self.client.user())

    def answer(self, answers: Sequence[batches.Answered], batch: str) -> int:
        """See :meth:`Reviewer.answer`; raises as :meth:`pull`."""
        project = self._project()
        form = template.read(project["label_config"], self.title)
        return batches.answer(self.client, project["id"], form, answers, batch)

    def ask(self, choices: Sequence[Choice]) -> int:
        """See :meth:`Reviewer.ask`; raises as :meth:`pull`."""
        return batches.ask(self.client, self._project()["id"], choices)

    def take_back(self, reviewed: Sequence[ReviewedWindow]) -> int:
        """See :meth:`Reviewer.take_back`; raises as :meth:`pull`."""
        with self.context.progress.task("taking answers back", sum(len(r.annotations) for r in reviewed)) as done:
            return batches.take_back(self.client, reviewed, done)

    def progress(self, choices: Sequence[Choice]) -> ReviewProgress:
        """How many of these windows have an answer, without reading the answers."""
        wanted, project = _by_window(choices), self._project()
        answered = {t["data"].get("window_id") for t in self.client.tasks(project["id"], ANSWERED, whole=False)}
        return ReviewProgress(self.project_url, len(wanted), len(answered & wanted.keys()))

    def withdraw(
        self, choices: Sequence[Choice] | None = None, *, model_version: str = "", push_id: str = ""
    ) -> int:
        """Delete tasks that nobody has answered or begun to: those of ``choices``, of a model version, or of a push.

        Returns:
            How many tasks were deleted.

        Raises:
            ValueError: none of the three is given.
        """
        if choices is None and not model_version and not push_id:
            raise ValueError("withdraw needs choices, a model version or a push")
        wanted = None if choices is None else {c.window.window_id for c in choices}
        project = self._project()["id"]
        doomed = [
            found["id"]
            for found in self.client.tasks(project)
            if not _touched(found)
            and (wanted is None or found["data"].get("window_id") in wanted)
            and (not push_id or found["data"].get("push") == push_id)
            and (not model_version or model_version in _versions(found))
        ]
        if doomed:
            self.client.delete_untouched(project, doomed)
        left = {found["id"] for found in self.client.tasks(project, whole=False)} if doomed else set()
        return len(set(doomed) - left)

    @property
    def rule(self) -> ConsensusRule:
        """How several people's answers become one."""
        return ConsensusRule(self.settings.agreement_iou, self.settings.consensus, self.settings.expert)

    @property
    def project_url(self) -> str:
        """Where annotators open the queue."""
        return f"{self._address}/projects/{self._project()['id']}/data"

    def _project(self) -> dict[str, Any]:
        found = self.client.find_projects(self.title)
        if len(found) > 1:
            ids = ", ".join(str(p["id"]) for p in found)
            raise ReviewError(
                f"Label Studio at {self._address} has {len(found)} projects called {self.title} (ids {ids})",
                "Rename all but one, or choose another name: review.project=<name>.",
            )
        if not found:
            raise ReviewError(
                f"Label Studio at {self._address} has no project {self.title}: it was deleted or renamed, or "
                "nothing was pushed yet",
                "Rename it back, or push the queue again with tsad push; answers in a deleted project are lost.",
            )
        return found[0]

    def _project_for(self, choices: Sequence[Choice]) -> tuple[int, Template]:
        """The project, made or adapted so that these windows can be shown in it."""
        kinds = {i.label for c in choices for i in (*(c.proposal or ()), *(c.window.series.labels or ()))}
        layers = sorted({layer.name for c in choices for layer in layers_of(c)})
        found = self.client.find_projects(self.title)
        if not found or (len(found) == 1 and not found[0].get("task_number")):
            config = self._filled(choices, kinds, layers)
            fields = {"label_config": config, "sampling": "Sequential sampling", "show_skip_button": True,
                      "enable_empty_annotation": True, "show_collab_predictions": True, "skip_queue": "IGNORE_SKIPPED"}
            if found:
                self.client.update_project(found[0]["id"], **fields)
                number = found[0]["id"]
            else:
                number = self.client.create_project(title=self.title, description=DESCRIPTION, **fields)["id"]
            return number, template.read(config, self.title)
        project = self._project()
        return project["id"], self._adapted(project, kinds, layers)

    def _adapted(self, project: Mapping[str, Any], kinds: Collection[str], layers: Collection[str]) -> Template:
        """The project's template, with the labels that it lacks added."""
        form = template.read(project["label_config"], self.title)
        if set(kinds) - set(form.labels) or (form.aside and set(layers) - set(form.layers)):
            config = template.with_labels(project["label_config"], kinds, self.title, sorted(layers))
            self.client.update_project(project["id"], label_config=config)
            form = template.read(config, self.title)
        return form

    def _filled(self, choices: Sequence[Choice], kinds: Iterable[str], layers: Sequence[str]) -> str:
        path, settings = find_file(self.settings.template, "template", "*.xml"), self.settings
        widths = [c.window.values.shape[1] for c in choices]
        drawn = min(max(widths), settings.max_channels)
        names = {c.window.series.channels for c in choices}
        same = len(names) == 1 and drawn == widths[0]
        legends = next(iter(names)) if same else [str(n) for n in range(1, drawn + 1)]
        offered = read_kinds(find_file(settings.kinds, "kinds", "*.yaml")) if settings.kinds else ()
        detector = next((c.origin.detector for c in choices if c.origin is not None), "")
        look = template.Look(offered, tuple(layers), settings.language, detector)
        config = template.fill(
            path.read_text(encoding="utf-8"), kinds=kinds, legends=legends,
            time_kind=choices[0].window.series.time_kind, name=str(path), look=look,
        )  # fmt: skip
        return config if settings.pictures else template.without_overview(config)

    def _instruct(self, form: Template) -> None:
        """The key that submits, and what annotators read first: words of their own, and changes of ours, stay."""
        if self.settings.submit_key:
            self.client.set_hotkey(instruction.SUBMIT_ACTION, self.settings.submit_key)
        if not self.settings.instruction:
            return
        project = self._project()
        present = str(project.get("expert_instruction") or "")
        if present and not instruction.is_ours(present):
            return
        text = instruction.instruction(self.settings, form)
        if instruction.mark_of(text) != instruction.mark_of(present):
            shown = {} if present else {"show_instruction": True}  # who has switched it off wants it so
            self.client.update_project(project["id"], expert_instruction=text, **shown)

    def _task(self, choice: Choice, form: Template, version: str, rank: int) -> dict[str, Any]:
        named = choice.origin.model_version if choice.origin else str(choice.purpose)
        made = convert.task(choice, form, self.settings, self.push_id or named, version)
        data = {**made["data"], "priority": tabs.priority(choice.iteration, rank)}
        return {**made, "data": tabs.arranged(data)}

    def _known(self, project: int, wanted: dict[str, Choice]) -> dict[str, dict[str, Any]]:
        """The one task of each window that has one. Of several, the answered or else the oldest stays."""
        tasks: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for found in self.client.tasks(project):
            if found["data"].get("window_id") in wanted:
                tasks[found["data"]["window_id"]].append(found)
        doubles = []
        for same in tasks.values():
            same.sort(key=lambda t: (not _touched(t), t["id"]))
            doubles += [t["id"] for t in same[1:] if not _touched(t)]
        if doubles:
            self.client.delete_untouched(project, doubles)
        return {name: same[0] for name, same in tasks.items()}

    def _refresh(
        self, project: int, form: Template, wanted: dict[str, Choice], known: dict[str, dict[str, Any]]
    ) -> None:
        """New proposals for tasks that still wait with those of another model version."""
        stale = []
        for name, found in known.items():
            choice, offset = wanted[name], str(found["data"].get("utc_offset", "+00:00"))
            view = convert.drawn(choice, form, self.settings)
            made = convert.prediction(choice, view, form, offset, _version(wanted.values()))
            if made and not _touched(found) and _versions(found) != {made["model_version"]}:
                stale.append({"task": found["id"], **made})
        for at in range(0, len(stale), self.settings.chunk):
            self.client.replace_predictions(project, stale[at : at + self.settings.chunk])

    def _check_present(self, project: int, wanted: dict[str, Choice], answers: dict[str, list[Any]]) -> None:
        """Windows without an answer must still have their task; looked up again only when tasks came or went."""
        missing = wanted.keys() - answers.keys()
        total = self.client.count_tasks(project)
        if not missing or self._complete == (project, total):
            return
        missing -= {found["data"].get("window_id") for found in self.client.tasks(project, whole=False)}
        if missing:
            some = ", ".join(sorted({wanted[m].window.point_id for m in missing})[:3])
            raise ReviewError(
                f"{len(missing)} of {len(wanted)} tasks are gone from project {self.title} (of {some})",
                "Push the queue again with tsad push: it makes only the missing ones.",
            )
        self._complete = (project, total)


def _version(choices: Iterable[Choice]) -> str:
    """The model version whose proposals are shown; "" where nobody proposes anything."""
    versions = [c.origin.model_version for c in choices if c.origin and c.purpose is Purpose.TRAIN]
    return versions[-1] if versions else ""


def _by_window(choices: Sequence[Choice]) -> dict[str, Choice]:
    out: dict[str, Choice] = {}
    for choice in choices:
        out.setdefault(choice.window.window_id, choice)
    return out


def _touched(found: dict[str, Any]) -> bool:
    """Somebody has answered, skipped or begun the task."""
    return bool(found.get("annotations") or found.get("drafts") or found.get("draft_exists")
                or found.get("total_annotations") or found.get("cancelled_annotations"))


def _versions(found: dict[str, Any]) -> set[str]:
    """Model versions whose proposals a task holds."""
    return {str(p.get("model_version")) for p in found.get("predictions") or ()}
