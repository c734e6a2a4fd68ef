"""VUS-PR by the letter, one threshold and one buffer at a time: what ``tsad.metrics.vus`` is checked and timed against.

The steps are those of ``RangeAUC_volume_opt`` in TSB-AD (Liu and Paparrizos 2024; TheDatumOrg/TSB-AD, Apache-2.0,
``TSB_AD/evaluation/basic_metrics.py``), told in our own words; its method is Paparrizos et al. 2022, PVLDB 15(11).
It shares no code with the fast version. Cost: (max_buffer + 1) x thresholds passes over the points.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def true_runs(truth: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last point of every run of true points, both inclusive."""
    runs, start = [], None
    for t, flag in enumerate(truth):
        if flag and start is None:
            start = t
        if not flag and start is not None:
            runs.append((start, t - 1))
            start = None
    if start is not None:
        runs.append((start, len(truth) - 1))
    return runs


def soft_truth(truth: npt.NDArray[np.bool_], runs: list[tuple[int, int]], width: int) -> npt.NDArray[np.float64]:
    """Truth with flanks of ``width // 2`` points that fall off as sqrt(1 - distance / width), capped at 1."""
    soft = truth.astype(np.float64)
    for first, last in runs:
        for distance in range(1, width // 2 + 1):
            worth = np.sqrt(1 - distance / width)
            if last + distance < len(soft):
                soft[last + distance] += worth
            if first - distance >= 0:
                soft[first - distance] += worth
    return np.minimum(soft, 1.0)


def buffered_runs(runs: list[tuple[int, int]], half: int, length: int) -> list[tuple[int, int]]:
    """Runs with ``half`` points on either side, inclusive ends; those that touch or overlap are one."""
    joined: list[tuple[int, int]] = []
    for first, last in runs:
        if joined and joined[-1][1] >= first - half:
            joined[-1] = (joined[-1][0], last + half)
        else:
            joined.append((first - half, last + half))
    return [(max(a, 0), min(b, length - 1)) for a, b in joined]


def reference_vus_pr(
    truth: npt.ArrayLike, scores: npt.ArrayLike, max_buffer: int = 100, thresholds: int = 250
) -> float:
    """VUS-PR of one series with at least one true point. truth [T] bool, scores [T] finite."""
    true, values = np.asarray(truth, bool), np.asarray(scores, np.float64)
    runs, ranked = true_runs(true), np.sort(values)[::-1]
    cuts = [ranked[k] for k in np.linspace(0, len(values) - 1, thresholds).astype(int)]
    hard = float(true.sum())
    areas = []
    for width in range(max_buffer + 1):
        soft = soft_truth(true, runs, width)
        events = buffered_runs(runs, width // 2, len(true))
        area = recall_before = 0.0
        for cut in cuts:
            called = values >= cut
            reached = sum(bool(called[a : b + 1].any()) for a, b in events)
            hits = float(np.dot(soft, called))
            # flank points count as positives only where they are called; the runs themselves always do
            labels = np.where(true, 1.0, soft * called)
            positives = (hard + float(labels.sum())) / 2
            recall = min(hits / positives, 1.0) * reached / len(events)
            area += (recall - recall_before) * hits / float(called.sum())
            recall_before = recall
        areas.append(area)
    return float(np.mean(areas))
