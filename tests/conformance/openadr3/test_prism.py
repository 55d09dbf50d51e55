"""An unrelated tool judges every request of our VEN and both directions between clients and our simulated head-end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from openadr3 import OpenADRClient

from adapters.head_end import HeadEndClient
from adapters.openadr3.reports import KINDS, Figure, Period, body_of, due
from adapters.openadr3.ven import Ven
from ems.program.channel import ChannelFile
from ems.program.heard import Ask
from simulators.openadr3.serve import BUSINESS
from tests.adapters.openadr3.headend import HOUR, NOW, HeadEnd, event_body, head_end
from tests.conformance.openadr3.prism import interface, prism

pytestmark = pytest.mark.timeout(300)  # the first run installs Prism


class Fixed:
    """Figures that are all known."""

    def demand_kw(self, period: Period) -> Figure:
        return Figure(800.0)

    def forecast_kw(self, period: Period) -> Figure:
        return Figure(850.0, half_width=40.0)

    def baseline_kw(self, event: str) -> float:
        return 900.0

    def flexible_kw(self, period: Period, probability: float) -> float:
        return 250.0

    def storage(self) -> dict[str, float]:
        return {"energy_kwh": 500.0, "usable_kwh": 800.0, "charge_kw": 400.0, "discharge_kw": 400.0}

    def state_of(self, event: str) -> str:
        return "acting"


def all_reports(channel: ChannelFile, event: str, program: str) -> list[tuple[str, dict[str, Any]]]:
    """One report of every payload that we have, measured and forecast."""
    found = []
    for number, kind in enumerate(KINDS):
        descriptor = {"payloadType": kind, "historical": "FORECAST" not in kind and "AVAILABLE" not in kind}
        ask = Ask(event, program, number, ((NOW, NOW + HOUR), (NOW + HOUR, NOW + 2 * HOUR)), descriptor)
        for report in due(ask, 1, NOW + 3 * HOUR):
            body = body_of(report, channel, Fixed(), event)
            assert body is not None
            found.append((report.key, body))
    return found


class Recorder:
    """Every exchange through a client, for the transcript."""

    def __init__(self) -> None:
        self.refusals_count = False  # where a refusal is the judge's
        self.contradictions = 0
        self.lines: list[str] = []
        self.faults: list[str] = []

    def watch(self, client: httpx.Client, who: str) -> None:
        client.event_hooks["response"] = [lambda response: self._note(who, response)]

    def _note(self, who: str, response: httpx.Response) -> None:
        response.read()
        request = response.request
        path = request.url.raw_path.decode().replace("&", " ")[:96]
        self.lines.append(f"{who:<9} {request.method:<6} {path:<98} {response.status_code}")
        told = json.loads(response.headers.get("sl-violations", "[]"))
        told = [v for v in told if not (self.refusals_count and v["location"][0] == "response")]  # of the mock's own making
        self.contradictions += any(is_contradiction(request, v) for v in told)
        self.faults += [f"{self.lines[-1]} {v}" for v in told if not is_contradiction(request, v)]
        if "stoplight.io" in response.text or (self.refusals_count and response.status_code >= 400):
            self.faults.append(f"{self.lines[-1]} {response.text[:600]}")


def is_contradiction(request: httpx.Request, violation: dict[str, Any]) -> bool:
    """No answer can keep the 3.1.0 description of vens and resources: their objectType must be of two lists that share no word."""
    is_of_these = request.url.path.split("/")[1] in ("vens", "resources")
    return is_of_these and violation["location"][:2] == ["response", "body"] and violation["location"][-1] == "objectType"


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    if folder := os.environ.get("EMS_TRANSCRIPTS"):
        head = [
            "Every request and answer of one run of test_prism.py against Prism 5.14.2 (mock of 3.1.0 and 3.0.1, proxy of 3.1.0).",
            f"Violations: {len(made.faults)}. Not counted: {made.contradictions} answers about vens, whose objectType",
            "the 3.1.0 file asks to be of two lists without a common word.",
            "Command: EMS_TRANSCRIPTS=DIR pytest tests/conformance/openadr3/test_prism.py",
            "",
        ]
        (Path(folder) / "prism.txt").write_text("\n".join((*head, *made.lines)) + "\n")


class NoBroker:
    """In place of what would follow a broker: what it is made with was read from the head-end."""

    def __init__(self, channel: ChannelFile, tls: Any, notifier: Any, topics: list[str], token: Any, on_hint: Any) -> None:
        assert topics and notifier["serialization"] == "JSON"

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def ven_through(url: str, folder: Path, recorder: Recorder, profile: str, **more: Any) -> Iterator[Ven]:
    (folder / "secret").write_text(more.pop("secret", "ven-secret"))
    (folder / "hook").write_text("token-of-the-hook")
    given = {"id": "dso", "profile": profile, "url": url, "programs": {"Flex": "nonfirm-connection"}, "client_id": "ven-client"}
    webhook = {"callback_url": "https://site.example/hooks/dso", "token_file": "hook"}
    channel = ChannelFile.model_validate({**given, "secret_file": "secret", "webhook": webhook, "token_url": f"{url}/auth/token", **more})
    ven = Ven(channel, folder / "channels.yaml")
    client: HeadEndClient = ven._client
    recorder.watch(client._http, f"VEN {profile[8:]}")
    yield ven
    ven.close()


def test_every_request_of_our_ven_passes_the_mock_of_both_interface_versions(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("adapters.openadr3.ven.Hints", NoBroker)
    recorder.refusals_count = True
    for version, profile in (("3.1.0", "openadr-3.1"), ("3.0.1", "openadr-3.0.1")):
        folder = tmp_path / version
        folder.mkdir()
        more = {"targets": ["group-1"], "mqtt": version == "3.1.0"}
        with prism("mock", interface(version)) as url, ven_through(url, folder, recorder, profile, **more) as ven:
            look = ven.look(NOW, ("dso:event-999",))
            assert look.trouble == "", look.trouble
            taken, trouble = ven.send(all_reports(ven.channel, "event-1", "program-1"), NOW)
            assert trouble == "" and len(taken) == len(KINDS)
    assert recorder.faults == []


def crud(business: OpenADRClient, grid: HeadEnd) -> str:
    """The business side writes, changes and deletes one of each; the id of the event that stays."""
    program = business.create_program({"programName": "Flex", "attributes": [{"type": "BINDING_EVENTS", "values": [False]}]}).json()["id"]
    spare = business.create_program({"programName": "Spare"}).json()["id"]
    business.update_program(spare, {"programName": "Spare 2"})
    body = event_body(program, "IMPORT_CAPACITY_LIMIT", [900.0], reportDescriptors=[{"payloadType": "USAGE"}], priority=1)
    event = business.create_event(body).json()["id"]
    grid.wait(timedelta(seconds=1))
    business.update_event(event, {**body, "eventName": "changed"})
    for answer in (
        business.get_programs(),
        business.get_program_by_id(spare),
        business.get_events(programID=program),
        business.get_event_by_id(event),
    ):
        assert answer.status_code == 200
    ven = business.create_ven({"objectType": "BL_VEN_REQUEST", "venName": "other", "clientID": "other", "targets": ["group-2"]}).json()[
        "id"
    ]
    resource = {"objectType": "BL_RESOURCE_REQUEST", "resourceName": "hall", "venID": ven, "clientID": "other"}
    made = business.create_resource(resource).json()["id"]
    for answer in (business.get_vens(), business.get_ven_by_id(ven), business.get_resources(), business.get_resource_by_id(made)):
        assert answer.status_code == 200
    business.delete_resource(made)
    business.delete_ven(ven)
    operations = [{"objects": ["REPORT"], "operations": ["CREATE"], "callbackUrl": "https://utility.example/hook"}]
    subscription = business.create_subscription({"clientName": "bl", "objectOperations": operations}).json()["id"]
    business.get_subscription_by_id(subscription)
    business.delete_subscription(subscription)
    business.get_notifiers()
    business.delete_program(spare)
    return str(event)


def test_our_head_end_and_our_ven_keep_the_interface_in_both_directions(recorder: Recorder, tmp_path: Path):
    recorder.refusals_count = False
    with head_end() as grid, prism("proxy", interface("3.1.0"), grid.server.url) as url:
        business = OpenADRClient(url)
        business.fetch_token(BUSINESS.id, BUSINESS.secret, token_url=f"{url}/auth/token")
        recorder.watch(business._http, "BL 3.1")
        event = crud(business, grid)
        with ven_through(url, tmp_path, recorder, "openadr-3.1") as ven:
            look = ven.look(NOW, ("dso:event-999",))
            assert look.trouble == "" and len(look.heard[0].limits) == 1 and look.gone == ("dso:event-999",)
            taken, trouble = ven.send(all_reports(ven.channel, event, "program-1"), NOW)
            assert trouble == "" and len(taken) == len(KINDS)
        read = business.get_reports(eventID=event).json()
        assert len(read) == len(KINDS) and json.dumps(read)
        business.delete_event(event)
        business.close()
    assert recorder.faults == []


def test_the_judge_can_say_no(tmp_path: Path):
    with prism("mock", interface("3.1.0")) as url:
        answers = [
            httpx.post(f"{url}/reports", json=body, headers=headers).status_code
            for body in ({"clientName": "x", "eventID": "e", "resources": []}, {"clientName": "x", "resources": []})
            for headers in ({"Authorization": "Bearer x"}, {})
        ]
        assert answers == [201, 401, 400, 401]
    with head_end() as grid, prism("proxy", interface("3.1.0"), grid.server.url) as url:
        grid.vtn.put("programs", {"programName": 7})
        token = httpx.post(
            f"{url}/auth/token", data={"grant_type": "client_credentials", "client_id": "ven-client", "client_secret": "ven-secret"}
        )
        answer = httpx.get(f"{url}/programs", headers={"Authorization": f"Bearer {token.json()['access_token']}"})
        assert "programName" in answer.headers["sl-violations"]
