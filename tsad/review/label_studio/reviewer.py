"""People review in Label Studio: one project per loop, one task per window, found again by the window's id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tsad.agreement.deciding import ConsensusRule
from tsad.core.errors import ConfigError, NoQueueError, ReviewError
from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.files.hashing import digest_of_parts
from tsad.files.locate import answers_folder
from tsad.review.agreement import resolve
from tsad.review.base import Callback, Reviewer
from tsad.review.label_studio import (
    batches,
    connections,
    convert,
    fitting,
    instruction,
    projects,
    server,
    tabs,
    template,
)
from tsad.review.label_studio.client import Client, where
from tsad.review.label_studio.conflicts import answer_layers, people_for, settle, share_out
from tsad.review.label_studio.kinds import read_kinds
from tsad.review.label_studio.known import KnownTask, KnownTasks, TaskReader
from tsad.review.label_studio.located import find_file
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template
from tsad.review.label_studio.writing import TaskWriter, versions_of
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

    What was pushed and answered is looked up in Label Studio every time (a copy in the cache saves reading what has not
    changed), so a killed push or pull is simply done again. A server that restarts meanwhile is waited for.

    Args:
        url: the server, without a trailing slash. token: a user's token; never logged.
        loop: names the project ``tsad-<loop>`` where ``options.project`` is empty.
        push_id: names this push, so that it can be withdrawn; default: the model version of each window.
        client: a ready client, for tests.

    Attributes:
        kept: folder of the copy; ``None`` = it lives as long as the reviewer.

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
        made = cls(options, url=server.service_url(options, home), token=server.token(options, home), loop=loop)
        made.kept = answers_folder(home)
        return made

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
        self.kept: Path | None = None
        self._copy = f"{digest_of_parts(self._address, self.title, loop)}.json"
        self._known: KnownTasks | None = None

    @cached_property
    def client(self) -> Client:
        """Connected at first use: making a reviewer costs nothing."""
        return self._client or Client(self._address, self._token, self.settings.patience, self.context)

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
        version, order = _version(choices), in_order(wanted.values())
        ranks = {c.window.window_id: rank for rank, c in enumerate(order)}
        now = self._project()
        with self._tasks(now, "reading the queue") as reader:
            writer = TaskWriter(self.client, reader)
            there = writer.one_each(wanted)
            fresh = [c for c in order if c.window.window_id not in there]
            with self.context.progress.task("pushing windows", len(fresh)) as pushed:
                for at in range(0, len(fresh), self.settings.chunk):
                    part = fresh[at : at + self.settings.chunk]
                    writer.make(part, lambda c: self._task(c, form, version, ranks[c.window.window_id]))
                    pushed(at + len(part))
            if fresh:  # another push may have made the same tasks meanwhile
                there = writer.one_each(wanted)
            if len(there) != len(wanted):
                raise ReviewError(
                    f"{len(wanted) - len(there)} of {len(wanted)} tasks did not arrive in project {self.title}",
                    "See Label Studio's log, then push again: what arrived is not pushed twice.",
                )
            self._refresh(writer, form, wanted, there, ranks)
        overlap = self.settings.overlap
        share_out(self.client, project, [t.id for w, t in there.items() if people_for(wanted[w].window, overlap) > 1])
        if version:
            # Label Studio shows the proposals of one model version only: the project's.
            self.client.update_project(project, model_version=version)
        self._instruct(now, form)
        tabs.keep_tabs(self.client, project, self.settings.language)
        return len(fresh)

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
        with self._tasks(project, "reading answers") as reader:
            tasks = reader.answers(wanted)
        if not gone:
            self._check_present(wanted, tasks)
        return [self._resolved(c, tasks[c.window.window_id], form) for c in choices]

    def _resolved(self, choice: Choice, tasks: Sequence[KnownTask], form: Template) -> ReviewedWindow:
        """How a window stands; it waits while an answer of it cannot be read."""
        read = [convert.read_annotations(task.as_given(), choice, form) for task in tasks]
        answers: list[Annotation] = [a for one in read for a in one.annotations]
        problems = [text for one in read for text in one.problems]
        if problems:
            return ReviewedWindow(choice, tuple(answers), ReviewState.PENDING, problem="; ".join(problems))
        return resolve(choice, answers, self.rule, people_for(choice.window, self.settings.overlap))

    def settle(self, reviewed: Sequence[ReviewedWindow]) -> int:
        """See :meth:`Reviewer.settle`; raises as :meth:`pull`."""
        conflicts = [r for r in reviewed if r.state is ReviewState.CONFLICT]
        layers = {layer.name for r in conflicts for layer in answer_layers(r, self.settings.language)}
        project = self._project()
        config = template.with_labels(project["label_config"], (), self.title, sorted(layers)) if layers else ""
        if layers and config != project["label_config"]:
            self.client.update_project(project["id"], label_config=config)
        form = template.read(config or project["label_config"], self.title)
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
        return batches.ask(self.client, self._project()["id"], choices, self.settings.language)

    def take_back(self, reviewed: Sequence[ReviewedWindow]) -> int:
        """See :meth:`Reviewer.take_back`; raises as :meth:`pull`."""
        with self.context.progress.task("taking answers back", sum(len(r.annotations) for r in reviewed)) as done:
            return batches.take_back(self.client, reviewed, done)

    def progress(self, choices: Sequence[Choice]) -> ReviewProgress:
        """How many of these windows have an answer."""
        wanted = _by_window(choices)
        with self._tasks(self._project(), "reading answers") as reader:
            tasks = reader.answers(wanted)
        answered = sum(any(task.annotations for task in own) for own in tasks.values())
        return ReviewProgress(self.project_url, len(wanted), answered)

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
        conditions = [where("data.push", "equal", push_id, "String")] if push_id else []
        project = self._project()
        with self._tasks(project, "reading tasks") as reader:
            ids = None
            if choices is not None:
                ids = [task.id for own in reader.locate(_by_window(choices)).values() for task in own]
            if ids is None or conditions or model_version:
                columns = ("predictions",) if model_version else ()
                rows = self.client.tasks(project["id"], columns, conditions, ids)
                ids = [row["id"] for row in rows if not model_version or model_version in versions_of(row)]
            return TaskWriter(self.client, reader).delete_untouched(ids)

    def connect(self, kind: Callback, url: str, secret: str) -> None:
        """See :meth:`Reviewer.connect`; raises as :meth:`pull` too."""
        add = connections.add_webhook if kind == "webhook" else connections.add_backend
        add(self.client, self._project()["id"], url, secret)

    def disconnect(self, kind: Callback, url: str) -> None:
        """See :meth:`Reviewer.disconnect`; raises as :meth:`pull` too."""
        remove = connections.remove_webhook if kind == "webhook" else connections.remove_backend
        remove(self.client, self._project()["id"], url)

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
            raise NoQueueError(
                f"Label Studio at {self._address} has no project {self.title}: it was deleted or renamed, or "
                "nothing was pushed yet",
                "Rename it back, or push the queue again with tsad push; answers in a deleted project are lost.",
            )
        return found[0]

    def _project_for(self, choices: Sequence[Choice]) -> tuple[int, Template]:
        """The project, made or adapted so that these windows can be shown in it."""
        found = self.client.find_projects(self.title)
        if not found or (len(found) == 1 and not found[0].get("task_number")):
            settings = self.settings
            offered = read_kinds(find_file(settings.kinds, "kinds", "*.yaml")) if settings.kinds else ()
            config = fitting.filled(find_file(settings.template, "template", "*.xml"), offered, choices, settings)
            fields = {"label_config": config, "sampling": "Sequential sampling", "show_skip_button": True,
                      "enable_empty_annotation": True, "show_collab_predictions": True, "skip_queue": "IGNORE_SKIPPED"}
            if found:
                self.client.update_project(found[0]["id"], **fields)
                number = found[0]["id"]
            else:
                number = projects.create(self.client, self.title, description=DESCRIPTION, **fields)
            return number, template.read(config, self.title)
        project = self._project()
        template.read(project["label_config"], self.title)  # says what it lacks before anything is changed
        config = fitting.fitted(project["label_config"], choices, self.title)
        if config != project["label_config"]:
            self.client.update_project(project["id"], label_config=config)
        return project["id"], template.read(config, self.title)

    def _instruct(self, project: Mapping[str, Any], form: Template) -> None:
        """The key that submits, and what annotators read first: words of their own, and changes of ours, stay."""
        if self.settings.submit_key:
            self.client.set_hotkey(instruction.SUBMIT_ACTION, self.settings.submit_key)
        if not self.settings.instruction:
            return
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

    @contextmanager
    def _tasks(self, project: Mapping[str, Any], name: str) -> Iterator[TaskReader]:
        """What is known of the project's tasks, kept again where all went well. ``name`` is what people see done."""
        known, self._known = self._known, None
        path = self.kept and self.kept / self._copy
        if known is None or not known.is_of(project):
            known = KnownTasks.load(path, project)
        with self.context.progress.task(name) as read:
            yield TaskReader(self.client, known, project, self._project, read)
        known.save(path)
        self._known = known

    def _refresh(
        self, writer: TaskWriter, form: Template, wanted: Mapping[str, Choice], there: Mapping[str, KnownTask],
        ranks: Mapping[str, int],
    ) -> None:
        """New proposals for tasks that still wait with those of another model version."""
        version, choices = _version(wanted.values()), {task.id: wanted[name] for name, task in there.items()}

        def draw(task: KnownTask) -> dict[str, Any]:
            choice = choices[task.id]
            return self._task(choice, form, version, ranks[choice.window.window_id])

        shown = {number: convert.shown_version(choice, version) for number, choice in choices.items()}
        writer.refresh(shown, there.values(), draw, self.settings.chunk)

    def _check_present(self, wanted: Mapping[str, Choice], tasks: Mapping[str, Sequence[KnownTask]]) -> None:
        """Every window must still have its task."""
        missing = [name for name in wanted if not tasks[name]]
        if missing:
            some = ", ".join(sorted({wanted[name].window.point_id for name in missing})[:3])
            raise ReviewError(
                f"{len(missing)} of {len(wanted)} tasks are gone from project {self.title} (of {some})",
                "Push the queue again with tsad push: it makes only the missing ones.",
            )


def _version(choices: Iterable[Choice]) -> str:
    """The model version whose proposals are shown; "" where nobody proposes anything."""
    versions = [c.origin.model_version for c in choices if c.origin and c.purpose is Purpose.TRAIN]
    return versions[-1] if versions else ""


def _by_window(choices: Sequence[Choice]) -> dict[str, Choice]:
    out: dict[str, Choice] = {}
    for choice in choices:
        out.setdefault(choice.window.window_id, choice)
    return out
