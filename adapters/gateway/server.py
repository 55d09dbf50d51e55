"""Serves the register map in a thread of its own. What the gateway writes waits in a queue for the job that moves events."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from adapters.gateway.map import VERSION, gateway_page
from adapters.modbus.server import PageServer
from ems.errors import DataError
from ems.program.channel import GatewayFile

MOST_WAITING = 10_000
STARTS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Written:
    """One write of the gateway: import_limit_kw, import_target_kw, lease_s (a beat) or release."""

    at: datetime
    name: str
    value: float


class Gateway:
    """The server. `values` is what it shows, replaced as a whole; `written` what came, oldest first."""

    def __init__(self, file: GatewayFile, now: Callable[[], datetime]) -> None:
        self.file = file
        self.values: Mapping[str, float] = {"map_version": VERSION, "ladder": 9}
        self.written: deque[Written] = deque(maxlen=MOST_WAITING)
        self.port = file.port
        self._now = now
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)
        self._server: PageServer | None = None

    def start(self) -> None:
        """Listens; DataError when the port is taken."""
        self._thread.start()
        try:
            self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(STARTS_WITHIN_S)
        except (OSError, TimeoutError) as error:
            self.stop()
            raise DataError(f"gateway: {self.file.host}:{self.file.port} cannot be listened on ({error})") from None

    def stop(self) -> None:
        """Stops listening."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(STARTS_WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STARTS_WITHIN_S)
        self._loop.close()

    async def _start(self) -> int:
        server = PageServer(gateway_page(), lambda: self.values, self._take, self.file.host, self.file.port, self.file.unit_id)
        await server.start()
        self._server = server
        return server.port

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None
        await asyncio.sleep(0)  # connections that were dropped end themselves
        left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _take(self, name: str, value: float) -> None:
        self.written.append(Written(self._now(), name, value))
