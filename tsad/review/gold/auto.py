"""Gold windows from labels where there are any, else from people."""

from __future__ import annotations

from tsad.review.gold.labels import LabelsOptions
from tsad.review.gold.people import PeopleGold, PeopleOptions
from tsad.review.gold.series import SeriesGold
from tsad.review.gold.time import TimeGold


class AutoOptions(LabelsOptions, PeopleOptions):
    """What both ways take."""


class AutoSeriesGold(SeriesGold, PeopleGold):
    """Whole labelled series; windows that people review where nothing is labelled."""

    needs_people = False
    options_model = AutoOptions
    settings: AutoOptions

    def by_people(self, labelled: bool) -> bool:
        """Where nothing is labelled."""
        return not labelled


class AutoTimeGold(TimeGold, PeopleGold):
    """The end of each labelled series; windows that people review where nothing is labelled."""

    needs_people = False
    options_model = AutoOptions
    settings: AutoOptions

    def by_people(self, labelled: bool) -> bool:
        """Where nothing is labelled."""
        return not labelled
