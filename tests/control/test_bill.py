"""What the controller believes of the billing interval: what the utility's meter counts, and no worst case that was only assumed."""

from __future__ import annotations

import pytest

from tests.control.loop import Loop, demo_site, even

USUAL = {"hall-a": even(400.0), "hall-b": even(180.0)}


def believed_and_true_kw(silent: list[str], silent_s: int) -> tuple[float, float]:
    """The month's peak after an hour in which some devices were silent for a while, in kW."""
    loop = Loop(demo_site(), "rules")
    loop.run(600, lambda k: USUAL)
    for device in silent or loop.plant.devices:
        loop.plant.devices[device].inject("silent", loop.now.timestamp() + silent_s)
    loop.run(3000, lambda k: USUAL)
    poc = loop.truth.poc_kw
    return loop.controller.billing.peak_kw, max(sum(poc[i : i + 900]) / 900 for i in range(0, 3600 - 900, 900))


@pytest.mark.parametrize("silent_s", [50, 600, 1200])
def test_a_silence_of_all_devices_raises_no_peak(silent_s: int) -> None:
    believed_kw, true_kw = believed_and_true_kw([], silent_s)
    assert believed_kw == pytest.approx(true_kw, rel=0.01)


@pytest.mark.parametrize("silent", [["poc"], ["hall-a"], ["poc", "hall-a"]])
def test_a_silence_of_some_devices_raises_no_peak(silent: list[str]) -> None:
    believed_kw, true_kw = believed_and_true_kw(silent, 600)
    assert believed_kw == pytest.approx(true_kw, rel=0.01)
