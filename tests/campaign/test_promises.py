"""The worlds of one and of two faults, and their two rows."""

from __future__ import annotations

from tests.campaign.faults import KINDS
from tests.campaign.promises import ONE, double, single, written

SEEDS = range(1, 2 * len(KINDS) + 1)


def test_every_kind_comes_up_alone_and_pairs_overlap():
    assert {single(seed).faults[0].kind for seed in SEEDS} == set(KINDS)
    for seed in SEEDS:
        first, second = double(seed).faults
        assert first.at_s <= second.at_s <= first.at_s + first.for_s and double(seed).seconds > second.at_s + second.for_s


def test_a_row_is_replaced_and_the_others_stay():
    table = f"# head\n\n| promise | measured |\n|---|---|\n| {ONE} | old |\n| other | kept |\n"
    assert written(table, ONE, ("new",)) == table.replace("old", "new")
    assert written(table, "another", ("more",)).splitlines()[-1] == "| another | more |"
