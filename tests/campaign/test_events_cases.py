"""The generator of the random events gives what it promises: pure, uniform in its ranges, every story and every fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ems.program.library import lint
from ems.site.load import load_site
from tests.campaign.events_cases import AFTER_MIN, DEPTH, FAULT_S, FAULTS, KINDS, LEAD_MIN, PROGRAMS, SEEDS, SITES, STORIES, case

CASES = [case(seed) for seed in SEEDS]
CALLS = [c for each in CASES for c in each.calls if not c.is_cancelled]
HERE = Path(__file__).parent


def test_there_are_300_and_the_same_seed_gives_the_same_case():
    assert [c.seed for c in CASES] == list(range(1, 301))
    assert [case(seed) for seed in SEEDS] == CASES
    assert len({str(c) for c in CASES}) == 300


def test_every_quantity_lies_in_its_range():
    for c in CALLS:
        assert DEPTH == (0.10, 0.40) and 0.10 <= c.depth <= 0.40
        assert 5 <= c.end_min - c.start_min <= 240
        assert c.start_min - c.at_min <= 60
        assert c.modification or c.start_min >= c.at_min  # notice 0 to 60 min; a version may come while its event lasts
    for each in CASES:
        assert min(c.at_min for c in each.calls) == LEAD_MIN == 30
        assert each.end_min == max(c.end_min for c in each.calls) + AFTER_MIN and AFTER_MIN == 60
        assert 60 * LEAD_MIN <= each.fault.at_s <= 60 * (each.end_min - AFTER_MIN)
        assert FAULT_S[0] <= each.fault.for_s <= FAULT_S[1]


def test_a_plain_event_has_a_window_of_notice_and_length_and_90_minutes():
    for each in (c for c in CASES if c.story == "plain"):
        (call,) = each.calls
        assert each.end_min == (call.start_min - call.at_min) + (call.end_min - call.start_min) + 90


def test_the_stories_are_what_they_are_called():
    for each in CASES:
        first, *more = each.calls
        if each.story == "plain":
            assert not more
        elif each.story == "overlapping":
            a, b = sorted(each.calls, key=lambda c: c.event)
            assert a.start_min <= b.start_min < a.end_min
            assert a.program == b.program and a.at_min <= a.start_min and b.at_min <= b.start_min
        else:
            (second,) = more
            assert second.event == first.event and second.modification == 1 and second.is_cancelled == (each.story == "cancelled")
            assert first.at_min <= second.at_min < max(first.end_min, second.end_min)
            assert second.is_cancelled or second.end_min >= second.at_min + 5


@pytest.mark.parametrize(
    ("drawn", "among"),
    [
        ([c.site for c in CASES], SITES),
        ([c.story for c in CASES], STORIES),
        ([c.program for c in CALLS], PROGRAMS),
        ([c.kind for c in CALLS], KINDS),
        ([(c.fault.group, c.fault.kind) for c in CASES], FAULTS),
    ],
)
def test_choices_are_uniform(drawn, among):
    """Pearson's chi-squared lies under twice its degrees of freedom and 10: beyond that with a probability of less than a thousandth."""
    counted = Counter(drawn)
    assert set(counted) == set(among)
    expected = len(drawn) / len(among)
    assert sum((counted[a] - expected) ** 2 / expected for a in among) < 2 * len(among) + 10


@pytest.mark.parametrize(
    ("of", "low", "high"),
    [(lambda c: c.depth, 0.10, 0.40), (lambda c: c.start_min - c.at_min, 0, 60), (lambda c: c.end_min - c.start_min, 5, 240)],
)
def test_ranges_are_filled_evenly(of, low, high):
    """Quarters of the range hold a quarter of the first calls each, within three standard deviations."""
    values = [of(c) for c in CALLS if c.event == "e1" and c.modification == 0]
    quarters = Counter(min(3, int(4 * (v - low) / (high - low))) for v in values)
    n = len(values)
    assert min(values) < low + 0.02 * (high - low) and max(values) > high - 0.02 * (high - low)
    assert all(abs(quarters[q] - n / 4) < 3 * (n * 0.25 * 0.75) ** 0.5 for q in range(4))


def test_every_device_that_may_fail_is_one_of_the_site():
    for site in SITES:
        links = load_site(HERE.parents[1] / "config" / "sites" / f"{site}.yaml").links
        assert {c.fault.target for c in CASES if c.site == site} - {""} <= set(links)


def test_the_programmes_of_the_events_stand_their_check():
    assert not lint([HERE / "programs" / f"{name}.yaml" for name in PROGRAMS])
