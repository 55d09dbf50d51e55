"""The VEN of one channel: looks at everything the VTN shows, and asks about each event that it showed before and shows no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.head_end import HeadEndClient, problem_in, tls_context
from adapters.openadr3.meaning import Notice, meaning_of, object_id
from adapters.openadr3.mqtt import Hints, topics_in
from adapters.openadr3.times import instant_from
from ems.errors import DataError
from ems.program.channel import ChannelFile, secret_from
from ems.program.heard import Heard, Look

HOOK = "aidc-ems"  # name of our subscription


class Ven:
    """One VTN as this site sees it. Used by one thread."""

    def __init__(self, channel: ChannelFile, path: Path) -> None:
        self.channel, self._path = channel, path
        self._client = HeadEndClient(channel, path)
        self._versions: dict[str, tuple[str, int]] = {}  # by event: its text, and the version we gave where the VTN gives none
        self._bound: dict[str, str] = {}
        self._is_registered = False
        self._on_hint: Callable[[], None] = lambda: None
        self._hints: Hints | None = None

    def listen(self, on_hint: Callable[[], None]) -> None:
        """What is to be called when a notification arrives, from any thread."""
        self._on_hint = on_hint

    def look(self, now: datetime, expected: Collection[str]) -> Look:
        """Everything the VTN shows us. `expected`: our ids of events that stand; one that is no longer listed counts as gone only when the
        VTN, asked for it by id, does not know it."""
        try:
            remarks = () if self._is_registered else tuple(self._register(now))
            programs = {object_id(p): p for p in self._client.listed("programs", now)}
            events = self._client.listed("events", now)
            heard = tuple(self._heard(events, programs, now))
            remarks += tuple(self._broken_words(events, programs))
            shown = {h.id for h in heard}
            gone = tuple(e for e in expected if e not in shown and self._is_gone(e, now))
        except DataError as error:
            return Look(now, trouble=str(error))
        return Look(now, heard, gone, remarks)

    def send(self, reports: Collection[tuple[str, Mapping[str, Any]]], now: datetime) -> tuple[tuple[tuple[str, str], ...], str]:
        """Hands in reports by key: those that were taken, as they were written, and what went wrong last."""
        taken: list[tuple[str, str]] = []
        trouble = ""
        for key, report in reports:
            try:
                answer = self._client.ask("POST", "reports", now, body=report)
            except DataError as error:
                return tuple(taken), str(error)
            if answer.status in (200, 201):
                taken.append((key, json.dumps(report, sort_keys=True)))
            elif 400 <= answer.status < 500 and answer.status not in (401, 429):
                taken.append((key, ""))  # it will never be taken: not sent again
                trouble = f"{self.channel.id}: report {key} refused: {problem_in(answer)}"
            else:
                trouble = f"{self.channel.id}: report {key}: {problem_in(answer)}"
        return tuple(taken), trouble

    def read_call(self, body: bytes, now: datetime) -> None:
        """A webhook is a hint: what it says is asked for."""

    def close(self) -> None:
        """Drops the connections."""
        if self._hints is not None:
            self._hints.close()
        self._client.close()

    def _heard(self, events: list[dict[str, Any]], programs: Mapping[str, Any], now: datetime) -> Iterator[Heard]:
        for raw in events:
            text = json.dumps(raw, sort_keys=True)
            try:
                name = object_id(raw)
                program = programs.get(str(raw.get("programID")), {})
                notice = Notice(raw, program, self.channel, now, self._version(name, raw, text, now))
            except DataError as error:
                yield Heard(f"{self.channel.id}:?", text, problem=str(error))
                continue
            yield meaning_of(notice, text)

    def _broken_words(self, events: list[dict[str, Any]], programs: Mapping[str, Any]) -> Iterator[str]:
        """Events that changed though their programme says that they do not (BINDING_EVENTS): they are followed, and it is told."""
        for raw in events:
            text, name = json.dumps(raw, sort_keys=True), str(raw.get("id"))
            attributes = programs.get(str(raw.get("programID")), {}).get("attributes") or []
            is_binding = {"type": "BINDING_EVENTS", "values": [True]} in (attributes if isinstance(attributes, list) else [])
            if is_binding and self._bound.get(name, text) != text:
                yield f"{self.channel.id}:{name} changed, though its programme says that events do not"
            self._bound[name] = text

    def _version(self, name: str, raw: Mapping[str, Any], text: str, now: datetime) -> int:
        """A number that grows with each version: the VTN's stamp in milliseconds, else when we saw the change."""
        if raw.get("modificationDateTime"):
            return int(instant_from(raw["modificationDateTime"], "modificationDateTime").timestamp() * 1000)
        before = self._versions.get(name)
        if before is None or before[0] != text:
            self._versions[name] = (text, int(now.timestamp() * 1000))
        return self._versions[name][1]

    def _is_gone(self, event: str, now: datetime) -> bool:
        """An empty list may also mean that a target was taken from us; only the object itself says that it is no more."""
        answer = self._client.ask("GET", f"events/{event.split(':', 1)[1]}", now)
        return answer.status in (404, 410)

    def _register(self, now: datetime) -> Iterator[str]:
        """Makes ourselves known, and subscribes where a webhook is named. A VTN that keeps its VENs itself refuses: that is a remark."""
        body: dict[str, Any] = {"venName": self.channel.ven_name}
        if self.channel.profile == "openadr-3.1":
            body["objectType"] = "VEN_VEN_REQUEST"
        known = [v for v in self._quietly("vens", now) if v.get("venName") == self.channel.ven_name]
        ven = known[0] if known else None
        if not known:
            answer = self._client.ask("POST", "vens", now, body=body)
            ven = answer.data
            if answer.status not in (200, 201, 409):
                yield f"{self.channel.id}: not registered: {problem_in(answer)}"
        if self.channel.webhook is not None:
            yield from self._subscribe(now)
        if self.channel.mqtt and self._hints is None:
            yield from self._follow(str(ven.get("id")) if isinstance(ven, Mapping) else "", now)
        self._is_registered = True

    def _follow(self, ven: str, now: datetime) -> Iterator[str]:
        """Follows the broker, where there is one; otherwise that is a remark, and polling goes on."""
        notifiers = self._client.ask("GET", "notifiers", now).data
        notifier = notifiers.get("MQTT") if isinstance(notifiers, Mapping) else None
        asked = ([f"notifiers/mqtt/topics/vens/{ven}/events"] if ven else []) + ["notifiers/mqtt/topics/events"]
        topics = next((found for what in asked if (found := topics_in(self._client.ask("GET", what, now).data))), [])
        try:
            if not notifier or not topics:
                raise DataError("the head-end names no broker or no topics")
            tls = tls_context(self.channel, self._path)
            self._hints = Hints(self.channel, tls, notifier, topics, lambda: self._client.bearer, self._on_hint)
        except (DataError, OSError, ValueError) as error:
            yield f"{self.channel.id}: no MQTT: {error}; polling goes on"

    def _subscribe(self, now: datetime) -> Iterator[str]:
        webhook = self.channel.webhook
        assert webhook is not None
        if any(s.get("clientName") == HOOK for s in self._quietly("subscriptions", now)):
            return
        operation = {
            "objects": ["EVENT"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "callbackUrl": webhook.callback_url,
            "bearerToken": secret_from(self._path, webhook.token_file),
        }
        body: dict[str, Any] = {"clientName": HOOK, "objectOperations": [operation]}
        if self.channel.profile == "openadr-3.0.1":  # there a subscription is to one programme
            for program in self._client.listed("programs", now):
                answer = self._client.ask("POST", "subscriptions", now, body={**body, "programID": object_id(program)})
        else:
            answer = self._client.ask("POST", "subscriptions", now, body=body)
        if answer.status not in (200, 201, 409):
            yield f"{self.channel.id}: no webhook: {problem_in(answer)}; polling goes on"

    def _quietly(self, what: str, now: datetime) -> list[dict[str, Any]]:
        try:
            return self._client.listed(what, now)
        except DataError:
            return []
