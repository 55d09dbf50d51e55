"""openleadr's own VTN, an independent peer, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openleadr import OpenADRServer
from openleadr.objects import ActivePeriod
from openleadr.service import VTNService

from ems.app.ports import PortRow

VEN_ID, REGISTRATION = "ven-1", "reg-1"
HOUR = timedelta(hours=1)


class Vtn:
    """Runs from `with` to its end; `restart` forgets everything, as its memory does."""

    def __init__(self, **tls: Any) -> None:
        self._row = PortRow()  # nobody else takes the port, also while the server restarts
        self.port = self._row.base
        self.tls = tls
        self.opts: list[tuple[str, str]] = []
        self.rows: list[tuple[datetime, float]] = []
        self.registered: list[str] = []
        self.is_known = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/OpenADR2/Simple/2.0b"

    def __enter__(self) -> Vtn:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._row.let_go()
        for name in ("ven_lookup", "fingerprint_lookup"):
            if hasattr(VTNService, name):
                delattr(VTNService, name)

    def restart(self) -> None:
        """A new server on the same port that knows nobody."""
        self._do(self.server.stop())
        self.is_known = False
        self._do(self._start())

    def stop(self) -> None:
        self._do(self.server.stop())

    def add(self, event_id: str = "e1", *signals: dict[str, Any], number: int = 0, status: str = "far", **more: Any) -> None:
        """An event as raw data, so that several signals and a measurement can be said."""

        async def add() -> None:
            start = signals[0]["intervals"][0]["dtstart"]
            event = {
                "event_descriptor": {
                    "event_id": event_id,
                    "modification_number": number,
                    "modification_date_time": datetime.now(UTC),
                    "priority": more.get("priority", 0),
                    "market_context": more.get("context", "http://context"),
                    "event_status": status,
                    "test_event": "false",
                    "created_date_time": datetime.now(UTC),
                },
                "active_period": {"dtstart": start, "duration": HOUR},
                "event_signals": list(signals),
                "targets": [{"ven_id": VEN_ID}],
                "response_required": "always",
            }
            self.events[:] = [e for e in self.events if e_id(e) != event_id]
            self.server.add_raw_event(VEN_ID, event, callback=self._opted)
            if "period" in more:  # openleadr itself loses what the active period says beside start and length
                period = {"dtstart": start, "duration": HOUR, **more["period"]}
                stored = self.events[-1]
                if isinstance(stored, dict):
                    stored["active_period"] = period
                else:
                    stored.active_period = ActivePeriod(**period)

        self._do(add())

    def drop(self, event_id: str) -> None:
        """The event is silently no longer in the set."""
        self.events[:] = [e for e in self.events if e_id(e) != event_id]

    @property
    def events(self) -> list[Any]:
        """The set that is distributed."""
        return self.server.services["event_service"].events.setdefault(VEN_ID, [])

    async def _start(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.server = OpenADRServer(
                "vtn-1", http_port=self.port, requested_poll_freq=timedelta(seconds=1), ven_lookup=self._lookup, **self.tls
            )
            self.server.add_handler("on_create_party_registration", self._register)
            self.server.add_handler("on_register_report", self._report)
            await self.server.run()

    async def _register(self, info: dict[str, Any]) -> tuple[str, str]:
        self.registered.append(info["ven_name"])
        self.is_known = True
        return VEN_ID, REGISTRATION

    async def _lookup(self, ven_id: str) -> dict[str, Any] | None:
        if not self.is_known:
            return None
        return {"ven_id": ven_id, "ven_name": "site", "registration_id": REGISTRATION, "fingerprint": self.tls and self.fingerprint}

    fingerprint = ""

    async def _report(
        self,
        ven_id: str,
        resource_id: str,
        measurement: str,
        unit: str,
        scale: str,
        min_sampling_interval: timedelta,
        max_sampling_interval: timedelta,
    ) -> Any:
        async def taken(data: list[tuple[datetime, float]], **_: Any) -> None:
            self.rows += data

        return taken, min_sampling_interval, timedelta(minutes=5)

    async def _opted(self, ven_id: str, event_id: str, opt_type: str) -> None:
        self.opts.append((event_id, opt_type))

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)


def e_id(event: Any) -> str:
    descriptor = event["event_descriptor"] if isinstance(event, dict) else event.event_descriptor
    return str(descriptor["event_id"] if isinstance(descriptor, dict) else descriptor.event_id)


def signal(name: str, kind: str, value: float, start: datetime, length: timedelta = HOUR, **more: Any) -> dict[str, Any]:
    interval = {"dtstart": start, "duration": length, "signal_payload": value}
    return {"signal_name": name, "signal_type": kind, "signal_id": f"{name}-{kind}", "intervals": [interval], **more}


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("openleadr").setLevel(logging.CRITICAL)
