"""A simulated aggregator head-end: dispatches by GET and webhook, telemetry by POST. It judges stamps, order and doubles itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

STEP_S = 30


class AggregatorHeadEnd:
    """One aggregator with one customer. `token` is what the site must show; `call` sends a dispatch to the site's webhook."""

    def __init__(self, token: str, now: Callable[[], datetime], hook: tuple[str, str] | None = None) -> None:
        self.dispatches: dict[str, dict[str, Any]] = {}
        self.readings: dict[datetime, float] = {}
        self.faults: list[str] = []
        self.is_down = False
        self._token, self._now, self._hook = token, now, hook
        routes = [Route("/dispatches", self._list), Route("/telemetry", self._take, methods=["POST"])]
        self.app = Starlette(routes=routes)
        self._lock = threading.Lock()

    def dispatch(self, name: str, site: str, kw: float, start: datetime, end: datetime | None, **more: Any) -> dict[str, Any]:
        """Makes or changes a dispatch: the number grows by one each time."""
        with self._lock:
            number = self.dispatches[name]["modification_number"] + 1 if name in self.dispatches else 0
            made = {
                "id": name,
                "modification_number": number,
                "program": "standard",
                "sites": [{"site_id": site, "commitment_kw": kw}],
                "start_time": start.isoformat(),
                "end_time": None if end is None else end.isoformat(),
                "authorized": True,
                "created_at": self._now().isoformat(),
                **more,
            }
            self.dispatches[name] = made
            return made

    def call(self, body: Any, token: str | None = None) -> int:
        """A webhook to the site; its status."""
        assert self._hook is not None
        url, own = self._hook
        headers = {"Authorization": f"Bearer {token or own}", "Content-Type": "application/json"}
        return httpx.post(url, content=json.dumps(body), headers=headers).status_code

    async def _list(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        site = request.query_params.get("site_id")
        found = [d for d in self.dispatches.values() if any(s["site_id"] == site for s in d["sites"])]
        return JSONResponse({"dispatches": found})

    async def _take(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        body = await request.json()
        with self._lock:
            for row in body["readings"]:
                self._judge(row)
        return JSONResponse({"taken": len(body["readings"])}, 202)

    def _judge(self, row: dict[str, Any]) -> None:
        end = datetime.fromisoformat(row["timestamp"])
        if end.timestamp() % STEP_S or row["interval_s"] % STEP_S:
            self.faults.append(f"{end}: not on the grid of {STEP_S} s")
        if end > self._now():
            self.faults.append(f"{end}: stamped with an end that is not over")
        if end in self.readings:
            self.faults.append(f"{end}: twice")
        self.readings[end] = row["load_kw"]

    def _refusal(self, request: Request) -> Response | None:
        if self.is_down:
            return JSONResponse({"error": "down"}, 503)
        if request.headers.get("authorization") != f"Bearer {self._token}":
            return JSONResponse({"error": "unknown token"}, 401)
        return None
