"""Delivers alarms to commands and web addresses, each in a thread of its own: one that hangs delays neither the others nor the office."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import structlog

from ems.alarms import Severity
from ems.office.alarms.book import Alarm
from ems.site.alarm_hook import AlarmHook

WAITING = 200  # alarms a hook may be behind; beyond, the oldest are given up and counted
FIRST_PAUSE_S = 1.0

log = structlog.get_logger("ems.office.alarms")


class HookFailed(Exception):
    """One attempt did not succeed."""


class Hook:
    """One hook and its thread. `first_pause_s` doubles from attempt to attempt."""

    def __init__(self, hook: AlarmHook, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self.hook, self._first_pause_s = hook, first_pause_s
        self.delivered = self.failed = self.dropped = 0
        self.trouble = ""
        self._client = httpx.Client(timeout=hook.timeout_s, follow_redirects=False)
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alarm hook {hook.name}", daemon=True)
        self._thread.start()

    def put(self, alarm: Alarm, site: str) -> None:
        """Takes an alarm over; never waits."""
        if alarm.severity < Severity[self.hook.severity.upper()]:
            return
        while True:
            try:
                self._queue.put_nowait({"site": site, **alarm.encode()})
                return
            except queue.Full:
                self._give_up_oldest()

    def close(self, timeout_s: float = 1.0) -> None:
        """Ends the thread; what hangs is left behind."""
        self._is_ending.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._give_up_oldest()
        self._thread.join(timeout_s)

    def _give_up_oldest(self) -> None:
        try:
            self._queue.get_nowait()
            self.dropped += 1
        except queue.Empty:
            pass

    def _run(self) -> None:
        while not self._is_ending.is_set():
            body = self._queue.get()
            if body is not None:
                self._deliver(body)

    def _deliver(self, body: dict[str, Any]) -> None:
        for attempt in range(self.hook.retries + 1):
            try:
                self._try(body)
            except HookFailed as error:
                self.trouble = f"alarm hook {self.hook.name}: {error}"
                if self._is_ending.wait(self._first_pause_s * 2.0**attempt if attempt < self.hook.retries else 0.0):
                    return
            else:
                self.delivered, self.trouble = self.delivered + 1, ""
                return
        self.failed += 1
        log.warning("alarm not delivered", hook=self.hook.name, alarm=body["name"], subject=body["subject"], error=self.trouble)

    def _try(self, body: dict[str, Any]) -> None:
        if self.hook.url is not None:
            post(self._client, self.hook.url, body)
        else:
            call(self.hook.command, body, self.hook.timeout_s)


def post(client: httpx.Client, url: str, body: dict[str, Any]) -> None:
    """One POST; HookFailed unless the answer is a success."""
    try:
        answer = client.post(url, json=body)
    except httpx.HTTPError as error:
        raise HookFailed(f"{type(error).__name__} {error}".strip()) from None
    if not answer.is_success:
        raise HookFailed(f"answered {answer.status_code}")


def call(command: Sequence[str], body: dict[str, Any], timeout_s: float) -> None:
    """One run of a command with the alarm on its standard input; HookFailed unless it ends well in time."""
    try:
        done = subprocess.run(command, input=json.dumps(body), text=True, capture_output=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise HookFailed(str(error)) from None
    if done.returncode:
        raise HookFailed(f"exit {done.returncode}: {done.stderr.strip()[:200]}")
