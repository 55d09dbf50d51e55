"""Virtual time: event loops that never wait. Each simulated process owns one, so that it can be paused and killed as a whole."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import base_events, events
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from ems.clock import Clock


class Time:
    """Seconds since the start of the world."""

    def __init__(self) -> None:
        self.s = 0.0


class SimClock(Clock):
    """The clock of a run in virtual time. `skew_s` is what a clock step of the host added to the site time of this process."""

    def __init__(self, epoch: datetime, time: Time) -> None:
        super().__init__(epoch, 0.0, 1.0)
        object.__setattr__(self, "_time", time)

    def now(self) -> datetime:
        return self.epoch + timedelta(seconds=self._time.s)  # type: ignore[attr-defined]

    def wall_s(self) -> float:
        return float(self._time.s)  # type: ignore[attr-defined]


class _NoSelector:
    def select(self, timeout: float | None) -> list[Any]:
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """An asyncio loop whose time is given from outside and which touches no file descriptor."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._virtual = time
        self._selector = _NoSelector()

    def time(self) -> float:
        return self._virtual.s

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def due_s(self) -> float:
        """When this loop wants to run next; infinite when never."""
        if self._ready:
            return self._virtual.s
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        return self._scheduled[0]._when if self._scheduled else float("inf")

    def turn(self) -> None:
        """Runs what is due now."""
        events._set_running_loop(self)
        try:
            self._run_once()
        finally:
            events._set_running_loop(None)


class Process:
    """One simulated process. Paused, its timers stand still and come due all at once when it goes on, as after SIGCONT."""

    def __init__(self, name: str, time: Time) -> None:
        self.name = name
        self.loop = VirtualLoop(time)
        self.loop.set_exception_handler(self._note)
        self.is_paused = False
        self.is_dead = False
        self.failures: list[str] = []

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Starts a coroutine in this process."""
        events._set_running_loop(self.loop)
        try:
            task = self.loop.create_task(work)
        finally:
            events._set_running_loop(None)
        task.add_done_callback(self._finished)
        return task

    def call(self, work: Callable[[], Any]) -> Any:
        """Runs a plain function as part of this process."""
        events._set_running_loop(self.loop)
        try:
            return work()
        finally:
            events._set_running_loop(None)

    def kill(self) -> None:
        """As kill -9: nothing of it runs any more, no clean-up either."""
        self.is_dead = True
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def due_s(self) -> float:
        """When it wants to run next."""
        return float("inf") if self.is_paused or self.is_dead else self.loop.due_s()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(repr(task.exception()))

    def _note(self, loop: Any, context: dict[str, Any]) -> None:
        self.failures.append(str(context.get("exception") or context.get("message")))
