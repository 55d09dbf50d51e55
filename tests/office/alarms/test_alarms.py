"""Alarms: what is said becomes one alarm each, raised at once and cleared once; hooks get it or do no harm."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ems.alarms import CATALOGUE, Severity, conditions
from ems.errors import ConfigError
from ems.office.alarms.book import Alarm, AlarmBook
from ems.office.alarms.desk import AlarmDesk
from ems.office.alarms.hooks import Hook
from ems.office.health import Health
from ems.resources import bundled
from ems.site.alarm_hook import AlarmHook
from ems.site.load import load_site
from ems.site.resolved import site_from_json, site_to_json

START = datetime(2024, 8, 19, 5, tzinfo=UTC)
SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
SUBJECTS = tuple(SITE.links)
GOOD = Health((), (), 0.5, 60.0, "L0")


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def names(lines: list[str]) -> list[tuple[str, str]]:
    return [c.key for c in conditions(lines, SUBJECTS)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bess-1: power_setpoint_kw: told 50, reads back 0 (acknowledged but not applied)", ("not-applied", "bess-1")),
        ("bess-1: power_setpoint_kw: told 50, reads back 0 (reverted by the device)", ("reverted", "bess-1")),
        ("bess-1: power_setpoint_kw: told 50, reads back 80 (another master writes)", ("another-master", "bess-1")),
        ("bess-1: told -300 kW, the power is 0 kW: it does not follow", ("does-not-follow", "bess-1")),
        ("bess-1: told -300 kW, the power is 300 kW: the wrong sign, it does not follow", ("wrong-sign", "bess-1")),
        ("bess-1: quarantined: 3 times within 4 h, last told 5, reads back 0 (another master writes)", ("quarantined", "bess-1")),
        ("bess-1: not a Battery: model is 3, expected 704", ("wrong-device", "bess-1")),
        ("hall-a cap: told at most 500 kW, draws 900 kW", ("cap-ignored", "hall-a")),
        ("hall-a: holding 200+40: no answer within 0.4 s", ("device-silent", "hall-a")),
        ("hall-a: holding 200+40: unit 7 answered for unit 1", ("crossed-answers", "hall-a")),
        ("poc: the meter stands still: no energy counted for 21 s", ("meter-stuck", "poc")),
        ("poc energy: power and energy counters contradict each other: 30 against 20 kWh", ("meter-contradiction", "poc")),
        ("poc: balance: meter 1200 kW, devices 900 kW; the larger is taken", ("meter-contradiction", "poc")),
        ("bess-1 charge: the gauge shows 70.0%, the power explains 50.0%; the worse counts", ("gauge-doubt", "bess-1")),
        ("infeasible: idle power and full discharge still import 900 kW over the event e1", ("infeasible", "site")),
        ("control finished no cycle for 12 s", ("control-silent", "site")),
        ("control is at L3 limits only: the journal is late or cannot be written", ("journal", "site")),
        ("there is no plan yet", ("no-plan", "site")),
        ("degraded: limit source lost: dso not heard for 40 s, 900 kW hold", ("limit-source-lost", "site")),
        ("degraded: plan lost: no valid plan for 61 s", ("plan-lost", "site")),
        ("degraded: planner hostile: 3 plans refused within 60 s", ("plan-lost", "site")),
        ("degraded: local: bess-1 in LOCAL", ("local", "site")),
        ("planner: real_time price of 0.0417 per kWh from 2024-05-14 19:45Z: has not moved for 20 h, withheld", ("price-stuck", "site")),
        ("planner: real_time price of 4.9 per kWh from 2024-05-14 00:00Z: 245 times what the week before held", ("price-doubted", "site")),
        ("planner: day_ahead price of 12 per kWh from 2024-05-14 00:00Z: another unit than the week before", ("price-doubted", "site")),
        ("something nobody thought of", ("other", "site")),
    ],
)
def test_each_line_belongs_to_the_alarm_meant_for_it(line: str, expected: tuple[str, str]):
    assert names([line]) == [expected]


def test_every_alarm_of_the_catalogue_has_its_words_and_the_readme_is_written_from_it():
    assert len({kind.name for kind in CATALOGUE}) == len(CATALOGUE) and CATALOGUE[-1].name == "other"
    assert all(kind.text.endswith(".") and kind.runbook[-1] in ".?" for kind in CATALOGUE)
    rows = [f"| {k.name} | {k.severity.name.lower()} | {k.text} | {k.runbook} |" for k in CATALOGUE]
    assert "\n".join(rows) in (Path(__file__).parents[3] / "ems/office/alarms/README.md").read_text()


def test_an_alarm_is_raised_once_survives_flicker_and_is_cleared_once(tmp_path: Path):
    book = AlarmBook(tmp_path / "alarms.json")
    said = conditions(["bess-1: no answer within 0.4 s"], SUBJECTS)
    raised = book.update(at(0), said)
    assert [(a.name, a.cleared_at) for a in raised] == [("device-silent", None)]
    assert book.update(at(3), []) == [] and book.update(at(4), said) == [] and book.update(at(9), []) == []
    again = AlarmBook(tmp_path / "alarms.json")
    assert [a.since for a in again.standing] == [at(0)] and again.update(at(4), said) == []
    cleared = book.update(at(9.5), [])
    assert [(a.name, a.since, a.cleared_at) for a in cleared] == [("device-silent", at(0), at(9.5))]
    assert book.standing == () and list(book.recent) == cleared


def test_the_words_may_change_every_second_and_it_stays_one_alarm():
    book = AlarmBook()
    lines = [f"poc: balance: meter {900 + k} kW, devices {700 - k} kW; the larger is taken" for k in range(20)]
    assert sum(len(book.update(at(k), conditions([line], SUBJECTS))) for k, line in enumerate(lines)) == 1


def test_what_has_not_started_yet_is_not_missing_and_a_silent_controller_is_the_only_alarm(tmp_path: Path):
    desk = AlarmDesk(SITE, tmp_path)
    starting = replace(GOOD, reasons=("control has not finished a cycle yet", "there is no plan yet"))
    assert desk.look(at(0), None, starting, False, 2.0) == []
    snapshot = {"alarms": ["bess-1: no answer within 0.4 s"], "trust": {}}
    assert [a.name for a in desk.look(at(1), snapshot, GOOD, True, 20.0)] == ["device-silent"]
    dead = replace(GOOD, reasons=("control finished no cycle for 8 s",))
    assert [a.name for a in desk.look(at(10), snapshot, dead, False, 30.0)] == ["control-silent", "device-silent"]
    assert [a.name for a in desk.book.standing] == ["control-silent"]


# Hooks


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self)

        def log_message(self, *args: Any) -> None:
            pass

    listening: HTTPServer = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/alarm"
    finally:
        listening.shutdown()
        listening.server_close()


def until(is_true: Callable[[], Any], within_s: float = 60.0) -> None:
    ends = time.perf_counter() + within_s
    while not is_true():
        assert time.perf_counter() < ends, "it did not become true in time"
        time.sleep(0.01)


def an_alarm(severity: Severity = Severity.MAJOR) -> Alarm:
    return Alarm("device-silent", "bess-1", severity, "no answer", "It does not answer.", "Check it.", START, START)


def test_a_web_address_gets_raised_and_cleared_and_is_asked_again_when_it_fails():
    got: list[dict[str, Any]] = []
    refusals = [503, 500]

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        status = refusals.pop() if refusals else 204
        if status == 204:
            got.append(body)
        request.send_response(status)
        request.end_headers()

    with server(answer) as url:
        hook = Hook(AlarmHook("ops", url=url, retries=3, timeout_s=60.0), first_pause_s=0.01)
        hook.put(an_alarm(), "demo")
        hook.put(replace(an_alarm(), cleared_at=at(9)), "demo")
        until(lambda: len(got) == hook.delivered == 2)
        hook.close()
    assert [(b["state"], b["site"], b["name"], b["subject"], b["severity"]) for b in got] == [
        ("raised", "demo", "device-silent", "bess-1", "major"),
        ("cleared", "demo", "device-silent", "bess-1", "major"),
    ]
    assert (hook.delivered, hook.failed, hook.trouble) == (2, 0, "")


def test_a_hook_that_hangs_delays_neither_the_others_nor_the_one_who_raises(tmp_path: Path):
    got: list[bytes] = []
    hang = threading.Event()

    def quick(request: BaseHTTPRequestHandler) -> None:
        got.append(request.rfile.read(int(request.headers["Content-Length"])))
        request.send_response(200)
        request.end_headers()

    with server(lambda request: bool(hang.wait(60))) as dead, server(quick) as alive:
        hooks = (AlarmHook("dead", url=dead, timeout_s=60.0, retries=1), AlarmHook("alive", url=alive))
        desk = AlarmDesk(replace(SITE, alarm_hooks=hooks), tmp_path)
        for k in range(300):  # more than a hook keeps waiting
            desk.look(at(10.0 * k), {"alarms": ["bess-1: no answer"] if k % 2 else [], "trust": {}}, GOOD, True, 60.0)
        assert desk.hooks[0].dropped > 0 and desk.hooks[0].delivered == desk.hooks[0].failed == 0  # it hung all the while
        until(lambda: len(got) >= 100)
        hang.set()
        until(lambda: desk.notes())
        assert "alarm hook dead" in desk.notes()[0]
        desk.close()


def test_a_command_gets_the_alarm_on_its_standard_input_and_one_that_fails_is_told(tmp_path: Path):
    out = tmp_path / "got.json"
    write = f"import sys; open({str(out)!r}, 'w').write(sys.stdin.read())"
    good = Hook(AlarmHook("page", command=(sys.executable, "-c", write), timeout_s=60.0))
    bad = Hook(AlarmHook("bad", command=("/nowhere/at-all",), retries=0))
    for hook in (good, bad):
        hook.put(an_alarm(), "demo")
    until(lambda: good.delivered and bad.failed)
    assert json.loads(out.read_text())["runbook"] == "Check it." and "alarm hook bad" in bad.trouble
    good.close()
    bad.close()


def test_a_hook_gets_only_what_is_bad_enough():
    hook = Hook(AlarmHook("bad", severity="critical", command=("/nowhere/at-all",), retries=0))
    hook.put(an_alarm(Severity.MAJOR), "demo")
    hook.put(an_alarm(Severity.CRITICAL), "demo")
    until(lambda: hook.failed)
    hook.close()
    assert hook.failed == 1


def test_hooks_stand_in_the_site_file_and_a_wrong_one_is_named_with_its_place():
    hooks = {"ops": {"url": "https://alarms.example/hook", "severity": "major"}, "pager": {"command": ["/bin/page"], "timeout_s": 2}}
    site = load_site(bundled("config/sites/demo-2mw.yaml"), {"alarms": hooks})
    assert [(h.name, h.severity, h.command) for h in site.alarm_hooks] == [("ops", "major", ()), ("pager", "minor", ("/bin/page",))]
    assert site_from_json(site_to_json(site)) == site
    for wrong in ({"url": "ftp://x"}, {}, {"url": "http://x", "command": ["y"]}, {"command": ["y"], "severity": "loud"}):
        with pytest.raises(ConfigError):
            load_site(bundled("config/sites/demo-2mw.yaml"), {"alarms": {"ops": wrong}})
