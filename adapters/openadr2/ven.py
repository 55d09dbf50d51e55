"""The 2.0b VEN of one channel: registers, asks for the full set of events at every look, answers each with an opt, reports telemetry.

openleadr writes, reads, signs and checks the messages; its client is not used: an event that is no longer in the set is cancelled here, its
tolerance is kept, one bad event does not spoil the others, and a lost head-end is told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from lxml.etree import LxmlError, XMLParser, fromstring, tostring
from openleadr import utils
from openleadr.errors import FingerprintMismatch
from openleadr.messaging import create_message, parse_message, validate_xml_schema, validate_xml_signature
from signxml.exceptions import SignXMLException

from adapters.head_end import MOST_BYTES, tls_context
from adapters.openadr2.meaning import meaning_of
from ems.errors import DataError
from ems.program.channel import ChannelFile, beside
from ems.program.heard import Heard, Look, Telemetry

NAMESPACE = "{http://openadr.org/oadr-2.0b/2012/07}"
UNREADABLE = (LxmlError, SignXMLException, FingerprintMismatch, ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError)
REPORT, R_ID = "site-telemetry", "import"
GRANULARITY = timedelta(minutes=1)
REPORTED_EVERY = timedelta(minutes=5)  # unless the head-end asks for another period

logging.getLogger("openleadr").setLevel(logging.ERROR)  # every message is kept by us


class Ven2:
    """One VTN as this site sees it. Used by one thread."""

    def __init__(self, channel: ChannelFile, path: Path) -> None:
        self.channel = channel
        self.ven_id: str | None = None
        self.registration: str | None = None
        self._least_wait = timedelta(0)
        self._last_poll: datetime | None = None
        self._now = datetime.min  # of the look or the sending under way
        self._requests: dict[str, timedelta] = {}  # telemetry asked for: report request -> how often
        self._sign: dict[str, bytes] = {}
        if channel.cert_file and channel.key_file:
            self._sign = {"cert": beside(path, channel.cert_file).read_bytes(), "key": beside(path, channel.key_file).read_bytes()}
        self._http = httpx.Client(verify=tls_context(channel, path), timeout=10.0, headers={"Content-Type": "application/xml"})

    def look(self, now: datetime, expected: Collection[str]) -> Look:
        """The full set of events; what stands and is not in it is cancelled. Never asks more often than the head-end allows."""
        if self._last_poll is not None and now - self._last_poll < self._least_wait:
            return Look(now, is_full=False)
        self._last_poll = self._now = now
        try:
            if self.registration is None:
                self._register()
            self._take_requests()
            kind, payload, text = self._exchange("EiEvent", "oadrRequestEvent", request_id=utils.generate_id(), ven_id=self.ven_id)
            if kind == "oadrRequestReregistration":
                self._forget()
                raise DataError(f"{self.channel.id}: the head-end asks us to register again")
            heard = tuple(self._heard(payload, text, now))
        except DataError as error:
            return Look(now, trouble=str(error))
        shown = {h.id for h in heard}
        return Look(now, heard, tuple(e for e in expected if e not in shown), telemetry=self._telemetry())

    def send(self, items: Collection[tuple[str, Mapping[str, Any]]], now: datetime) -> tuple[tuple[tuple[str, str], ...], str]:
        """Hands in opts and telemetry by key: those that were taken, and what went wrong last."""
        self._now = now
        taken: list[tuple[str, str]] = []
        trouble = ""
        for key, item in items:
            try:
                self._send_one(item, now)
                taken.append((key, json.dumps(item, sort_keys=True, default=str)))
            except DataError as error:
                trouble = str(error)
                if "opt" in item and item.get("changed"):
                    taken.append((key, ""))  # a head-end without EiOpt is not asked again
        return tuple(taken), trouble

    def read_call(self, body: bytes, now: datetime) -> None:
        """A call is a hint: the set of events is asked for."""

    def close(self) -> None:
        """Drops the connections."""
        self._http.close()

    # -- messages -------------------------------------------------------------------------------------------------------------------

    def _register(self) -> None:
        payload = {
            "request_id": utils.generate_id(),
            "ven_name": self.channel.ven_name,
            "ven_id": self.ven_id,
            "http_pull_model": True,
            "xml_signature": bool(self._sign),
            "report_only": False,
            "profile_name": "2.0b",
            "transport_name": "simpleHttp",
            "transport_address": None,
            "registration_id": None,
        }
        kind, found, _ = self._exchange("EiRegisterParty", "oadrCreatePartyRegistration", **payload)
        if kind != "oadrCreatedPartyRegistration" or not found.get("registration_id") or not found.get("ven_id"):
            raise DataError(f"{self.channel.id}: not registered: {_said(kind, found)}")
        self.ven_id, self.registration = str(found["ven_id"]), str(found["registration_id"])
        wait = found.get("requested_oadr_poll_freq") or {}
        length = wait.get("duration") if isinstance(wait, Mapping) else wait
        self._least_wait = length if isinstance(length, timedelta) else timedelta(0)
        self._register_report()

    def _register_report(self) -> None:
        description = {
            "r_id": R_ID,
            "report_type": "usage",
            "reading_type": "Mean",
            "report_subject": None,
            "report_data_source": {"resource_id": self.channel.resource},
            "sampling_rate": {"min_period": GRANULARITY, "max_period": GRANULARITY, "on_change": False},
            "measurement": {"name": "powerReal", "description": "RealPower", "unit": "W", "scale": "k", "power_attributes": POWER},
        }
        report = {
            "duration": timedelta(hours=24),
            "report_descriptions": [description],
            "report_specifier_id": REPORT,
            "report_name": "METADATA_TELEMETRY_USAGE",
            "created_date_time": self._now,
        }
        kind, found, _ = self._exchange(
            "EiReport", "oadrRegisterReport", request_id=utils.generate_id(), ven_id=self.ven_id, reports=[report], report_request_id=None
        )
        if kind == "oadrRegisteredReport":
            self._take(found)

    def _take_requests(self) -> None:
        """The poll, for what the head-end wants besides events."""
        kind, found, _ = self._exchange("OadrPoll", "oadrPoll", ven_id=self.ven_id)
        if kind == "oadrRequestReregistration":
            self._forget()
            self._register()
        elif kind == "oadrCancelPartyRegistration":
            self._forget()
            raise DataError(f"{self.channel.id}: the head-end ended our registration")
        elif kind == "oadrCreateReport":
            self._take(found)
            response = {"response_code": 200, "response_description": "OK", "request_id": found.get("request_id")}
            pending = [{"report_request_id": r} for r in self._requests]
            self._exchange("EiReport", "oadrCreatedReport", response=response, ven_id=self.ven_id, pending_reports=pending)

    def _take(self, found: Mapping[str, Any]) -> None:
        for request in found.get("report_requests") or []:
            specifier = request.get("report_specifier") or {}
            if str(specifier.get("report_specifier_id")) != REPORT:
                continue
            every = specifier.get("report_back_duration")
            length = every.get("duration") if isinstance(every, Mapping) else every
            self._requests[str(request["report_request_id"])] = length if isinstance(length, timedelta) and length else REPORTED_EVERY

    def _telemetry(self) -> Telemetry | None:
        if not self._requests:
            return None
        return Telemetry(GRANULARITY.total_seconds(), min(self._requests.values()).total_seconds())

    def _send_one(self, item: Mapping[str, Any], now: datetime) -> None:
        if "opt" in item:
            self._send_opt(item)
            return
        for request in self._requests:
            reports = [self._report(request, item["rows"], now)]
            kind, found, _ = self._exchange(
                "EiReport", "oadrUpdateReport", request_id=utils.generate_id(), ven_id=self.ven_id, reports=reports
            )
            if kind != "oadrUpdatedReport":
                raise DataError(f"{self.channel.id}: telemetry: {_said(kind, found)}")

    def _send_opt(self, item: Mapping[str, Any]) -> None:
        """The answer to an event; a later change of mind goes as an opt of its own."""
        if item.get("changed"):
            kind, found, _ = self._exchange("EiOpt", "oadrCreateOpt", **opt_message(item, self.ven_id, self._now))
        else:
            response = {"response_code": 200, "response_description": "OK", "request_id": item["request_id"]}
            answer = {**response, "event_id": item["event_id"], "modification_number": item["modification_number"], "opt_type": item["opt"]}
            kind, found, _ = self._exchange("EiEvent", "oadrCreatedEvent", ven_id=self.ven_id, response=response, event_responses=[answer])
        if kind not in ("oadrResponse", "oadrCreatedOpt") or _code(found) >= 300:
            raise DataError(f"{self.channel.id}: opt for {item['event_id']}: {_said(kind, found)}")

    def _report(self, request: str, rows: list[tuple[datetime, float, float, str]], now: datetime) -> dict[str, Any]:
        """Rows (start, seconds, kW, quality) as one report."""
        intervals = [
            {
                "dtstart": start,
                "duration": timedelta(seconds=seconds),
                "report_payload": {
                    "r_id": R_ID,
                    "value": round(kw, 3),
                    "data_quality": QUALITIES[quality],
                    "confidence": None,
                    "accuracy": None,
                },
            }
            for start, seconds, kw, quality in rows
        ]
        return {
            "dtstart": rows[0][0],
            "report_id": utils.generate_id(),
            "report_request_id": request,
            "report_specifier_id": REPORT,
            "report_name": "TELEMETRY_USAGE",
            "created_date_time": self._now,
            "intervals": intervals,
        }

    def _heard(self, payload: Mapping[str, Any], text: str, now: datetime) -> Iterator[Heard]:
        request = str(payload.get("request_id"))
        for raw in payload.get("events") or []:
            plain = json.dumps(raw, sort_keys=True, default=str)
            yield meaning_of(raw, plain, self.channel, now, request)

    def _exchange(self, service: str, message: str, **payload: Any) -> tuple[str, dict[str, Any], str]:
        """One message and its answer: kind, content, text. DataError in one line for everything that goes wrong."""
        try:
            body = create_message(message, **self._sign, **payload)
            validate_xml_schema(body)
            answer = self._http.post(f"{self.channel.url.rstrip('/')}/{service}", content=body.encode())
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DataError(f"{self.channel.id}: {service}: {type(error).__name__}: {error}") from None
        if answer.status_code != 200 or len(answer.content) > MOST_BYTES:
            raise DataError(f"{self.channel.id}: {service}: HTTP {answer.status_code}")
        if not answer.content.strip():
            return "", {}, ""
        try:
            content = without_doctype(answer.content)
            tree = validate_xml_schema(content)
            if self.channel.head_end_fingerprint:
                validate_xml_signature(tree, self.channel.head_end_fingerprint)
            kind, found = parse_message(content)
        except UNREADABLE as error:
            raise DataError(
                f"{self.channel.id}: {service}: an answer that is not to be trusted ({type(error).__name__}: {str(error)[:120]})"
            ) from None
        return kind, found, answer.text

    def _forget(self) -> None:
        self.registration = None
        self._requests = {}


POWER = {"hertz": 50, "voltage": 400, "ac": True}
QUALITIES = {
    "ok": "Quality Good - Non Specific",
    "estimated": "Quality Uncertain - Non Specific",
    "missing": "No New Value - Previous Value Used",
}


def without_doctype(content: bytes) -> bytes:
    """The document as UTF-8 without a declaration. ValueError where it brings a document type: entities of its own end the whole process
    inside openleadr's parser (a segmentation fault, seen), and no message of this protocol has one."""
    tree = fromstring(content, XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False))
    info = tree.getroottree().docinfo
    if info.doctype or info.internalDTD is not None:
        raise ValueError("a document type")
    return tostring(tree, encoding="utf-8")


def opt_message(item: Mapping[str, Any], ven_id: str | None, made_at: datetime) -> dict[str, Any]:
    """The content of an oadrCreateOpt for one event."""
    return {
        "opt_id": utils.generate_id(),
        "opt_type": item["opt"],
        "opt_reason": "economic" if item["opt"] == "optOut" else "participating",
        "ven_id": ven_id,
        "created_date_time": made_at,
        "request_id": utils.generate_id(),
        "event_id": item["event_id"],
        "modification_number": item["modification_number"],
        "targets": [{"ven_id": ven_id}],
    }


def _code(found: Mapping[str, Any]) -> int:
    response = found.get("response")
    code = response.get("response_code") if isinstance(response, Mapping) else None
    return code if isinstance(code, int) else 200


def _said(kind: str, found: Mapping[str, Any]) -> str:
    response = found.get("response")
    response = response if isinstance(response, Mapping) else {}
    return f"{kind or 'nothing'} {response.get('response_code', '')} {str(response.get('response_description', ''))[:120]}".strip()
