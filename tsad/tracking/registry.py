"""One registered model per loop and detector: its versions, aliases, and what may be deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import RegistryError, TrackingError
from tsad.tracking.artifacts import check_own, delete_artifacts, fetch_artifacts, fetch_folder
from tsad.tracking.claims_run import claims_place
from tsad.tracking.guard import error_code
from tsad.tracking.logged_models import DIGEST, SCHEME
from tsad.tracking.pages import every_page
from tsad.tracking.states import quoted

if TYPE_CHECKING:
    from tsad.tracking.store import Store

CHAMPION, PREVIOUS = "champion", "previous"
MODEL_ID, FOLDER = "tsad.model_id", "tsad.folder"  # tags that say where a version's files are, now and before
KEEP, ARTIFACTS, PRUNED, MOVING = "tsad.keep", "tsad.artifacts", "pruned", "tsad.moving"
_PAGE = 200


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        source: where its files are, as MLflow knows it; below the artifacts of its run.
        created: ms since 1970 UTC.
    """

    name: str
    version: int
    run_id: str
    source: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created: int = 0

    @property
    def label(self) -> str:
        """``<name>:<version>``: what predictions carry."""
        return f"{self.name}:{self.version}"

    @property
    def model_id(self) -> str:
        """Of the LoggedModel that it is; "" for a version of before, whose files are artifacts of its run."""
        return self.tags.get(MODEL_ID, "")

    @property
    def owner(self) -> str:
        """Whose artifacts its files are: id of the LoggedModel, else of the run."""
        return self.model_id or self.run_id

    @property
    def pruned(self) -> bool:
        """Whether its files were deleted to save space (or their deletion was begun)."""
        return ARTIFACTS in self.tags


