"""Our 2.0b VEN against openleadr's own VTN: registration, signals, versions, cancellation, opts, telemetry, restart, TLS and signatures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from openleadr.messaging import create_message, validate_xml_schema
from openleadr.utils import certificate_fingerprint

from adapters.openadr2.ven import Ven2, opt_message
from ems.obligation import ObligationKind
from ems.program.channel import ChannelFile
from ems.program.heard import Heard
from tests.adapters.certificates import Authority
from tests.adapters.openadr2.vtn import HOUR, Vtn, e_id, signal

START = datetime.now(UTC).replace(microsecond=0) + 2 * HOUR
KW = {"measurement": {"name": "powerReal", "description": "RealPower", "unit": "W", "scale": "k", "ns": "power"}}
KW["measurement"]["power_attributes"] = {"hertz": 50, "voltage": 230, "ac": True}  # type: ignore[assignment]


@pytest.fixture(scope="module")
def running() -> Iterator[Vtn]:
    with Vtn() as made:
        yield made


@pytest.fixture
def vtn(running: Vtn) -> Vtn:
    running.events.clear()
    running.opts.clear()
    running.rows.clear()
    return running


def ven(vtn: Vtn, folder: Path, **more: Any) -> Ven2:
    given = {"id": "util", "profile": "openadr-2.0b", "url": vtn.url, "programs": {"http://context": "pge-bip"}, "ven_name": "site"}
    levels = {"simple_levels_kw": [100, 200, 300], "capacity": {"subscription_kw": 1000}}
    made = Ven2(ChannelFile.model_validate({**given, **levels, **more}), folder / "channels.yaml")
    return made


def look(made: Ven2, *expected: str, after: float = 0.0) -> Any:
    found = made.look(datetime.now(UTC) + timedelta(seconds=after), expected)
    assert found.trouble == "", found.trouble
    return found


def heard(vtn: Vtn, folder: Path, *signals: dict[str, Any], **more: Any) -> Heard:
    vtn.add("e1", *signals, **more)
    return look(ven(vtn, folder)).heard[0]


SIGNALS = [
    (("SIMPLE", "level", 2), {}, ObligationKind.REDUCE_BY, 200.0),
    (("LOAD_DISPATCH", "setpoint", 640), KW, ObligationKind.REDUCE_TO, 640.0),
    (("LOAD_DISPATCH", "delta", -150), KW, ObligationKind.REDUCE_BY, 150.0),
    (("LOAD_DISPATCH", "level", 1), {}, ObligationKind.REDUCE_BY, 100.0),
    (("LOAD_CONTROL", "x-loadControlCapacity", 0.5), {}, ObligationKind.REDUCE_TO, 500.0),
    (("LOAD_CONTROL", "x-loadControlSetpoint", 700), {}, ObligationKind.REDUCE_TO, 700.0),
]


@pytest.mark.parametrize(("said", "more", "kind", "kw"), SIGNALS, ids=[f"{s[0][0]}-{s[0][1]}" for s in SIGNALS])
def test_signals_arrive_in_kw(
    vtn: Vtn, tmp_path: Path, said: tuple[str, str, float], more: dict[str, Any], kind: ObligationKind, kw: float
):
    event = heard(vtn, tmp_path, signal(*said, START, **more)).event
    assert event and (event.kind, event.program) == (kind, "pge-bip")
    assert [(i.start, i.end, i.kw) for i in event.intervals] == [(START, START + HOUR, kw)]


def test_prices_are_rows_and_a_demand_charge_is_told(vtn: Vtn, tmp_path: Path):
    found = heard(vtn, tmp_path, signal("ELECTRICITY_PRICE", "price", 0.11, START), signal("DEMAND_CHARGE", "price", 9.0, START))
    assert found.event is None and [(r.valid_from, r.price_per_kwh) for r in found.prices] == [(START, 0.11)]
    assert found.alerts == ("DEMAND_CHARGE price",) and found.problem == ""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (("ELECTRICITY_PRICE", "priceMultiplier", 3), "absolute prices"),
        (("ELECTRICITY_PRICE", "price", 110), "expected -2 to 20"),
        (("LOAD_CONTROL", "x-loadControlPercentOffset", 0.2), "not understood"),
        (("LOAD_DISPATCH", "level", 7), "does not say"),
        (("LOAD_DISPATCH", "delta", 150), "asks for more import"),
        (("LOAD_CONTROL", "x-loadControlCapacity", 1.5), "expected 0 to 1"),
    ],
)
def test_what_is_not_understood_is_named_and_wants_an_answer(vtn: Vtn, tmp_path: Path, said: tuple[str, str, float], why: str):
    found = heard(vtn, tmp_path, signal(*said, START))
    assert why in found.problem and found.answer is not None and found.event is None


def test_the_richest_signal_is_acted_on_and_they_are_never_summed(vtn: Vtn, tmp_path: Path):
    event = heard(vtn, tmp_path, signal("SIMPLE", "level", 3, START), signal("LOAD_DISPATCH", "setpoint", 640, START, **KW)).event
    assert event and (event.kind, event.intervals[0].kw) == (ObligationKind.REDUCE_TO, 640.0)


def test_priority_one_is_the_highest_and_zero_the_lowest(vtn: Vtn, tmp_path: Path):
    ranks = []
    for priority in (1, 5, 0):
        event = heard(vtn, tmp_path, signal("SIMPLE", "level", 1, START), priority=priority).event
        assert event
        ranks.append(event.priority)
    assert ranks == sorted(ranks) and len(set(ranks)) == 3


def test_a_tolerance_only_delays(vtn: Vtn, tmp_path: Path):
    period = {"tolerance": {"startafter": timedelta(minutes=10)}, "ramp_up_period": timedelta(minutes=5)}
    event = heard(vtn, tmp_path, signal("SIMPLE", "level", 1, START), period=period).event
    assert event and event.spread_s == (0.0, 600.0) and 0.0 <= event.draw_s("site") <= 600.0


def test_another_market_context_is_not_ours(vtn: Vtn, tmp_path: Path):
    assert "not among those" in heard(vtn, tmp_path, signal("SIMPLE", "level", 1, START), context="http://other").problem


def test_a_modified_a_cancelled_and_a_silently_removed_event(vtn: Vtn, tmp_path: Path):
    made = ven(vtn, tmp_path)
    vtn.add("e1", signal("LOAD_DISPATCH", "setpoint", 640, START))
    vtn.add("e2", signal("LOAD_DISPATCH", "setpoint", 800, START))
    first = {h.id: h.event for h in look(made).heard}
    vtn.add("e1", signal("LOAD_DISPATCH", "setpoint", 500, START), number=1)
    vtn.add("e2", signal("LOAD_DISPATCH", "setpoint", 800, START), number=1, status="cancelled")
    second = {h.id: h.event for h in look(made, "util:e1", "util:e2", after=5).heard}
    assert (first["util:e1"].modification, second["util:e1"].modification, second["util:e1"].intervals[0].kw) == (0, 1, 500.0)
    assert second["util:e2"].is_cancelled and not first["util:e2"].is_cancelled
    vtn.drop("e1")
    assert look(made, "util:e1", after=10).gone == ("util:e1",)
    vtn.events.clear()
    assert look(made, "util:e1", "util:e2", after=15).gone == ("util:e1", "util:e2")


def test_the_head_end_is_never_asked_more_often_than_it_allows(vtn: Vtn, tmp_path: Path):
    made = ven(vtn, tmp_path)
    assert look(made).is_full and not look(made, "util:e1", after=0.5).is_full and look(made, after=0.5).gone == ()
    assert look(made, after=3.0).is_full


@pytest.mark.parametrize("opt", ["optIn", "optOut"])
def test_an_opt_reaches_the_head_end(vtn: Vtn, tmp_path: Path, opt: str):
    made = ven(vtn, tmp_path)
    vtn.add("e1", signal("SIMPLE", "level", 1, START))
    answer = look(made).heard[0].answer
    taken, trouble = made.send([("k", {**answer, "opt": opt, "changed": False})], datetime.now(UTC))
    assert trouble == "" and len(taken) == 1 and vtn.opts == [("e1", opt)]


def test_a_change_of_mind_is_a_valid_opt_also_where_the_head_end_serves_none(vtn: Vtn, tmp_path: Path):
    item = {"event_id": "e1", "modification_number": 0, "request_id": "r", "opt": "optOut", "changed": True}
    body = create_message("oadrCreateOpt", **opt_message(item, "ven-1", datetime.now(UTC)))
    assert validate_xml_schema(body) is not None and "optOut" in body
    taken, trouble = ven(vtn, tmp_path).send([("k", item)], datetime.now(UTC))
    assert taken == (("k", ""),) and "404" in trouble  # told once, not tried for ever


def test_telemetry_is_registered_asked_for_and_taken(vtn: Vtn, tmp_path: Path):
    made = ven(vtn, tmp_path)
    wanted = look(made).telemetry
    assert wanted is not None and (wanted.interval_s, wanted.every_s) == (60.0, 300.0)
    rows = [(START + n * timedelta(minutes=1), 60.0, 900.0 + n, "ok") for n in range(5)]
    taken, trouble = made.send([("k", {"rows": rows})], datetime.now(UTC))
    assert trouble == "" and len(taken) == 1
    assert [(at, kw) for at, kw in vtn.rows] == [(at, kw) for at, _, kw, _ in rows]


def test_a_restarted_head_end_is_registered_with_again_and_one_that_is_gone_is_trouble(tmp_path: Path):
    with Vtn() as vtn:
        made = ven(vtn, tmp_path)
        look(made)
        vtn.restart()
        vtn.add("e1", signal("SIMPLE", "level", 1, START))
        found = [made.look(datetime.now(UTC) + timedelta(seconds=n), ("util:e1",)) for n in (5, 10)][-1]
        assert found.trouble == "" and [h.id for h in found.heard] == ["util:e1"] and vtn.registered == ["site", "site"]
        vtn.stop()
        lost = made.look(datetime.now(UTC) + timedelta(seconds=20), ("util:e1",))
        assert "ConnectError" in lost.trouble and lost.gone == ()
        vtn.restart()


def test_tls_with_certificates_on_both_sides_and_signed_messages(tmp_path: Path):
    authority = Authority(tmp_path)
    theirs, ours, stranger = authority.pair("vtn"), authority.pair("site"), authority.pair("stranger")
    files = {"cert": str(theirs.certificate), "key": str(theirs.key)}
    served = {"http_cert": files["cert"], "http_key": files["key"], "http_ca_file": str(authority.file), "show_fingerprint": False}
    with Vtn(**files, **served) as vtn:
        vtn.fingerprint = certificate_fingerprint(ours.certificate.read_text())
        own = {"ca_file": authority.file.name, "cert_file": ours.certificate.name, "key_file": ours.key.name}
        good = ven(vtn, tmp_path, **own, head_end_fingerprint=certificate_fingerprint(theirs.certificate.read_text()))
        vtn.add("e1", signal("SIMPLE", "level", 1, START))
        assert [h.id for h in look(good).heard] == ["util:e1"]
        forged = ven(vtn, tmp_path, **own, head_end_fingerprint="00:11:22:33:44:55:66:77:88:99").look(datetime.now(UTC), ())
        assert "not to be trusted (FingerprintMismatch" in forged.trouble and forged.heard == ()
        other = {**own, "cert_file": stranger.certificate.name, "key_file": stranger.key.name}
        assert ven(vtn, tmp_path, **other).look(datetime.now(UTC), ()).trouble != ""
        assert e_id(vtn.events[0]) == "e1"


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>
<oadr:oadrPayload xmlns:oadr="http://openadr.org/oadr-2.0b/2012/07">&c;</oadr:oadrPayload>"""
FILE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><oadrPayload>&a;</oadrPayload>'


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"hello", "not to be trusted (XMLSyntaxError"),
        (200, b"<a><b>", "not to be trusted (XMLSyntaxError"),
        (200, b"<oadrPayload/>", "not to be trusted (XMLSyntaxError"),
        (200, BOMB, "not to be trusted"),
        (200, FILE, "not to be trusted"),
        (200, b"\xff\xfe\x00", "not to be trusted"),
        (200, b"", "not registered"),
        (200, b"x" * 8_000_001, "HTTP 200"),
        (500, b"sorry", "HTTP 500"),
        (302, b"", "HTTP 302"),
    ],
    ids=["words", "cut off", "no schema", "bomb", "file", "bytes", "empty", "flood", "error", "elsewhere"],
)
def test_an_answer_that_is_none_is_one_line_of_trouble(tmp_path: Path, status: int, body: bytes, why: str):
    given = {"id": "util", "profile": "openadr-2.0b", "url": "https://vtn.example", "programs": {"http://context": "pge-bip"}}
    made = Ven2(ChannelFile.model_validate(given), tmp_path / "channels.yaml")
    made._http = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(status, content=body)))
    found = made.look(datetime.now(UTC), ("util:e1",))
    assert why in found.trouble and "\n" not in found.trouble and "root:" not in found.trouble and found.gone == found.heard == ()
