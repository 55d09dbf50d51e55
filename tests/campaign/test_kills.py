"""A sample of the kills of kills.py: real processes, real files."""

from pathlib import Path

import pytest

from tests.campaign.crash_control import POINTS
from tests.campaign.kills import run

SAMPLE = ("after the intent", "before the commit", "before an order is acknowledged", "between two journal files")
FIRST_CYCLE_WITHIN_S, FULL_MODE_WITHIN_S = 6.0, 10.0  # the promises are 2 and 10 s; time without a core is not counted


@pytest.mark.timeout(900)
def test_what_was_acknowledged_is_there_after_random_kills_and_at_named_points(tmp_path: Path):
    assert set(SAMPLE) <= set(POINTS)
    tally = run(tmp_path, 3, 11, SAMPLE)
    assert (tally.kills, tally.points) == (3, list(SAMPLE)) and len(tally.acknowledged) > 5
    assert (tally.lost, tally.twice, tally.broken, tally.differing) == ([], [], "", 0)
    waited = tally.waited_s
    assert all(first_s <= FIRST_CYCLE_WITHIN_S + w for first_s, w in zip(tally.first_cycle_s, waited, strict=True)), tally.first_cycle_s
    assert all(full_s <= FULL_MODE_WITHIN_S + w for full_s, w in zip(tally.full_mode_s, waited, strict=True)), tally.full_mode_s