class Registry:
    """The versions of one registered model; nothing is created until one is registered."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name

    def register(self, *, run_id: str, model_uri: str, tags: Mapping[str, Any]) -> Version:
        """Register the model that a run logged; the same run again gives the same version.

        Args:
            model_uri: ``models:/<model_id>``, what ``log_model`` returned; ``runs:/<run_id>/<folder>`` in a store of
                before.
        """
        client = self.store.client
        known = self._search(f"name = {quoted(self.name)} AND run_id = {quoted(run_id)}")
        if known:
            return known[0]
        try:
            client.create_registered_model(self.name)
        except TrackingError as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        texts = {key: str(value)[:5000] for key, value in tags.items() if str(value)}  # what is not there is no tag
        if model_uri.startswith(SCHEME):
            return self._version(self._of_logged_model(run_id, model_uri.removeprefix(SCHEME), texts), {})
        folder = model_uri.removeprefix(f"runs:/{run_id}/")
        if folder == model_uri:
            raise RegistryError(f"{model_uri} is not a model of run {run_id}", "Pass what log_model returned.")
        source = f"{client.get_run(run_id).info.artifact_uri}/{folder}"
        made = client.create_model_version(self.name, source, run_id, tags={**texts, FOLDER: folder})
        return self._version(made, {})

    def _of_logged_model(self, run_id: str, model_id: str, tags: Mapping[str, str]) -> Any:
        client = self.store.client
        model = client.get_logged_model(model_id)
        if model.source_run_id != run_id:
            raise RegistryError(f"Model {model_id} is not one of run {run_id}", "Pass what log_model returned.")
        # by its address: MLflow asks the process's default store for a models:/ one
        made = client.create_model_version(
            self.name, model.artifact_location, run_id, tags={**tags, MODEL_ID: model_id}, model_id=model_id
        )
        versions = json.dumps([{"name": self.name, "version": int(made.version)}])
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": versions})
        return made

    def describe(self, text: str, version: Version | None = None) -> None:
        """The Markdown that MLflow shows of a version; ``None`` = of the model itself."""
        if version is None:
            self.store.client.update_registered_model(self.name, text)
        else:
            self.store.client.update_model_version(self.name, str(version.version), text)

    def versions(self) -> list[Version]:
        """All versions, oldest first; those without files too."""
        return sorted(self._search(f"name = {quoted(self.name)}"), key=lambda v: v.version)

    def alias(self, name: str) -> Version | None:
        """The version under an alias, e.g. ``champion``; ``None`` where there is none."""
        aliases = self._aliases()
        return self._get(aliases[name], aliases) if name in aliases else None

    def get(self, number: int) -> Version:
        """A version by its number.

        Raises:
            RegistryError: there is none.
        """
        return self._get(number, self._aliases())

    def _get(self, number: int, aliases: Mapping[str, int]) -> Version:
        try:
            return self._version(self.store.client.get_model_version(self.name, str(number)), aliases)
        except TrackingError as error:
            if error_code(error) not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise RegistryError(f"{self.name} has no version {number}", "`tsad status` lists them.") from error

    def resolve(self, name: str) -> Version | None:
        """A version by number or alias; an alias that is not set is ``None``, an unknown number an error."""
        return self.get(int(name)) if name.isdecimal() else self.alias(name)

    def set_alias(self, name: str, version: Version) -> None:
        """Point an alias at a version; it leaves the version it was at."""
        self.store.client.set_registered_model_alias(self.name, name, str(version.version))

    def set_tags(self, version: Version, tags: Mapping[str, Any]) -> None:
        """Add or replace tags of a version; ``tsad.keep`` protects its files from ``prune``."""
        for key, value in tags.items():
            self.store.client.set_model_version_tag(self.name, str(version.version), key, str(value))

    def promote(self, version: Version) -> None:
        """Make a version the champion, and the champion before it ``previous``; twice is once.

        Raises:
            RegistryError: its files were pruned.
        """
        self._finish_move()
        if version.pruned:
            raise RegistryError(f"{version.label} cannot be promoted: its files were pruned", "Train it again.")
        champion = self._aliases().get(CHAMPION)
        if champion == version.version:
            return
        self._move("promote", version.version, champion)
        self.set_tags(version, {"tsad.promoted_at": _now()})

    def rollback(self) -> Version:
        """Make ``previous`` the champion again and the champion ``previous``; returns the champion.

        A rollback that was killed half-way is finished, not begun again.

        Raises:
            RegistryError: there is no previous version.
        """
        if self._finish_move() != "rollback":
            aliases = self._aliases()
            before, back = aliases.get(CHAMPION), aliases.get(PREVIOUS)
            if before is None or back is None:
                raise RegistryError(f"{self.name} has no previous version to go back to", "Nothing was promoted yet.")
            self._move("rollback", back, before)
            self.set_tags(self.get(before), {"tsad.rolled_back_at": _now()})
        champion = self.alias(CHAMPION)
        if champion is None:
            raise RegistryError(f"{self.name} lost its champion while it was rolled back", "Promote a version.")
        return champion

    def _move(self, why: str, champion: int, previous: int | None) -> None:
        """Move two aliases as one: the tag says what is under way, so that a kill in between can be finished."""
        client = self.store.client
        client.set_registered_model_tag(self.name, MOVING, f"{why} {champion} {previous or 0}")
        client.set_registered_model_alias(self.name, CHAMPION, str(champion))
        if previous:
            client.set_registered_model_alias(self.name, PREVIOUS, str(previous))
        client.delete_registered_model_tag(self.name, MOVING)

    def _finish_move(self) -> str:
        """Finish a move that was killed half-way; returns what it was, "" where none was."""
        model = self._model()
        pending = "" if model is None else model.tags.get(MOVING, "")
        if not pending:
            return ""
        why, champion, previous = pending.split()
        self._move(why, int(champion), int(previous) or None)
        return str(why)

    def prune(self, keep: int) -> list[Version]:
        """Delete the files of all but the newest ``keep`` versions; returns those it deleted.

        A version under any alias or with the tag ``tsad.keep`` keeps its files. A pruned version stays listed, with
        its tags and metrics.
        """
        deleted = []
        versions = self.versions()
        for version in versions[: max(0, len(versions) - keep)]:
            if version.aliases or KEEP in version.tags or version.tags.get(ARTIFACTS) == PRUNED:
                continue
            # the tag comes before the files: a kill in between leaves no version that looks whole and is not
            check_own(self.store, version.owner, version.source)
            self.set_tags(version, {ARTIFACTS: "pruning"})
            delete_artifacts(self.store, version.owner, version.source)
            if version.model_id:
                self.store.client.set_logged_model_tags(version.model_id, {ARTIFACTS: PRUNED})
            self.set_tags(version, {ARTIFACTS: PRUNED})
            deleted.append(version)
        return deleted

    def fetch(self, version: Version, folder: Path) -> Path:
        """Copy a version's files to ``folder``; returns the folder that holds ``MLmodel``.

        Raises:
            RegistryError: its files were pruned.
        """
        self.check_files(version)
        if version.model_id:
            return fetch_folder(self.store, version.model_id, version.source, folder)
        return fetch_artifacts(self.store, version.run_id, version.tags[FOLDER], folder)

    def digest_of(self, version: Version) -> str | None:
        """SHA-256 of the version's description, as it was written down once; ``None`` for a version of before.

        Raises:
            RegistryError: it is not written down, as it is for every version that is a LoggedModel.
        """
        if not version.model_id:
            return None
        client = self.store.client
        run = client.get_run(version.run_id)
        key, parent = f"{DIGEST}.{version.run_id}", run.data.tags.get("mlflow.parentRunId", "")
        place = claims_place(parent, client.get_run(parent).data.params) if parent else ""
        params = client.get_run(place).data.params if place else run.data.params
        if key not in params:
            raise RegistryError(f"The store does not say which files {version.label} has", "Promote another version.")
        return str(params[key])

    def check_files(self, version: Version) -> None:
        """Refuse a version whose files were pruned."""
        if version.pruned:
            raise RegistryError(
                f"The files of {version.label} were pruned (tracking.keep_versions)",
                "Name a newer version; the tag tsad.keep protects one for good.",
            )

    def _search(self, filter_string: str) -> list[Version]:
        search = self.store.client.search_model_versions
        found = list(every_page(search, filter_string=filter_string, max_results=_PAGE))
        aliases = self._aliases() if found else {}
        return [self._version(one, aliases) for one in found]

    def _model(self) -> Any:
        try:
            return self.store.client.get_registered_model(self.name)
        except TrackingError as error:
            if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _aliases(self) -> dict[str, int]:
        model = self._model()
        return {} if model is None else {name: int(number) for name, number in model.aliases.items()}

    def _version(self, found: Any, aliases: Mapping[str, int]) -> Version:
        number = int(found.version)
        names = tuple(sorted(name for name, at in aliases.items() if at == number))
        return Version(
            self.name, number, found.run_id, found.source, dict(found.tags), names, found.creation_timestamp
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
