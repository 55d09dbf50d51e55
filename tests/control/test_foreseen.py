"""Peaks foreseen by the planner: they raise what was measured, never lower it, and lapse."""

from datetime import UTC, datetime, timedelta

import pytest

from ems.control.foreseen import ForeseenPeaks
from ems.dispatch.trend import ClusterTrend
from tests.plan.given import demo_site

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=90)
BODY = {
    "made_at": NOON.isoformat(),
    "valid_until": LATER.isoformat(),
    "windows_s": [10.0, 60.0, 300.0, 900.0],
    "peaks_kw": {"hall-a": [500.0, 520.0, 600.0, 5000.0]},
}
TRENDS = {k: ClusterTrend(510.0, {}, {}) for k in ("hall-a", "hall-b")}


def foreseen() -> ForeseenPeaks:
    peaks = ForeseenPeaks(demo_site())
    peaks.take(BODY)
    return peaks


def test_a_foreseen_peak_raises_the_measured_one_and_never_lowers_it():
    assert {k: t.held_kw for k, t in foreseen().raised(TRENDS, 60.0, NOON).items()} == {"hall-a": 520.0, "hall-b": 510.0}
    assert foreseen().raised(TRENDS, 10.0, NOON)["hall-a"].held_kw == 510.0


def test_it_lapses_with_its_message_and_stays_within_the_rating():
    assert foreseen().raised(TRENDS, 60.0, LATER) == TRENDS
    assert foreseen().peak_kw("hall-a", 900.0, NOON) == 1080.0
    assert foreseen().peak_kw("hall-a", 1e6, NOON) == 1080.0
    assert ForeseenPeaks(demo_site()).raised(TRENDS, 60.0, NOON) == TRENDS


@pytest.mark.parametrize(
    "change",
    [
        {"peaks_kw": {"hall-a": [1.0]}},
        {"peaks_kw": {"hall-a": [float("nan")] * 4}},
        {"peaks_kw": {"hall-a": [-1.0] * 4}},
        {"peaks_kw": {"elsewhere": [1.0] * 4}},
        {"peaks_kw": 3},
        {"windows_s": [900.0, 10.0, 60.0, 300.0]},
        {"valid_until": "2024-08-20T12:00:00"},
        {"valid_until": None},
    ],
)
def test_a_message_that_is_no_forecast_of_peaks_is_refused_whole(change: dict[str, object]):
    peaks = foreseen()
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        peaks.take({**BODY, **change})
    assert peaks.peak_kw("hall-a", 60.0, NOON) == 520.0
