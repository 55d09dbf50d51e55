"""The control process: the field loop on the monotonic clock. The only process that opens a socket to equipment.

Started by the supervisor as `python -m ems.app.control STATE_DIR`. It imports nothing but the standard library, this package and the link
to the field bus, so that it is up again within a second.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from ems.alarms import conditions
from ems.app.beat import Beat, watch_supervisor
from ems.app.counts import Counts
from ems.app.drain import Drain, let_go_now
from ems.app.health import HEALTH_EVERY, HEALTH_VALID, health_body
from ems.app.inbox import ACK_VALID, MailboxInbox
from ems.app.log import log_line
from ems.app.opened import Opened, open_control
from ems.app.resume import MEMORY_FORMAT, versions
from ems.app.statedir import StateDir, hold_lock
from ems.control.controller import Controller
from ems.control.cycle import run_cycle
from ems.control.decision import Decision
from ems.control.ladder import NAMES, Level
from ems.control.minutes import MinuteMeans
from ems.control.outcomes import Outcomes, encode_counts
from ems.control.snapshot import encode_snapshot
from ems.errors import EmsError, InvariantBroken
from ems.messages import Mode
from ems.office.alarms.book import AlarmBook
from ems.state.image import SiteImage

NAME = "control"
LOCK_WAIT_S = 12.0  # wall: a predecessor that lets go needs up to 10 s
FIRST_POLL_S = 1.0  # wall: how long the first cycle waits for readings
POLL_LEAD_S, POLL_LEAD = 0.15, 0.25  # wall, share of a period: a cycle begins so long after the polls, and decides on what they brought
DRAIN_S = 7.0  # wall: caps and ramp; the supervisor kills after 10 s
MEMORY_EVERY = timedelta(minutes=1)
SNAPSHOT_VALID = timedelta(seconds=30)
OUTCOME_WITHIN = timedelta(seconds=5)  # wall: what a device may take to show a new command
MINUTE_VALID = timedelta(days=4)
REPORT_VALID = timedelta(days=30)


def main(argv: list[str]) -> int:
    """Runs until SIGTERM or until the supervisor is gone; 1 when it could not start."""
    setproctitle("ems control")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        asyncio.run(run(StateDir(Path(argv[0]))))
    except EmsError as error:
        log_line(NAME, "could not run", fields={"error": str(error)})
        return 1
    return 0


async def run(state: StateDir) -> None:
    """Opens everything, turns the loop until asked to stop, then lets go in order."""
    lock = hold_lock(state, NAME, LOCK_WAIT_S)
    loop = ControlLoop(open_control(state))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, loop.stop, signal.Signals(number).name)
    watch_supervisor(lambda: loop.stop("the supervisor is gone"))
    try:
        await loop.turn()
        await loop.let_go()
    finally:
        loop.close()
        os.close(lock)


class ControlLoop:
    """One control process: its controller, field, journal and mailbox, and the loop that joins them."""

    def __init__(self, opened: Opened) -> None:
        self.run_file, self.clock, self.fence = opened.run_file, opened.clock, opened.fence
        self.mailbox, self.journal, self.field = opened.mailbox, opened.journal, opened.equipment
        self.site, self.pid, memory = self.run_file.site, opened.pid, opened.memory
        modes = dict.fromkeys(self.site.assets, self.run_file.mode)
        self.controller = Controller(self.site, "plan", modes, memory.get("controller"))
        self.inbox = MailboxInbox(self.mailbox, memory.get("positions", {}))
        self.field.set_modes(self.modes)
        self.minutes = MinuteMeans(self.site)
        self.counts = Counts.resumed(self._last_counts())
        self.alarms = AlarmBook()
        self.outcomes = Outcomes(OUTCOME_WITHIN * max(1.0, self.clock.speed))
        if opened.last_cycle is not None:
            self.outcomes.resume(opened.last_cycle.at, opened.last_cycle.body["setpoints"])
        self.beat = Beat()
        self.period_s = self.site.control.cycle_s / self.clock.speed
        self._stop_cause = ""
        self._is_withdrawn = False
        self._level: Level | None = None
        self._acks: list[tuple[int, int, str]] = []  # journal sequence, order sequence, answer
        self._next_memory = self._next_health = self.clock.now()
        self._journal_start(modes, memory)

    @property
    def modes(self) -> dict[str, Mode]:
        """Modes in force, by asset; a device under self-test is written as if it were in control."""
        tested = self.controller.commissioning.tested
        return {**self.controller.orders.modes, **({tested: Mode.CONTROL} if tested else {})}

    def stop(self, cause: str) -> None:
        """Ends the loop after the running cycle."""
        self._stop_cause = self._stop_cause or cause

    async def turn(self) -> None:
        """One cycle per period until stopped. A cycle that cannot start in its own period is missed and counted."""
        await self._first_poll()
        await self.field.start()
        gc.freeze()
        lead_s = min(POLL_LEAD_S, POLL_LEAD * self.period_s) + self.field.spread_s
        await asyncio.sleep(lead_s)
        due_s = self.clock.wall_s()
        while not self._stop_cause:
            if self.fence.is_stalled:  # paused, or a cycle that took too long: nothing is written before everything was read again
                await self._first_poll()
            self._guarded_cycle(self.clock.now())
            due_s += self.period_s
            late = int((self.clock.wall_s() - due_s) // self.period_s)
            if late > 0:
                self.counts.missed_cycles += late
                due_s += late * self.period_s
            await asyncio.sleep(max(0.0, due_s - self.clock.wall_s()))

    def _guarded_cycle(self, now: datetime) -> None:
        """One cycle and its beat. A cycle that broke an invariant wrote nothing and does not beat: leases age, the watchdog runs."""
        try:
            self.cycle(now)
        except InvariantBroken as error:
            log_line(NAME, "invariant broken", now, {"error": str(error)})
            self.journal.append("fault", now, {"error": str(error)})
            self.journal.commit()
            return
        self.fence.feed()
        self.beat.give()

    def cycle(self, now: datetime) -> None:
        """The chain of one cycle: decide, write, record, tell."""
        held = self._held()
        image, decision = run_cycle(self.controller, self.field, self.journal, self.inbox, now)
        self._journal_orders(decision, now)
        self._journal_outcomes(image, decision, now)
        self._journal_trust(now)
        self._follow_modes(held, decision.state.locked_out)
        self._is_withdrawn = bool(decision.withdraw)
        self._log_rung(decision, now)
        self._log_alarms(decision, now)
        plan = self.controller.plan
        self.counts.count(image, decision, plan.made_at if plan else None)
        commissioning = self.controller.commissioning
        self._remember(now, is_forced=bool(decision.acknowledged or commissioning.reports or commissioning.trust.changes))
        self.journal.commit()
        self._tell(image, decision, now)

    async def let_go(self) -> None:
        """Safe values, then release; what cannot be confirmed in time lapses with its lease."""
        now = self.clock.now()
        log_line(NAME, "letting go", now, {"cause": self._stop_cause})
        drain = Drain(self.site, self.modes, self.counts.last_written, now)
        drain.step(self.field.image(now))  # who is locked out, also where nothing is left to do
        give_up_at_s = self.clock.wall_s() + DRAIN_S
        is_done = self._is_withdrawn
        while not is_done and self.clock.wall_s() < give_up_at_s:
            self.fence.feed()
            setpoints, is_done = drain.step(self.field.image(self.clock.now()))
            self.field.apply(setpoints, refresh_leases=True)
            await asyncio.sleep(min(self.period_s, 0.1))
        self.field.release(drain.held)
        await self.field.stop()
        now = self.clock.now()
        self._remember(now, is_forced=True)
        self.journal.append("stop", now, {"cause": self._stop_cause, "released": drain.held, "was_confirmed": is_done})
        log_line(NAME, "released", now, {"was_confirmed": is_done})

    def close(self) -> None:
        """Makes the journal whole and closes the files."""
        self.journal.close()
        self.mailbox.close()

    async def _first_poll(self) -> None:
        try:
            await asyncio.wait_for(self.field.poll_once(), FIRST_POLL_S)
        except TimeoutError:
            log_line(NAME, "some devices gave no first answer", self.clock.now(), dict(self.field.image(self.clock.now()).problems))

    def _log_rung(self, decision: Decision, now: datetime) -> None:
        """One line each time the ladder moves."""
        level = decision.rung.level
        if level is not self._level:
            self._level = level
            log_line(NAME, f"ladder {level.name} {NAMES[level]}", now, {"cause": decision.rung.cause})

    def _log_alarms(self, decision: Decision, now: datetime) -> None:
        """One line for each alarm that is raised or cleared: the log has them with the office dead, too."""
        for alarm in self.alarms.update(now, conditions(decision.alarms, (*self.site.links, *self.site.assets))):
            is_raised = alarm.cleared_at is None
            fields = {"name": alarm.name, "subject": alarm.subject, "severity": alarm.severity.name.lower(), "words": alarm.words}
            log_line(NAME, "alarm raised" if is_raised else "alarm cleared", now, fields)

    def _held(self) -> set[str]:
        return {asset for asset, mode in self.modes.items() if mode is Mode.CONTROL}

    def _follow_modes(self, held_before: set[str], locked_out: Collection[str]) -> None:
        """An asset taken out of control is let go at once."""
        self.field.set_modes(self.modes)
        left = let_go_now(held_before, self._held(), locked_out)
        if left:
            self.field.release(left)

    def _journal_start(self, modes: dict[str, Mode], memory: dict[str, Any]) -> None:
        body = {
            "site_hash": self.site.hash(),
            "run": self.run_file.encode(),
            "policy": "plan",
            "modes": {asset: mode.value for asset, mode in modes.items()},
            "memory": memory.get("controller"),
            "pid": self.pid,
            "versions": versions(),
        }
        self.journal.append("start", self.clock.now(), body)
        self.journal.commit()

    def _journal_orders(self, decision: Decision, now: datetime) -> None:
        for sequence, answer in zip(self.inbox.orders_taken, decision.acknowledged, strict=False):
            at = self.journal.append("order", now, {"sequence": sequence, "answer": answer})
            self._acks.append((at, sequence, answer))

    def _journal_outcomes(self, image: SiteImage, decision: Decision, now: datetime) -> None:
        """What became of the intents of the cycles before, and what takes the place of one still open."""
        rows = [*self.outcomes.settle(image), *self.outcomes.note(decision.written, now)]
        if rows:
            self.journal.append("outcome", now, {"rows": rows})

    def _journal_trust(self, now: datetime) -> None:
        """Who is trusted less or more than before, and what self-tests found."""
        for change in self.controller.commissioning.trust.changes:
            body = {"asset": change.asset, "before": change.before.value, "after": change.after.value, "cause": change.cause}
            self.journal.append("trust", now, body)
            log_line(NAME, f"{change.asset} is {change.after.value}", now, {"before": change.before.value, "cause": change.cause})
        for report in self.controller.commissioning.reports:
            self.journal.append("self_test", now, report)
            self.inbox.post("self_test", report, now, now + REPORT_VALID)

    def _remember(self, now: datetime, is_forced: bool) -> None:
        if is_forced or now >= self._next_memory:
            self._next_memory = now + MEMORY_EVERY
            self.journal.append("memory", now, self._memory())

    def _memory(self) -> dict[str, Any]:
        memory, positions = self.controller.memory(), dict(self.inbox.positions)
        return {"format": MEMORY_FORMAT, "site": self.site.name, "controller": memory, "positions": positions}

    def _tell(self, image: SiteImage, decision: Decision, now: datetime) -> None:
        counted = {**self.counts.encode(), **encode_counts(self.outcomes.counts)}
        counters = {**counted, "journal": self.journal.trouble or "healthy", "pid": self.pid}
        self.inbox.post("snapshot", encode_snapshot(self.controller, decision, image, counters), now, now + SNAPSHOT_VALID)
        frame = self.minutes.update(decision.state, image)
        if frame is not None:
            self.inbox.post("minute", frame.encode(), now, now + MINUTE_VALID)
        self._acknowledge(now)
        if now >= self._next_health:
            self._next_health = now + HEALTH_EVERY
            notes = [*self.mailbox.notes[-1:], self.journal.trouble]
            self.inbox.post("health", health_body(NAME, now, notes), now, now + HEALTH_VALID)

    def _acknowledge(self, now: datetime) -> None:
        """Answers the orders whose journal entries are safe on disk."""
        done = [ack for ack in self._acks if ack[0] <= self.journal.durable]
        self._acks = [ack for ack in self._acks if ack[0] > self.journal.durable]
        for _, sequence, answer in done:
            is_done = not answer.startswith("order refused")
            self.inbox.post("order_ack", {"sequence": sequence, "is_done": is_done, "text": answer}, now, now + ACK_VALID)

    def _last_counts(self) -> dict[str, Any] | None:
        messages = self.mailbox.since("snapshot", 0)
        counters = messages[-1].body.get("counters") if messages else None
        return counters if isinstance(counters, dict) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
