"""A sample of the kills of kills.py: real processes, real files."""

from pathlib import Path

import pytest

from tests.campaign.crash_control import POINTS
from tests.campaign.kills import run

SAMPLE = ("after the intent", "before the commit", "before an order is acknowledged", "between two journal files")
SLACK = 3.0  # this machine runs other tests beside


@pytest.mark.timeout(120)
def test_what_was_acknowledged_is_there_after_random_kills_and_at_named_points(tmp_path: Path):
    assert set(SAMPLE) <= set(POINTS)
    tally = run(tmp_path, 3, 11, SAMPLE)
    assert (tally.kills, tally.points) == (3, list(SAMPLE)) and len(tally.acknowledged) > 5
    assert (tally.lost, tally.twice, tally.broken, tally.differing) == ([], [], "", 0)
    assert max(tally.first_cycle_s) <= 2.0 * SLACK and max(tally.full_mode_s) <= 10.0
