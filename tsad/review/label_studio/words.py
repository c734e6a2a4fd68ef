"""What a task says in words: the lines above the drawing and the Data Manager's columns, English or Chinese. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tsad.core.durations import format_duration
from tsad.core.names import markup_free
from tsad.core.reviews import Choice, Purpose
from tsad.review.label_studio.clock import offset_ns
from tsad.review.label_studio.language import Language
from tsad.review.label_studio.moments import from_to, length
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.template import Template
from tsad.review.label_studio.view import View

BLIND = "gold"  # a window that scores the model: its stratum, in the strategy's name, would tell what the model thinks
# Why people see a window, by what chose it. Strategies of a user's own go by their name.
REASONS = {
    "low_confidence": {"en": "least sure", "zh": "模型最没把握"},
    "top_score": {"en": "top score", "zh": "得分最高"},
    "random": {"en": "random", "zh": "随机抽取"},
    "stratified": {"en": "random, over all scores", "zh": "按得分分层抽取"},
    "diversity": {"en": "unlike the others", "zh": "与其他窗口不同"},
    "disagreement": {"en": "detectors disagree", "zh": "检测器意见不一"},
    "look_alikes": {"en": "like one judged before", "zh": "与已标注的相似"},
    "disputed": {"en": "disputed", "zh": "原有标注不一致"},
    "audit": {"en": "audit", "zh": "抽查"},
    "conflict": {"en": "conflict", "zh": "标注有分歧"},
    BLIND: {"en": "blind: scores the model", "zh": "盲测：用来给模型打分"},
}
_SAID = {
    "en": {
        "points": "{0:,} points", "step": "every {0}", "missing": "{0} missing",
        "bridged": " (bridged by straight lines)", "iteration": "iteration {0}", "why": "shown because: {0}",
        "channels": "channels: {0}", "hidden": "{0} more not drawn", "empty": "(empty)", "index": "index",
        "whole": "whole series", "around": "around the window", "usual": "shaded: 90% of the values",
        "window": "orange: this window",
    },
    "zh": {
        "points": "{0:,} 个点", "step": "每 {0} 一点", "missing": "缺失 {0}",
        "bridged": "（以直线连接）", "iteration": "第 {0} 轮", "why": "为何出现：{0}",
        "channels": "通道：{0}", "hidden": "另有 {0} 个未画出", "empty": "（空）", "index": "序号",
        "whole": "整条序列", "around": "窗口前后", "usual": "浅色带：90% 的取值",
        "window": "橙色：本窗口",
    },
}  # fmt: skip


def words_of(choice: Choice, view: View, template: Template, options: LabelStudioOptions) -> dict[str, Any]:
    """Keys of a task's data that are text and figures for people.

    ``strategy`` is for filters: it stays the same in every language. A blind window tells nothing of what a model
    thinks of it.
    """
    blind = choice.purpose is Purpose.GOLD
    start, end = view.window.span
    counts = view.window.series.time_kind == "index"
    return {
        "title": markup_free(title(choice, view, template, options)),
        "duration": said("points", options.language, len(view.window)) if counts else length(end - start),
        "proposals": None if blind else len(choice.proposal or ()),
        "reason": markup_free(reason(choice, options.language)),
        "iteration": choice.iteration or None,
        "strategy": BLIND if blind else markup_free(choice.strategy),
    }


def reason(choice: Choice, language: Language) -> str:
    """Why people see a window, in words."""
    code = BLIND if choice.purpose is Purpose.GOLD else choice.strategy
    return REASONS.get(code, {}).get(language, code)


def said(key: str, language: Language, *values: object) -> str:
    """One of the phrases that tasks are made of, in the language people read."""
    return _SAID[language][key].format(*values)


def share(part: float) -> str:
    """A share of 1 in per cent; none that is there is called 0, none that lacks something 100."""
    percent = 100 * part
    if 0 < percent < 0.1:
        return "<0.1%"
    return ">99.9%" if 99.9 < percent < 100 else f"{percent:.3g}%"


def title(choice: Choice, view: View, template: Template, options: LabelStudioOptions) -> str:
    """The line above the drawing: which point, when, how it is sampled, what is missing, who proposes, and why."""
    window, language = view.window, options.language
    counts = window.series.time_kind == "index"
    zone = said("index", language) if counts else f"UTC{options.utc_offset}"
    ends = int(window.timestamps[0]), int(window.timestamps[-1])
    when = from_to(*ends, window.series.time_kind, offset_ns(options.utc_offset))
    parts = [window.point_id, f"{when} ({zone})", said("points", language, len(window))]
    if not counts:
        parts.append(said("step", language, format_duration(window.series.step)))
    absent = float(np.isnan(window.values[:, list(view.channels)]).mean()) if view.channels else 1.0
    parts += [said("missing", language, share(absent)) + said("bridged", language)] * (absent > 0)
    parts += [said("iteration", language, choice.iteration)] * (choice.iteration > 0)
    if choice.origin is not None and choice.purpose is not Purpose.GOLD:
        parts.append(choice.origin.model_version)
    parts.append(said("why", language, reason(choice, language)))
    channels = channel_names(view, template, language)
    parts += [said("channels", language, channels)] * bool(channels)
    return " \N{MIDDLE DOT} ".join(parts)


def channel_names(view: View, template: Template, language: Language) -> str:
    """Which channels are drawn, as their plots number them; "" for a single one that is merely called a value."""
    names: Mapping[int, str] = dict(enumerate((view.window.series.channels[c] for c in view.channels), 1))
    hidden = view.window.values.shape[1] - len(view.channels)
    if template.channels == 1 and not hidden:
        return "".join(name for name in names.values() if name != "value")
    empty = said("empty", language)
    listed = ", ".join(f"{n} = {names.get(n, empty)}" for n in range(1, template.channels + 1))
    return f"{listed}; {said('hidden', language, hidden)}" if hidden else listed
