"""What the site promises leaves out devices that are not trusted."""

from datetime import timedelta
from pathlib import Path

import pytest

from ems.mailbox import Mailbox
from ems.office.programs import RunPorts
from ems.plan.plan import encode_plan
from ems.program.flexibility import flexibility
from tests.program import test_offers

NOW, HOUR = test_offers.NOW, timedelta(hours=1)


@pytest.mark.parametrize("state", ["active", "proven", "suspect", "quarantined", "unknown"])
def test_a_battery_that_is_not_trusted_is_not_offered(tmp_path: Path, state: str):
    mailbox = Mailbox(tmp_path / "mailbox.db", busy_ms=2000)
    plan = test_offers.plan()
    mailbox.post("plan", encode_plan(plan), NOW, NOW + HOUR)
    mailbox.post("snapshot", {"trust": {"bess-1": {"state": state}}}, NOW, NOW + HOUR)
    ports = RunPorts(test_offers.SITE, mailbox, None)  # type: ignore[arg-type]
    span = (test_offers.SITE, plan, NOW, NOW + 2 * HOUR, test_offers.RESERVE, None)
    free = [flexibility(*span, trust).kw_at(0.90) for trust in (None, ports.trust(NOW))]
    assert free[0] > 0.0
    assert (free[1] < free[0] - 100.0) == (state in ("suspect", "quarantined", "unknown"))
    mailbox.close()
