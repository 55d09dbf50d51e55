"""Runs the simulated VTN: in a thread of its own for tests, or for a person as `python -m simulators.openadr3.serve`."""

from __future__ import annotations

import argparse
import socket
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn

from ems.clock import Clock
from simulators.openadr3.vtn import Client, Vtn

PROGRAM = "Flexible connection"
BUSINESS, SITE = Client("bl-client", "bl-secret", "bl"), Client("ven-client", "ven-secret", "ven")


class AppServer:
    """An ASGI application on a free port of this machine, in a thread. `certificate` and `key` make it HTTPS; `authority` asks clients for
    certificates of theirs."""

    def __init__(
        self, app: Any, port: int = 0, certificate: Path | None = None, key: Path | None = None, authority: Path | None = None
    ) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.scheme = "https" if certificate else "http"
        tls = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)} if certificate else {}
        if authority is not None:
            tls |= {"ssl_ca_certs": str(authority), "ssl_cert_reqs": 2}  # type: ignore[dict-item]
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", **tls)  # type: ignore[arg-type]
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> AppServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(5.0)
        self._socket.close()


def call(vtn: Vtn, start: datetime, length: timedelta, kw: float) -> str:
    """The business side's programme and one event of it: come down to so many kW at the connection. Gives the event's id."""
    program = vtn.put("programs", {"programName": PROGRAM})["id"]
    period = {"start": start.isoformat().replace("+00:00", "Z"), "duration": f"PT{round(length.total_seconds())}S"}
    intervals = [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [kw]}]}]
    descriptors = [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "DISPATCH_SETPOINT", "units": "KW"}]
    event = {"programID": program, "eventName": "demo", "intervalPeriod": period, "intervals": intervals, "payloadDescriptors": descriptors}
    return str(vtn.put("events", event)["id"])


def main() -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A simulated OpenADR 3.1 head-end on this machine.")
    parser.add_argument("--port", type=int, default=8095)
    parser.add_argument("--clock", type=Path, help="clock.json of a run, so that both keep the same time")
    parser.add_argument("--call-at", type=datetime.fromisoformat, help="An instant with its offset: calls once, from then on.")
    parser.add_argument("--call-min", type=float, default=15.0, help="Minutes of that call.")
    parser.add_argument("--call-kw", type=float, default=1000.0, help="Level that it asks for.")
    given = parser.parse_args()
    clock = Clock.load(given.clock) if given.clock else Clock.real()
    vtn = Vtn([BUSINESS, SITE], clock.now)
    if given.call_at is not None:
        call(vtn, given.call_at, timedelta(minutes=given.call_min), given.call_kw)
    print(f"http://127.0.0.1:{given.port}  business side {BUSINESS.id}:{BUSINESS.secret}  VEN {SITE.id}:{SITE.secret}")
    uvicorn.run(vtn.app, host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
