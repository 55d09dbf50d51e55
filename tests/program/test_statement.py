"""The month on the command line, and the market prices that indexed payments are settled at in the running office."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.app.programs import month_of, programs_statement, statement_lines
from ems.app.wrong_usage import WrongUsage
from ems.mailbox import Mailbox
from ems.office.settled_prices import settled_prices
from ems.program.library import find_program
from ems.program.terms import Terms, terms_on
from tests.program.desks import MINUTE, NOW, World, desk_on, event, message

HOUR = timedelta(hours=1)
START = datetime(2026, 7, 15, 16, tzinfo=UTC)


def terms_of(name: str) -> Terms:
    return terms_on(find_program(name, Path("x.yaml")), START.date())


def test_the_statement_of_a_month_sums_readiness_and_events(tmp_path: Path):
    desk = desk_on(tmp_path / "p.db", World(is_measured=False))
    desk.receive(message(event("e1", "ercot-ers-30")), NOW)
    for minute in range(0, 300, 10):
        desk.tick(NOW + minute * MINUTE)
    lines = list(statement_lines(desk, dict.fromkeys(("ercot-ers-30", "pge-bip"), date(2026, 7, 1)), as_json=False))
    text = "\n".join(lines)
    assert "ercot-ers-30  2026-07  200 kW, 744 h" in text and "0.0% / 100.0% / 100.0%" in text  # not measured yet
    assert "744.00" in text and "1600.00" in text and "sum in USD (low, expected, high)" in text
    told = json.loads(next(iter(statement_lines(desk, {"pge-bip": date(2026, 7, 1)}, as_json=True))))
    assert told["expected"] == "1600.00" and told["lines"][0]["name"] == "1: ready, per kw_month"


def test_a_month_that_is_none_is_wrong_usage():
    today = date(2026, 7, 15)
    assert month_of(None, today) == date(2026, 7, 1) and month_of("2027-02", today) == date(2027, 2, 1)
    with pytest.raises(WrongUsage, match="2027-13"):
        month_of("2027-13", today)


def test_the_statement_without_a_month_is_of_the_month_where_each_programme_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """03:00 UTC on 1 August: still July in Texas and California, August for a connection whose rules go by UTC."""
    desk = desk_on(tmp_path / "p.db", World())
    late = datetime(2026, 8, 1, 3, tzinfo=UTC)
    monkeypatch.setattr("ems.app.events.opened", lambda state_dir: nullcontext((None, desk, late)))
    programs_statement()
    months = {words[0]: words[1] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ") and (words := line.split())}
    assert months == {"ercot-ers-30": "2026-07", "pge-bip": "2026-07", "pjm-economic": "2026-07", "nonfirm-connection": "2026-08"}


def rows(prices: list[float], start: datetime = START) -> list[dict[str, Any]]:
    return [
        {
            "valid_from": (start + n * 5 * MINUTE).isoformat(),
            "valid_to": (start + (n + 1) * 5 * MINUTE).isoformat(),
            "available_at": (start + (n + 1) * 5 * MINUTE).isoformat(),
            "price_per_kwh": price,
            "source": "real_time",
        }
        for n, price in enumerate(prices)
    ]


def test_an_indexed_payment_is_settled_at_the_mean_of_its_interval_and_not_where_a_part_is_unknown(tmp_path: Path):
    mailbox = Mailbox(tmp_path / "m.db")
    body = {"rows": [*rows([0.1] * 6 + [0.3] * 6), *rows([0.5] * 3, START + HOUR), {"price_per_kwh": "nonsense"}]}
    mailbox.post("prices", body, START, START + 48 * HOUR)
    found = settled_prices(mailbox, terms_of("pjm-economic"), START, START + 2 * HOUR)
    assert found == {START: pytest.approx(0.2)}  # of the second hour three quarters are not known
    assert settled_prices(mailbox, terms_of("pge-bip"), START, START + 2 * HOUR) == {}
