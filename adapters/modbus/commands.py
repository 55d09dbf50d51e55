"""What a device should do, what it was told, and what it shows: decides what to write, without any I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from adapters.modbus.page import Command, Page
from adapters.modbus.registers import Words, encode, exponent_of, step_kw
from ems.errors import DeviceRefused
from ems.reading import Reading

DAY = timedelta(days=1)
SAME_KW = 0.5
REPEAT_AFTER = timedelta(seconds=20)  # between further attempts after the first repeats: at most 3 a minute, no write war
NEAR = 0.01
STAYED = timedelta(seconds=3)  # a value that stays less was seen between two writes of another master
OVERWRITTEN = timedelta(seconds=8)  # before the second repeat, and each one when the value was seen in between: a limit may hang on it


@dataclass(frozen=True, slots=True)
class Write:
    """One command with the registers that say it."""

    command: Command
    value_kw: float
    registers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A command as last written. `at` is when it was acknowledged, or else sent; `repeats` counts attempts after a mismatch."""

    write: Write
    at: datetime
    is_acknowledged: bool
    was_seen: bool = False  # the device showed it since
    repeats: int = 0
    refusal: str = ""
    before_kw: float | None = None  # what the device showed before it was told this
    astray_at: datetime | None = None  # when it last showed something else


class CommandBook:
    """The commands of one device. `wanted` is what they should be, in kW."""

    def __init__(self, page: Page) -> None:
        self.wanted: Mapping[str, float] = {}
        self._is_astray = False
        self.is_whole = True  # every wish can be said to the device as it shows itself now
        self._page = page
        self._settle = timedelta(seconds=page.settle_s)
        self._sent: dict[str, Sent] = {}
        self._unsendable: dict[str, str] = {}
        self._mismatch: dict[str, str] = {}
        self._shown_kw: dict[str, float | None] = {}
        self._written: dict[str, deque[datetime]] = {}  # writes of the last day to memory that wears
        self._taken: dict[str, deque[tuple[datetime, float]]] = {}  # values acknowledged of late, and when

    @property
    def is_holding(self) -> bool:
        """True when the device was told something and not let go of."""
        return bool(self._sent)

    @property
    def problems(self) -> list[str]:
        """What is wrong with commands now, mismatches first."""
        refusals = [sent.refusal for sent in self._sent.values() if sent.refusal]
        return [*self._mismatch.values(), *refusals, *self._unsendable.values()]

    def want(self, commands: Mapping[str, float], is_astray: bool = False) -> None:
        """Takes the whole wish: commands that are not named are left alone. A device that is astray is told again from time to time: what
        its register shows is then no evidence that it acts on it."""
        self._is_astray = is_astray
        known = {command.name for command in self._page.commands}
        self.wanted = {name: value for name, value in commands.items() if name in known}
        self._unsendable = {name: f"{name}: the device has no such command" for name in sorted(set(commands) - known)}

    def forget(self) -> None:
        """The device was let go: nothing is held against it any more."""
        self._sent, self._mismatch, self._unsendable, self._taken = {}, {}, {}, {}

    def writes(self, now: datetime, words: Words, is_arming: bool) -> list[Write]:
        """What to write now, in the page's order; arming repeats volatile commands, so that lease and value belong together."""
        found = []
        self.is_whole = True
        for command in self._page.commands:
            write = self._encoded(command, words) if command.name in self.wanted else None
            self.is_whole &= write is not None or command.name not in self.wanted
            if write is not None and (self._is_due(write, now) or (is_arming and command.memory == "volatile")):
                if self._is_worn(command, now):
                    self.is_whole = False
                    continue
                found.append(write)
        return found

    def note_sent(self, write: Write, at: datetime, is_acknowledged: bool) -> None:
        """The command is on its way, or has arrived."""
        name = write.command.name
        if is_acknowledged:
            taken = self._taken.setdefault(name, deque())
            taken.append((at, write.value_kw))
            _forget_before(taken, at - self._settle)
        before = self._sent.get(name)
        if before is None or before.write.registers != write.registers:
            self._mismatch.pop(name, None)
            self._sent[name] = Sent(write, at, is_acknowledged, before_kw=self._shown_kw.get(name))
            return
        repeats = before.repeats + (1 if name in self._mismatch and not is_acknowledged else 0)
        self._sent[name] = replace(before, write=write, at=at, is_acknowledged=is_acknowledged, repeats=repeats, refusal="")

    def held(self) -> dict[str, float]:
        """What the device last acknowledged and follows, in kW by command."""
        return {name: taken[-1][1] for name, taken in self._taken.items() if taken}

    def note_refusal(self, write: Write, why: str) -> None:
        """The device said no; it is asked again after a while, or when the wish changes."""
        name = write.command.name
        self._sent[name] = replace(self._sent[name], refusal=f"{name}: {why}")

    def compare(self, command: Command, shown: Reading, words: Words, is_followed: bool, is_writing: bool) -> None:
        """Notes when the device shows something else than it was told, once it has had time to follow."""
        sent = self._sent.get(command.name)
        self._shown_kw[command.name] = shown.value
        if not is_followed:
            self._taken.pop(command.name, None)
        if sent is None or shown.at <= sent.at or (is_writing and not sent.is_acknowledged):
            return
        told_kw = sent.write.value_kw
        if shown.value is not None and abs(shown.value - told_kw) <= self._tolerance_kw(command, told_kw, words):
            self._mismatch.pop(command.name, None)
            has_stayed = sent.astray_at is None or shown.at - sent.astray_at >= STAYED
            self._sent[command.name] = replace(sent, was_seen=True, repeats=0 if has_stayed else min(1, sent.repeats))
        elif is_followed and not sent.refusal and (shown.at - sent.at >= self._settle or self._is_left_behind(command, shown, words)):
            self._sent[command.name] = replace(sent, astray_at=shown.at)
            heard = "told" if sent.is_acknowledged or sent.was_seen else "sent"  # one that never arrived is no disobedience
            self._mismatch[command.name] = f"{command.name}: {heard} {told_kw:g}, reads back {_shown(shown)} ({_judged(sent, shown.value)})"

    def _is_left_behind(self, command: Command, shown: Reading, words: Words) -> bool:
        """True when it shows nothing of what it acknowledged within the time it has to follow, nor the last value before that: a wish that
        changes every second must not hide that none of them is done. A hundredth is no evidence (a torn float is so far off)."""
        taken = self._taken.get(command.name, deque())
        _forget_before(taken, shown.at - self._settle)
        if not taken or taken[0][0] > shown.at - self._settle:
            return False
        near = [self._tolerance_kw(command, kw, words) + NEAR * abs(kw) for _, kw in taken]
        return not any(shown.value is not None and abs(shown.value - kw) <= by_kw for (_, kw), by_kw in zip(taken, near, strict=True))

    def _is_due(self, write: Write, now: datetime) -> bool:
        sent = self._sent.get(write.command.name)
        if sent is None:
            return True
        since = now - sent.at
        if since < timedelta(seconds=write.command.min_write_interval_s):
            return False
        if write.registers != sent.write.registers:
            return True
        if sent.refusal:
            return since >= REPEAT_AFTER
        if not sent.is_acknowledged:
            return True
        if self._is_astray and since >= REPEAT_AFTER:
            return True
        pause = (self._settle, OVERWRITTEN, REPEAT_AFTER)[min(2, sent.repeats)]
        return write.command.name in self._mismatch and since >= pause

    def _is_worn(self, command: Command, now: datetime) -> bool:
        """True when the day's writes to memory that wears are used up; else this one is counted."""
        budget = command.daily_writes
        if budget is None:
            return False
        written = self._written.setdefault(command.name, deque())
        while written and now - written[0] > DAY:
            written.popleft()
        if len(written) >= budget:
            self._unsendable[command.name] = f"{command.name}: the wear budget of {budget} writes a day is used up"
            return True
        written.append(now)
        return False

    def _encoded(self, command: Command, words: Words) -> Write | None:
        """The write of a wish; None and a problem when it is outside what may be written."""
        value_kw = self.wanted[command.name]
        try:
            registers = self._registers(command, value_kw, words)
        except DeviceRefused as error:
            self._unsendable[command.name] = f"{command.name}: {error}"
            return None
        return Write(command, value_kw, registers)

    def _registers(self, command: Command, value_kw: float, words: Words) -> tuple[int, ...]:
        if not command.min_kw <= value_kw <= command.max_kw:
            raise DeviceRefused(f"{value_kw:g} kW is outside {command.min_kw:g} to {command.max_kw:g} kW")
        exponent = exponent_of(self._page, command.point, words)
        if exponent is None:
            raise DeviceRefused(f"scale factor {command.point.scale_factor} is not known")
        return encode(command.point, value_kw, exponent)

    def _tolerance_kw(self, command: Command, value_kw: float, words: Words) -> float:
        exponent = exponent_of(self._page, command.point, words) or 0
        return command.tolerance_kw + 0.51 * step_kw(command.point, exponent) + 1e-6 * abs(value_kw)


