"""What has come over HTTP: unpacked within limits, through the door of ``tsad data action=register``, and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.core.errors import SourceError, StorageError, TsadError, UploadError
from tsad.core.results import Result
from tsad.files.unpack import check_gzip, too_large, unpack
from tsad.service.errors import RequestRefused
from tsad.service.transfers import CHECKING, REFUSED, REGISTERED, Place
from tsad.steps.uploads import Registration, reading_as, register

if TYPE_CHECKING:
    from tsad.config.workbench import Workbench

READY = "ready"  # what is registered of a transfer: archives unpacked


@dataclass(frozen=True, eq=False)
class Uploaded(Result):
    """Files that were handed in and are kept.

    Attributes:
        registration: what became of each file, and the quality of each series.
        ignored: files that are nobody's series, by the patterns of ``source.glob``.
        overrides: words that let any verb, and any job, read them.
    """

    transfer: str
    registration: Registration
    ignored: tuple[str, ...]
    overrides: tuple[str, ...]


def kept(bench: Workbench, place: Place, most: int, source: str) -> Uploaded:
    """Take what has come through the door, and let it go.

    Args:
        most: bytes of all files, unpacked. source: keys of ``source=csv`` as a JSON object; "" = none.

    Raises:
        UploadError: none of it is valid, or an archive cannot be taken. StorageError: disk full.
    """
    place.say(CHECKING)
    keys = _keys(source)
    bench = reading_as(bench, keys) if keys else bench
    given = sorted(place.files.iterdir())
    ready = place.folder / READY
    try:
        names = _made_ready(given, ready, most)
        registration = _registered(bench, ready, given[0].name if len(given) == 1 else f"{len(given)} files")
    finally:
        Place(ready).forget()
        _let_go()
    place.clear()
    place.say(REGISTERED, upload=registration.upload or "")
    known = {named for file in registration.checked for named in (file.file, _stem(file.file))}
    ignored = tuple(name for name in names if name not in known and _stem(name) not in known)
    return Uploaded(place.folder.name, registration, ignored, registration.overrides)


@contextmanager
def refusals(place: Place) -> Iterator[None]:
    """Keeps what a transfer was refused for, and lets its files go."""
    try:
        yield
    except BaseException as error:
        place.clear()
        found = error.found if isinstance(error, TsadError) else "the service has failed or was stopped"
        with suppress(StorageError):  # the disk is full: the answer says so
            place.say(REFUSED, problem=found)
        raise


def _let_go() -> None:
    """Give back the memory that reading took: a service lives on, and its allocator would keep it."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def _registered(bench: Workbench, ready: Path, called: str) -> Registration:
    try:
        registration = register(bench, ready, called)
    except SourceError as error:
        raise UploadError(error.found.replace(str(ready.absolute()), "the upload"), error.remedy) from error
    refusal = registration.refusal()
    if refusal is not None:
        raise UploadError(refusal.found, refusal.remedy)
    return registration


def _stem(name: str) -> str:
    return Path(name.removesuffix(".gz")).with_suffix("").as_posix()


def _made_ready(given: Sequence[Path], ready: Path, most: int) -> list[str]:
    """Archives unpacked, other files as they are; the names of all, as they lie in ``ready``."""
    Place(ready).forget()
    ready.mkdir(mode=0o700)
    left = most
    files: list[Path] = []
    for path in given:
        own = unpack(path, ready, left) if path.suffix.lower() == ".zip" else [path.rename(ready / path.name)]
        for file in own:
            left -= check_gzip(file, left) if file.suffix.lower() == ".gz" else file.stat().st_size
            if left < 0:
                raise too_large("the upload", most, "unpacked")
        files += own
    return [file.relative_to(ready).as_posix() for file in files]


def _keys(source: str) -> Mapping[str, Any]:
    """Keys of ``source=csv`` that came with the files.

    Raises:
        RequestRefused: 422: no JSON, or no object.
    """
    remedy = 'Send e.g. {"separator": ";"}.'
    try:
        keys = json.loads(source) if source else {}
    except (ValueError, RecursionError) as error:
        raise RequestRefused(422, "source is no JSON", remedy) from error
    if not isinstance(keys, dict):
        raise RequestRefused(422, "source is no JSON object", remedy)
    return keys
