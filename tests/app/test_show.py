"""The words of `ems status` and of a self-test's report."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.app.selftesting import report_lines
from ems.app.show import last_tests, trust_lines
from ems.app.statedir import StateDir
from ems.mailbox import Mailbox

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
TRUST = {"state": "identified", "cause": "answers", "proof": None}
CANCELLED = {
    "asset": "bess-1", "by": "Ada", "at": NOW.isoformat(), "is_passed": False, "why": "cancelled: at base: an event is near",
    "step_kw": 0.0, "findings": [],
}  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"step_k": 0.0}])
def test_a_self_test_that_ended_early_is_not_told_as_a_step_of_nothing(more: dict[str, Any]):
    first, *_, last = report_lines({**CANCELLED, **more})
    assert first.startswith("bess-1: ended before any step was told, by Ada") and "an event is near" in last


@pytest.mark.parametrize(("more", "step"), [({"step_kw": -10.0}, "-10 kW"), ({"step_k": -0.5}, "-0.5 K")])
def test_a_step_is_told_in_its_own_unit(more: dict[str, Any], step: str):
    assert next(report_lines({**CANCELLED, **more})).startswith(f"bess-1: step of {step}, by Ada")


def test_a_self_test_without_a_verdict_is_not_told_as_none(tmp_path: Path):
    state = StateDir(tmp_path)
    mailbox = Mailbox(state.mailbox)
    for number in range(2):
        mailbox.post("self_test", {**CANCELLED, "by": f"Ada {number}"}, NOW, NOW + timedelta(days=30))
    mailbox.close()
    [line] = trust_lines(TRUST, last_tests(state)["bess-1"])
    assert "self-test without a verdict 2026-07-01T12:00:00+00:00 by Ada 1: cancelled: at base: an event is near" in line
    assert "no self-test" in next(trust_lines(TRUST))


def test_a_verdict_stays_when_a_later_self_test_gives_none():
    proof = {"is_passed": False, "at": NOW.isoformat(), "by": "Grace", "why": "the wrong way"}
    [line] = trust_lines({**TRUST, "proof": proof}, CANCELLED)
    assert "self-test failed 2026-07-01T12:00:00+00:00 by Grace" in line