def _forget_before(taken: deque[tuple[datetime, float]], at: datetime) -> None:
    """Keeps of the values before an instant the last one only."""
    while len(taken) > 1 and taken[1][0] <= at:
        taken.popleft()


def _shown(reading: Reading) -> str:
    return "no value" if reading.value is None else f"{reading.value:g}"


def _judged(sent: Sent, shown_kw: float | None) -> str:
    """What must have happened: a value from before, or none, is the device's own doing; any other is somebody else's."""
    if not sent.was_seen:
        if sent.is_acknowledged and shown_kw is not None and _is_elsewhere(sent, shown_kw):
            return "another master writes"
        return "acknowledged but not applied" if sent.is_acknowledged else "not acknowledged, not applied"
    if shown_kw is None or shown_kw == 0.0 or (sent.before_kw is not None and abs(shown_kw - sent.before_kw) < SAME_KW):
        return "reverted by the device"
    return "another master writes"


def _is_elsewhere(sent: Sent, shown_kw: float) -> bool:
    """True for a value that is neither what was told, nor what stood there before, nor on the way: no device comes to it by itself."""
    if sent.before_kw is None:
        return False
    low, high = sorted((sent.before_kw, sent.write.value_kw))
    return not low - SAME_KW <= shown_kw <= high + SAME_KW and shown_kw != 0.0
