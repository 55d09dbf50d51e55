"""The ramp limit: storage bridges it and lets go, the import comes up at its pace."""

from __future__ import annotations

from tests.control.loop import Loop, demo_site, even


def test_after_a_load_has_come_back_the_import_rises_at_the_ramp_and_storage_lets_go():
    """More work than the caps serve must not keep storage discharging below the ramp: the ceiling would never rise."""
    loop = Loop(demo_site(1250.0, point_of_connection={"import_limit_kw": 1250.0, "ramp_limit_kw_per_min": 300.0}))
    loop.run(120, lambda k: {"hall-a": even(0.0), "hall-b": even(0.0)})
    loop.controller.billing.peak_kw = 1250.0  # already paid for this month: the rules hold the limit, no lower mean
    loop.truth.poc_kw.clear()
    loop.run(600, lambda k: {"hall-a": even(1500.0), "hall-b": even(900.0)})
    imports = loop.truth.poc_kw
    assert max(imports[:300]) > 1150.0, "the import reaches the limit"
    assert min(imports[-60:]) > 1000.0, "and stays where the rules hold it"
    assert all(max(imports[k : k + 60]) <= max(imports[max(0, k - 60) : k + 1]) + 300.0 * 72 / 60 for k in range(1, len(imports) - 60))
    state = loop.decisions[-1].state
    assert state.storage_kw > -250.0, "storage has let go of what the ramp no longer asks for"
    assert loop.truth.over_s == 0.0 and loop.truth.export_s == 0.0
