"""The labelling template: filled in for a project, and read back to see what a project really has. Pure."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tsad.core.errors import ReviewError
from tsad.core.types import ANOMALY, TimeKind
from tsad.review.label_studio.kinds import Kind
from tsad.review.label_studio.language import Language
from tsad.review.label_studio.scale import Range

SERIES_KEY = "series"  # key of a task's data that holds times and columns
OVERVIEW_KEY = "overview"  # key of the picture of the whole series
FREE_KEYS = "123456789"  # that Label Studio gives to kinds without one of their own, in this order
TIME_COLUMN = "time"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%L"  # always with milliseconds: one project may show coarse and fine series
COLOURS = ("#d62728", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#2ca02c", "#17becf", "#bcbd22", "#1f77b4", "#7f7f7f")
ASIDE = "aside"  # name of the hidden control whose regions are seen and not answered
CONTEXT, NO_DATA = "Context", "No data"  # its labels beside the names of detectors
VERDICT, REASON = "verdict", "reason"  # controls that people may fill in beside the intervals (review.verdict)
AS_PROPOSED, CORRECTED, CANNOT_TELL = "as proposed", "corrected", "cannot tell"  # choices of the former
# What proposals of these detectors are drawn in, where they name no kind; the others' are red.
DETECTOR_COLOURS = {"chatts": "#6a3d9a", "qwen_vl": "#00838f"}
LAYER_COLOURS = ("#0d47a1", "#1b5e20", "#00695c", "#ad1457", "#4527a0", "#827717", "#4e342e", "#37474f")
LOWEST = 90  # pixels of a channel's plot
CHINESE = {  # texts of ours in a template, as review.language=zh shows them
    CONTEXT: "上下文", NO_DATA: "无数据", AS_PROPOSED: "与建议一致", CORRECTED: "已更正", CANNOT_TELL: "无法判断",
    "Why? (if you like)": "原因（可不填）",
}  # fmt: skip
BATCH = "batch"  # control of the mark that a batch action leaves in an annotation; no template has it
RESTORE = "Restore it under Settings > Labeling Interface, or start a new project: review.project=<name>."


@dataclass(frozen=True)
class Template:
    """What a project's labelling config says, as far as tasks and answers depend on it.

    Attributes:
        from_name: name of the TimeSeriesLabels control, to_name: name of the TimeSeries.
        time_kind: ``index`` where the time axis is numeric.
        channels: columns ``c1`` ... ``cN`` that every task must have.
        labels: kinds an annotator can choose.
        others: names of further controls; their results are not intervals and are left alone.
        aside: that of them whose regions are seen and not answered; "" where a project has none, so that its tasks show
            their windows alone. layers: its labels.
        verdict, reason: those that ask how the window stands to the proposal, and why; "" where nobody is asked.
        hotkeys: the kinds as people read them, each with its key; "" where it has none.
        overview: whether tasks show a picture of the whole series, and so must have one.
    """

    from_name: str
    to_name: str
    time_kind: TimeKind
    channels: int
    labels: tuple[str, ...]
    others: frozenset[str]
    aside: str = ""
    layers: tuple[str, ...] = ()
    verdict: str = ""
    reason: str = ""
    hotkeys: Mapping[str, str] = field(default_factory=dict, compare=False)  # texts for people; no answer holds them
    overview: bool = False


@dataclass(frozen=True)
class Look:
    """How a new project's template looks, beside what its windows are.

    Attributes:
        kinds: to offer, in this order, each with its colour, key and names.
        layers: names of what is shown beside the champion's intervals.
        language: of the texts. verdict: keep the controls that ask for a verdict and a reason.
        ranges: of values that each channel is drawn over; ``None``, or none at all = as each task needs it.
        detector: whose proposals are shown: "Anomaly" has its colour, unless the file says another than ours.
    """

    kinds: tuple[Kind, ...] = ()
    layers: tuple[str, ...] = ()
    language: Language = "en"
    verdict: bool = False
    ranges: tuple[Range | None, ...] = ()
    detector: str = ""


def column(number: int) -> str:
    """Name of the n-th drawn column, from 1. The editor lower-cases column names."""
    return f"c{number}"


def fill(
    text: str, *, kinds: Iterable[str], legends: Sequence[str], time_kind: TimeKind, name: str, look: Look = Look()
) -> str:
    """A template file made into a project's labelling config.

    Args:
        text: XML of the template file. name: the file, for messages.
        kinds: labels to offer beside those of ``look``; "Anomaly" always comes first.
        legends: one per drawn channel.

    Raises:
        ReviewError: the file is no XML or lacks a part that tsad depends on.
    """
    root = _root(text, f"Template {name}")
    series, control = _parts(root, f"Template {name}")
    pattern = next((e for e in series if e.tag == "Channel"), None)
    if pattern is None:
        raise ReviewError(f"Template {name} has no Channel in its TimeSeries", "Compare it with timeseries.xml.")
    for child in [e for e in series if e.tag == "Channel"]:
        series.remove(child)
    series.extend(_channels(pattern, legends, look.ranges))
    if time_kind == "index":
        series.attrib.pop("timeFormat", None)
        # Not a letter first: the editor would take the axis for dates.
        series.set("timeDisplayFormat", ".0f")
        series.set("durationDisplayFormat", ".0f")
    else:
        series.set("timeFormat", TIME_FORMAT)
    _add_kinds(control, look)
    _add_labels(control, kinds)
    if (aside := _aside(root, series)) is not None:
        _add_layers(aside, look.layers, control)
    for label in control.iter("Label"):
        if _name(label) == ANOMALY and label.get("background") == COLOURS[0]:
            label.set("background", DETECTOR_COLOURS.get(look.detector, COLOURS[0]))
    _ask(root, f"Template {name}", look.verdict)
    _speak(root, look.language)
    return ET.tostring(root, encoding="unicode")


def _channels(pattern: ET.Element, legends: Sequence[str], ranges: Sequence[Range | None]) -> list[ET.Element]:
    """A plot for each legend, made after the template's first; several share the height of one and a half."""
    channels = []
    for number, legend in enumerate(legends, 1):
        channel = copy.deepcopy(pattern)
        channel.set("column", column(number))
        channel.set("legend", legend)
        if len(legends) > 1:
            channel.set("height", str(max(LOWEST, int(pattern.get("height", "340")) * 3 // (2 * len(legends)))))
        own = ranges[number - 1] if number <= len(ranges) else None
        if own is not None and not channel.get("dataRange"):
            channel.set("dataRange", _range(own))
        channels.append(channel)
    return channels


def widened(config: str, needed: Sequence[Range | None], project: str) -> str:
    """The project's config with every range widened that values would leave: nobody could see them."""
    root = _root(config, f"The template of project {project}")
    series, _ = _parts(root, f"The template of project {project}")
    for channel, need in zip(series.iter("Channel"), needed, strict=False):
        given = [float(edge) for edge in channel.get("dataRange", "").split(",") if edge.strip()]
        if need is not None and len(given) == 2 and (need[0] < given[0] or need[1] > given[1]):
            channel.set("dataRange", _range((min(need[0], given[0]), max(need[1], given[1]))))
    return _changed(config, root)


def _changed(config: str, root: ET.Element) -> str:
    """The config as the tree now has it; as it was, to the letter, where nothing in it has changed."""
    text = ET.tostring(root, encoding="unicode")
    return config if text == ET.tostring(ET.fromstring(config), encoding="unicode") else text


def _range(edges: Range) -> str:
    return f"{edges[0]:.6g},{edges[1]:.6g}"


def with_labels(config: str, kinds: Iterable[str], project: str, layers: Iterable[str] = ()) -> str:
    """The project's config with the missing kinds and layers added; what people changed besides stays."""
    root = _root(config, f"The template of project {project}")
    series, control = _parts(root, f"The template of project {project}")
    _add_labels(control, kinds)
    if (aside := _aside(root, series)) is not None:
        _add_layers(aside, layers, control)
    return _changed(config, root)


def read(config: str, project: str) -> Template:
    """What a project's config says.

    Raises:
        ReviewError: tasks pushed by tsad cannot be shown or read with it any more; names what is missing.
    """
    what = f"The template of project {project}"
    root = _root(config, what)
    series, control = _parts(root, what)
    columns = [e.get("column", "").lower() for e in series.iter("Channel")]
    if columns != [column(n) for n in range(1, len(columns) + 1)] or not columns:
        raise ReviewError(f"{what} has changed: its channels are {columns or 'gone'} instead of c1, c2, ...", RESTORE)
    if series.get("timeColumn") != TIME_COLUMN:
        raise ReviewError(f"{what} has changed: timeColumn is {series.get('timeColumn')}, not {TIME_COLUMN}", RESTORE)
    time_format = series.get("timeFormat", "")
    if time_format not in ("", TIME_FORMAT):
        raise ReviewError(f"{what} has changed: timeFormat is {time_format}, not {TIME_FORMAT}", RESTORE)
    names = {e.get("name", "") for e in root.iter() if e.get("toName")} - {control.get("name", "")}
    aside = _aside(root, series)
    return Template(
        from_name=control.get("name", ""),
        to_name=series.get("name", ""),
        time_kind="time" if time_format else "index",
        channels=len(columns),
        labels=tuple(_name(e) for e in control.iter("Label")),
        others=frozenset(names),
        aside="" if aside is None else ASIDE,
        layers=() if aside is None else tuple(_name(e) for e in aside.iter("Label")),
        verdict=VERDICT if VERDICT in names else "",
        reason=REASON if REASON in names else "",
        hotkeys=_hotkeys(control),
        overview=any(e.get("value") == f"${OVERVIEW_KEY}" for e in root.iter("Image")),
    )


def _root(text: str, what: str) -> ET.Element:
    try:
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise ReviewError(f"{what} is not well-formed XML: {error}", RESTORE) from error


def _parts(root: ET.Element, what: str) -> tuple[ET.Element, ET.Element]:
    series = next((e for e in root.iter("TimeSeries") if e.get("value") == f"${SERIES_KEY}"), None)
    if series is None or not series.get("name"):
        raise ReviewError(f'{what} has changed: it has no TimeSeries with value="${SERIES_KEY}"', RESTORE)
    control = next((e for e in _controls(root, series) if e.get("name") != ASIDE), None)
    if control is None or not control.get("name"):
        raise ReviewError(f"{what} has changed: no TimeSeriesLabels belongs to {series.get('name')}", RESTORE)
    return series, control


def _controls(root: ET.Element, series: ET.Element) -> list[ET.Element]:
    return [e for e in root.iter("TimeSeriesLabels") if e.get("toName") == series.get("name")]


def _aside(root: ET.Element, series: ET.Element) -> ET.Element | None:
    """The control of what is seen and not answered, where the template has it."""
    return next((e for e in _controls(root, series) if e.get("name") == ASIDE), None)


def _name(element: ET.Element) -> str:
    """What a Label or Choice stands for in answers: its alias, where another text is shown."""
    return str(element.get("alias") or element.get("value", ""))


def _add_kinds(control: ET.Element, look: Look) -> None:
    """The kinds of the file; of those that the template names already, what it leaves open."""
    present = {_name(e): e for e in control.iter("Label")}
    for kind in look.kinds:
        label = present.get(kind.name)
        if label is None:
            label = ET.SubElement(control, "Label", value=kind.name, background=kind.colour)
        shown = kind.shown(look.language)
        if shown != kind.name and not label.get("alias"):
            label.set("value", shown)
            label.set("alias", kind.name)
        if kind.hotkey and not label.get("hotkey"):
            label.set("hotkey", kind.hotkey)
def _hotkeys(control: ET.Element) -> dict[str, str]:
    """Keys of the kinds: their own, else the next that is free, as Label Studio gives them out."""
    labels = [e for e in control.iter("Label") if e.get("value")]
    taken = {e.get("hotkey") for e in labels}
    free = iter([key for key in FREE_KEYS if key not in taken] + [""] * len(labels))
    return {e.get("value", ""): e.get("hotkey") or next(free) for e in labels}


def without_overview(config: str) -> str:
    """The config without the picture of the whole series, for tasks that have none."""
    root = _root(config, "The template")
    for parent in list(root.iter()):
        for child in [e for e in parent if e.tag == "Image" and e.get("value") == f"${OVERVIEW_KEY}"]:
            parent.remove(child)
    return ET.tostring(root, encoding="unicode")


def _add_labels(control: ET.Element, kinds: Iterable[str]) -> None:
    present = [_name(e) for e in control.iter("Label")]
    for kind in dict.fromkeys((ANOMALY, *sorted(kinds))):
        if kind not in present:
            ET.SubElement(control, "Label", value=kind, background=COLOURS[len(present) % len(COLOURS)])
            present.append(kind)


def _add_layers(aside: ET.Element, names: Iterable[str], control: ET.Element) -> None:
    """Labels of layers, each in a colour that nothing else has, as long as there are any."""
    present = [_name(e) for e in aside.iter("Label")]
    taken = {e.get("background") for parent in (aside, control) for e in parent.iter("Label")}
    for name in dict.fromkeys(names):
        if name in present:
            continue
        wished = (DETECTOR_COLOURS.get(name.split(" ")[0]), *LAYER_COLOURS)
        colour = next((c for c in wished if c and c not in taken), LAYER_COLOURS[len(present) % len(LAYER_COLOURS)])
        ET.SubElement(aside, "Label", value=name, background=colour)
        present.append(name)
        taken.add(colour)


def _ask(root: ET.Element, what: str, wanted: bool) -> None:
    """Take the controls for verdict and reason out where nobody is to be asked."""
    for parent in list(root.iter()):
        for child in [e for e in parent if e.get("name") in (VERDICT, REASON) and not wanted]:
            parent.remove(child)
    if wanted and not any(e.get("name") == VERDICT for e in root.iter("Choices")):
        raise ReviewError(
            f'{what} has no Choices with name="{VERDICT}"',
            "Compare it with timeseries.xml, or set review.verdict=false.",
        )


def _speak(root: ET.Element, language: Language) -> None:
    """Texts of ours in the language asked for; what they stand for in answers stays."""
    for element in root.iter() if language == "zh" else ():
        if element.tag in ("Label", "Choice") and element.get("value") in CHINESE and not element.get("alias"):
            element.set("alias", element.get("value", ""))
            element.set("value", CHINESE[element.get("value", "")])
        if element.get("placeholder") in CHINESE:
            element.set("placeholder", CHINESE[element.get("placeholder", "")])
