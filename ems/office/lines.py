"""One line to one head-end: a thread of its own that looks when it is time or somebody hints, and hands in reports.

The thread never touches the desk: what it brings waits in a queue for the job that moves events.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from ems.clock import Clock
from ems.program.channel import ChannelFile
from ems.program.heard import Look

HOSTILE = (KeyError, ValueError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError)
TICK_S = 0.25  # wall
MOST_WAITING = 1_000
SHORTEST_WALL_S = 1.0  # between two looks, however fast the site's clock runs
PATIENCE = (1.0, 2.0, 4.0, 8.0)  # times the poll period after so many failures


class Counterpart(Protocol):
    """What an adapter brings: it speaks a protocol and decides nothing. Its calls may wait for the network."""

    def look(self, now: datetime, expected: Collection[str]) -> Look:
        """Everything the head-end shows; `expected` are our ids that stand."""

    def send(self, reports: Collection[tuple[str, Mapping[str, Any]]], now: datetime) -> tuple[tuple[tuple[str, str], ...], str]:
        """Hands in reports by key: those that were taken (never to be sent again), and what went wrong last."""

    def read_call(self, body: bytes, now: datetime) -> Look | None:
        """What a call of the head-end brings by itself; None where a call is only a hint. Must not wait."""

    def close(self) -> None:
        """Drops the connections."""


@runtime_checkable
class Listener(Protocol):
    """A counterpart that hears by itself when there is news."""

    def listen(self, on_hint: Callable[[], None]) -> None:
        """What is to be called then, from any thread."""


class Line(threading.Thread):
    """The thread of one channel."""

    def __init__(self, channel: ChannelFile, counterpart: Counterpart, clock: Clock) -> None:
        super().__init__(name=f"channel {channel.id}", daemon=True)
        self.channel = channel
        self.brought: deque[Look] = deque(maxlen=MOST_WAITING)
        self.expected: tuple[str, ...] = ()
        self.trouble = ""
        self.last_contact: datetime | None = None
        self._counterpart, self._clock = counterpart, clock
        self._outbox: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()
        self._hint, self._end = threading.Event(), threading.Event()
        self._due: datetime | None = None
        self._failures = 0
        self._looked_wall_s = -SHORTEST_WALL_S
        if isinstance(counterpart, Listener):
            counterpart.listen(self.hint)

    def run(self) -> None:
        """Until stopped."""
        while not self._end.is_set():
            self.step()
            self._end.wait(TICK_S)
        self._counterpart.close()

    def step(self) -> None:
        """Looks when it is due, then hands in what waits."""
        now, wall_s = self._clock.now(), self._clock.wall_s()
        is_due = self._due is None or now >= self._due or self._hint.is_set()
        if is_due and wall_s - self._looked_wall_s >= SHORTEST_WALL_S:
            self._hint.clear()
            self._looked_wall_s = wall_s
            self._look(now)
        self._hand_in(now)

    def hint(self) -> None:
        """Somebody says that there is news: looks at once, at most once a second."""
        self._hint.set()

    def called(self, body: bytes) -> None:
        """The body of a webhook: what the adapter makes of it, where its protocol means it as more than a hint."""
        look = self._counterpart.read_call(body, self._clock.now())
        if look is not None:
            self.brought.append(look)

    def hand_in(self, reports: Mapping[str, Mapping[str, Any]]) -> None:
        """Reports to send, by key."""
        with self._lock:
            self._outbox.update(reports)

    def stop(self) -> None:
        """Ends the thread; it closes its connections itself."""
        self._end.set()

    def _look(self, now: datetime) -> None:
        try:
            look = self._counterpart.look(now, self.expected)
        except HOSTILE as error:  # what nobody thought of in an answer must not end the thread
            look = Look(now, trouble=f"{self.channel.id}: an answer that cannot be read ({type(error).__name__})")
        self._failures = self._failures + 1 if look.trouble else 0
        wait = self.channel.poll_s * PATIENCE[min(self._failures, len(PATIENCE) - 1)]
        self._due = now + timedelta(seconds=wait)
        self.trouble = look.trouble
        if not look.trouble:
            self.last_contact = now
        self.brought.append(look)

    def _hand_in(self, now: datetime) -> None:
        with self._lock:
            waiting = dict(self._outbox)
        if not waiting or self.trouble:
            return
        taken, trouble = self._counterpart.send(list(waiting.items()), now)
        with self._lock:
            for key, _ in taken:
                self._outbox.pop(key, None)
        self.brought.append(Look(now, remarks=(trouble,) if trouble else (), sent=taken, is_full=False))
