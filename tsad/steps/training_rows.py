"""Reviewed windows as rows of other trainers: ChatTS-Training, LLaMA-Factory, Qwen's own scripts, ms-swift.

Questions, answers, cutting and drawing are those of our own training rows, so that an adapter trained elsewhere is
asked here what it was taught. The formats: ``data/dataset_info.json`` of xiezhe-24/ChatTS-Training, ``data/README.md``
of hiyouga/LLaMA-Factory, ``qwen-vl-finetune/README.md`` of QwenLM/Qwen3-VL, ``Custom-dataset.md`` of ms-swift.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.composing import option
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, DatasetError
from tsad.core.reviews import DatasetVersion
from tsad.files.atomic import atomic, new_folder, storage, write_file

if TYPE_CHECKING:
    from tsad.detectors.llm.detector import LanguageDetector, LanguageOptions
    from tsad.detectors.llm.plain import PlainRow
    from tsad.detectors.llm.qwen_vl.reader import QwenVLReader

log = logging.getLogger("tsad")

INFO = "dataset_info.json"
PICTURE = re.compile(r"[0-9a-f]{16}\.png")  # by the content of the block
ROWS = ("chatts", "llamafactory", "qwen_vl", "swift")


@dataclass(frozen=True, eq=False)
class Written:
    """What was written.

    Attributes:
        beside: what lies beside the rows: the folder of pictures, ``dataset_info.json``.
        files: all of them.
        bytes: of rows and pictures.
    """

    rows: int
    beside: tuple[str, ...]
    files: int
    bytes: int


def write_rows(bench: Workbench, version: DatasetVersion, path: Path, format: str) -> Written:
    """Write one row per block of each usable window; the same version and config give the same bytes.

    Args:
        path: the JSONL; pictures go to ``<stem>_images`` beside it, ``dataset_info.json`` gets an entry ``<stem>``.

    Raises:
        ConfigError: an output that cannot be taken.
        DatasetError: a channel's name that holds the mark of a series or a picture.
    """
    if path.name == INFO:
        raise ConfigError(f"output={path} is the name of the file beside the rows", "Take e.g. output=reviewed.jsonl.")
    kind, options = _family(bench, format)
    sheet = _Sheet(format, options, kind.plain_reader(options), images_of(path).name)
    if format == "qwen_vl" and options.prompt.system:
        log.warning("qwen_vl has no place for a system message: with prompt.system='' the detector asks without one")
    with atomic(path) as draft, _pictures(path, format) as pictures, draft.open("w", encoding="utf-8") as file:
        for line in sheet.lines(version, pictures):
            file.write(line + "\n")
    if sheet.bare:
        log.warning("windows in which nothing varies give no row: %d (%s)", len(sheet.bare), _some(sheet.bare))
    beside = [images_of(path)] if format != "chatts" else []
    drawn = [file for folder in beside for file in folder.iterdir()]
    if format in INFOS:
        _enter(path, INFOS[format](options))
        beside.append(path.with_name(INFO))
    size = sum(file.stat().st_size for file in (path, *drawn))
    return Written(sheet.rows, tuple(map(str, beside)), 1 + len(drawn) + (format in INFOS), size)


def withdraw(path: Path, format: str) -> None:
    """Delete a JSONL that :func:`write_rows` has written, its pictures, and its entry in ``dataset_info.json``."""
    folder = images_of(path)
    if format != "chatts" and folder.is_dir():
        for file in folder.iterdir():
            if PICTURE.fullmatch(file.name):
                file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    if format in INFOS and path.with_name(INFO).is_file():
        _enter(path, None)
    path.unlink()


def images_of(path: Path) -> Path:
    """The folder of pictures beside a JSONL."""
    return path.with_name(f"{path.stem}_images")


def _family(bench: Workbench, format: str) -> tuple[type[LanguageDetector], LanguageOptions]:
    """The detector that is to be trained: this config's, or the large one as it ships under this config's prompt."""
    from tsad.detectors.llm.chatts.detector import ChatTS
    from tsad.detectors.llm.qwen_vl.detector import QwenVL

    kind, name = (ChatTS, "chatts_8b") if format == "chatts" else (QwenVL, "qwen_vl_8b")
    if issubclass(bench.detector_kind, kind):
        kind, given = bench.detector_kind, dict(bench.detector_config)
    else:
        given = option("detector", name) | {"prompt": bench.prompt}
    given.pop("_target_", None)
    options: Any = kind.options_model(**given)
    return kind, options


@contextmanager
def _pictures(path: Path, format: str) -> Iterator[Path | None]:
    """A folder to draw into, which takes the place of the one of before; ``None`` for series as numbers.

    Raises:
        DatasetError: there is a folder of that name that holds something else.
    """
    if format == "chatts":
        yield None
        return
    folder = images_of(path)
    other = [file.name for file in folder.iterdir() if not PICTURE.fullmatch(file.name)] if folder.is_dir() else []
    if other:
        raise DatasetError(f"{folder} holds {other[0]}, which is no picture of an export", "Take another output.")
    with new_folder(folder) as fresh:
        yield fresh


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@dataclass(eq=False)
class _Sheet:
    """Rows being written.

    Attributes:
        rows: so far.
        bare: ids of windows that gave none.
    """

    format: str
    options: LanguageOptions
    reader: Any
    images: str
    rows: int = 0
    bare: list[str] = field(default_factory=list)

    def lines(self, version: DatasetVersion, pictures: Path | None) -> Iterator[str]:
        """Each row as JSON."""
        from tsad.detectors.llm.plain import plain_rows

        for reviewed in version.windows:
            if not reviewed.usable:
                continue
            before = self.rows
            for row in plain_rows(self.options, self.reader, reviewed):
                self.rows += 1
                values = self._spoken(row) if pictures is None else self._drawn(row, pictures)
                yield json.dumps(values, ensure_ascii=False, allow_nan=False)
            if self.rows == before:
                self.bare.append(reviewed.window.window_id)

    def _spoken(self, row: PlainRow) -> dict[str, Any]:
        from tsad.detectors.llm.chatts.reader import MARK, raised

        series = [raised(values).tolist() for values in row.piece.block.values.T]
        _check_marks(row, MARK, len(series))
        system = {"system": self.options.prompt.system} if self.options.prompt.system else {}
        return {**system, "input": row.question, "output": row.answer, "timeseries": series}

    def _drawn(self, row: PlainRow, pictures: Path) -> dict[str, Any]:
        from PIL import Image

        from tsad.detectors.llm.qwen_vl.reader import MARK

        reader: QwenVLReader = self.reader
        _check_marks(row, MARK, 1)
        file = pictures / f"{row.piece.key[:16]}.png"
        if not file.exists():
            with storage(file):
                Image.fromarray(reader.picture(row.piece.block)).save(file)
        image = f"{self.images}/{file.name}"
        if self.format == "qwen_vl":
            said = (("human", row.question), ("gpt", row.answer))
            return {"image": image, "conversations": [{"from": who, "value": text} for who, text in said]}
        turns = [("system", self.options.prompt.system)] if self.options.prompt.system else []
        turns += [("user", row.question), ("assistant", row.answer)]
        return {"messages": [{"role": who, "content": text} for who, text in turns], "images": [image]}


def _check_marks(row: PlainRow, mark: str, count: int) -> None:
    if row.question.count(mark) != count or mark in row.answer:
        raise DatasetError(
            f"a row has {row.question.count(mark)} marks {mark} for {count} of them", f"No channel is called {mark}."
        )


def _enter(path: Path, entry: dict[str, Any] | None) -> None:
    """Put the entry ``<stem>`` into the ``dataset_info.json`` beside a JSONL, or take it out; others stay.

    Raises:
        DatasetError: a file of that name that is something else.
    """
    info = path.with_name(INFO)
    try:
        known = json.loads(info.read_text(encoding="utf-8")) if info.exists() else {}
    except ValueError as error:
        raise DatasetError(f"{info} is no JSON ({error})", "Mend it, or take another folder for output.") from error
    if not isinstance(known, dict):
        raise DatasetError(f"{info} holds no JSON object", "Mend it, or take another folder for output.")
    known.pop(path.stem, None)
    if entry is not None:
        known[path.stem] = {"file_name": path.name, **entry}
    if known:
        write_file(info, (json.dumps(known, ensure_ascii=False, indent=2) + "\n").encode())
    else:
        info.unlink(missing_ok=True)


def _chatts_info(options: LanguageOptions) -> dict[str, Any]:
    columns = {"prompt": "input", "response": "output", "timeseries": "timeseries"}
    return {"columns": columns | ({"system": "system"} if options.prompt.system else {})}


def _sharegpt_info(_: LanguageOptions) -> dict[str, Any]:
    roles = {f"{role}_tag": role for role in ("user", "assistant", "system")}
    return {
        "formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"},
        "tags": {"role_tag": "role", "content_tag": "content", **roles},
    }  # fmt: skip


INFOS: dict[str, Callable[[Any], dict[str, Any]]] = {"chatts": _chatts_info, "llamafactory": _sharegpt_info}
