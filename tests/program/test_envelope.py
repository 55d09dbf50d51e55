"""The flexibility envelope: windows from the plan, safe to stack, valid against its published schema, served on the API."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import jsonschema
import pytest

from ems.program.envelope import HOURS, envelope, envelope_schema
from ems.program.ledger import Commitment, Ledger, Promised
from ems.resources import bundled
from tests.office.conftest import Served, office, running  # noqa: F401
from tests.program.test_offers import BATTERY, HOUR, NOW, RESERVE, SITE, plan, terms_of

SCHEMA = json.loads(envelope_schema())


def test_longer_windows_hold_no_more_and_higher_confidence_no_more():
    made = envelope(SITE, plan(spread_kw=100.0), RESERVE, Ledger(), terms_of("manual"), NOW)
    assert [r.hours for r in made.reductions] == list(HOURS)
    p90 = [r.kw["p90"] for r in made.reductions]
    assert p90 == sorted(p90, reverse=True) and p90[0] > p90[-1] > 0
    assert all(r.kw["p50"] >= r.kw["p90"] >= r.kw["p95"] for r in made.reductions) and all(r.limiting for r in made.reductions)


def test_what_is_promised_to_a_programme_is_not_in_it():
    taken = {BATTERY.id: Promised(BATTERY.power_kw, BATTERY.power_kw)}
    sold = Ledger((Commitment("c", "pge-bip", NOW, NOW + HOUR, BATTERY.power_kw, taken),))
    free, left = (envelope(SITE, plan(), RESERVE, x, terms_of("manual"), NOW) for x in (Ledger(), sold))
    assert free.reductions[0].kw["p90"] - left.reductions[0].kw["p90"] == pytest.approx(BATTERY.power_kw)
    assert left.promised_kw == BATTERY.power_kw and left.is_stack_safe


def test_a_device_that_is_not_trusted_is_not_in_it():
    sure, doubtful = (envelope(SITE, plan(), RESERVE, Ledger(), terms_of("manual"), NOW, x) for x in (None, {BATTERY.id: 0.0}))
    assert sure.reductions[0].kw["p90"] - doubtful.reductions[0].kw["p90"] == pytest.approx(BATTERY.power_kw)


def test_windows_beyond_the_plan_are_left_out():
    made = envelope(SITE, plan(), RESERVE, Ledger(), terms_of("manual"), NOW + 22 * HOUR + timedelta(minutes=30))
    assert [r.hours for r in made.reductions] == [0.25, 1.0]


def test_it_keeps_its_published_schema_and_the_schema_can_say_no():
    made = envelope(SITE, plan(), RESERVE, Ledger(), terms_of("manual"), NOW).model_dump(mode="json")
    jsonschema.validate(made, SCHEMA)
    for broken in ({**made, "extra": 1}, {**made, "reductions": [{**made["reductions"][0], "kw": {"p90": -1}}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)
    assert (bundled("config/programs") / "flexibility.schema.json").read_text() == envelope_schema()


async def test_the_api_serves_the_envelope_and_its_schema(office: Served):  # noqa: F811
    for _ in range(1000):
        answer = await office.client.get("/api/flexibility")
        if answer.status_code == 200:
            break
        await asyncio.sleep(0.05)
    jsonschema.validate(answer.json(), SCHEMA)
    assert answer.json()["site"] == office.running.site.name and answer.json()["reductions"]
    assert (await office.client.get("/api/flexibility/schema")).json() == SCHEMA
