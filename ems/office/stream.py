"""The stream of events to a browser or a program: each cycle, each new plan, and a beat that tells the age when nothing else comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

from ems.office.charts import plan_rows, point_row, trail_rows
from ems.office.health import Health
from ems.office.live import Live
from ems.office.render import Renderer

AT_MOST_EVERY_S = 0.25  # wall
BEAT_EVERY_S = 1.0  # wall
STREAMS_LIMIT = 40
RETRY_MS = 1000


class Feed:
    """All streams of one office."""

    def __init__(self, live: Live, renderer: Renderer, now: Callable[[], datetime], judged: Callable[[datetime], Health]) -> None:
        self._live, self._renderer, self._now, self._judged = live, renderer, now, judged
        self._changed = asyncio.Condition()
        self.is_closing = False
        self.open = 0

    async def tell(self) -> None:
        """Wakes every stream."""
        async with self._changed:
            self._changed.notify_all()

    async def close(self) -> None:
        """Ends every stream."""
        self.is_closing = True
        await self.tell()

    async def events(self, for_page: bool, last_id: str | None) -> AsyncIterator[str]:
        """Events as text. `last_id` is what a client had last; one we never gave is as good as none."""
        self.open += 1
        try:
            yield f"retry: {RETRY_MS}\n\n"
            seen = _Seen(sequence=_number(last_id))
            if for_page:
                yield event("trail", trail_rows(self._live))
            while not self.is_closing:
                for text in self._news(seen, for_page):
                    yield text
                await asyncio.sleep(AT_MOST_EVERY_S)
                await self._wait(seen)
        finally:
            self.open -= 1

    async def _wait(self, seen: _Seen) -> None:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: self.is_closing or seen.is_behind(self._live)), BEAT_EVERY_S)
            except TimeoutError:
                pass  # then a beat goes out

    def _news(self, seen: _Seen, for_page: bool) -> list[str]:
        live, now = self._live, self._now()
        health = self._judged(now)
        texts = []
        if live.snapshot is not None and live.sequence != seen.sequence:
            texts.append(event("snapshot", live.snapshot, live.sequence))
            texts += [event("point", point_row(live.trail[-1]))] if for_page and live.trail else []
        if live.plan_body is not seen.plan or live.forecast is not seen.forecast:
            texts += [event("plan", plan_rows(live) if for_page else live.plan_body)] if live.plan is not None else []
        if for_page:
            panels = seen.changed(self._renderer.panels(now, health))
            texts += [event("panels", panels)] if panels else []
        texts.append(event("beat", {"now": now.isoformat(), "is_fresh": live.is_fresh(now), **health.encode()}))
        seen.take(live)
        return texts


class _Seen:
    """How far one stream is."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.plan: dict[str, Any] = {}
        self.forecast: dict[str, Any] | None = None
        self._panels: dict[str, str] = {}

    def changed(self, panels: dict[str, str]) -> dict[str, str]:
        """The panels that differ from what this stream had."""
        changed = {name: html for name, html in panels.items() if self._panels.get(name) != html}
        self._panels = panels
        return changed

    def take(self, live: Live) -> None:
        self.sequence, self.plan, self.forecast = live.sequence, live.plan_body, live.forecast

    def is_behind(self, live: Live) -> bool:
        return live.sequence != self.sequence or live.plan_body is not self.plan or live.forecast is not self.forecast


def event(name: str, body: Any, number: int | None = None) -> str:
    """One event of the stream; the body is one line of JSON."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(body, separators=(',', ':'))}\n\n"


def _number(last_id: str | None) -> int:
    return int(last_id) if last_id and last_id.isascii() and last_id.isdigit() and len(last_id) < 19 else 0
