"""Whatever arrives in whatever order, whatever dies when: the invariants of the event machine hold."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ems.obligation import ObligationKind
from ems.program.states import AFTER, FINAL, State, may_move
from ems.program.store import broken_at
from tests.program.desks import MINUTE, NOW, SITE, World, desk_on, event, message, modified

NAMES = ("a", "b", "c")
PROGRAMS = {"a": "ercot-ers-30", "b": "nonfirm-connection", "c": "pge-bip"}
KINDS = {"a": ObligationKind.REDUCE_BY, "b": ObligationKind.IMPORT_LIMIT, "c": ObligationKind.REDUCE_TO}
LOAD_KW = 1000.0
RECOVERY_MIN = 75  # ramp of at most 50 min at 20 kW a minute, hold of 60 min: within this the import limit is back at the reference


class EventMachine(RuleBasedStateMachine):
    """Messages, time and crashes at random; what is true of every record and every limit is checked after each step."""

    @initialize(ability=st.sampled_from([0.0, 150.0, 1000.0]))
    def begin(self, ability: float) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "p.db"
        self.world = World(measured_kw=LOAD_KW, can_kw=ability)
        self.desk = desk_on(self.path, self.world)
        self.now = NOW
        self.highest: dict[str, int] = {}
        self.sent: list = []

    @rule(
        name=st.sampled_from(NAMES),
        newer=st.sampled_from([1, 1, 1, 0, -1]),
        start=st.integers(-30, 120),
        length=st.integers(35, 240),
        kw=st.floats(0.0, 900.0),
    )
    def tell(self, name: str, newer: int, start: int, length: int, kw: float) -> None:
        known = self.desk.events.get(name)
        begin = (self.now - NOW) / MINUTE + start
        told = event(name, PROGRAMS[name], begin, length, kw, kind=KINDS[name], spread_s=(0.0, 120.0))
        self._receive(modified(told, newer + (known.event.modification if known else 1)))

    @rule(name=st.sampled_from(NAMES), length=st.integers(-5, 0), kw=st.floats(-1.0, 1e9))
    def tell_nonsense(self, name: str, length: int, kw: float) -> None:
        known = self.desk.events.get(name)
        before = known and known.event
        self._receive(modified(event(name, PROGRAMS[name], 0, length, kw, kind=KINDS[name]), 1 + (before.modification if before else 0)))
        assert before is None or self.desk.events[name].event == before

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 5))
    def cancel(self, name: str, number: int) -> None:
        known = self.desk.events.get(name)
        told = event(name, PROGRAMS[name], kind=KINDS[name]) if known is None else known.event
        self._receive(modified(told, number, is_cancelled=True))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A message repeated at once changes nothing."""
        told = self.sent[-1]
        before = self.desk.store.since()
        self.desk.receive(message(told), self.now)
        changed = [r for r in self.desk.store.since(len(before)) if r.kind != "message"]
        assert not changed, changed

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes: int) -> None:
        for _ in range(0, minutes, 5):
            self.now += 5 * MINUTE
            self.desk.tick(self.now)

    @rule()
    def clock_jumps_back(self) -> None:
        self.desk.tick(self.now - timedelta(hours=3))

    @rule()
    def crash(self) -> None:
        before = dict(self.desk.events)
        self.desk.store.close()
        self.desk = desk_on(self.path, self.world)
        assert self.desk.events == before

    @rule(ability=st.sampled_from([0.0, 150.0, 1000.0]), ignores=st.booleans())
    def the_site_changes(self, ability: float, ignores: bool) -> None:
        self.world.can_kw, self.world.ignores = ability, ignores

    @rule(name=st.sampled_from(NAMES), opt=st.sampled_from(["in", "out", "abort"]))
    def a_person_decides(self, name: str, opt: str) -> None:
        from ems.errors import DataError

        try:
            self.desk.override(name, opt, "Ada Byron", "because", self.now)
        except DataError:
            return
        status = self.desk.events[name]
        assert opt == "abort" or (status.decided_by, status.opt) == ("Ada Byron", opt)
        assert self.desk.store.since(0, name)[-1].at <= self.now
        if opt == "out":  # the machine does not take it back
            self.desk.tick(self.now)
            assert self.desk.events[name].opt == "out"

    def _receive(self, told) -> None:
        old = self.desk.events.get(told.id)
        answer = self.desk.receive(message(told), self.now)
        self.sent.append(told)
        if old is not None and told.modification < old.event.modification:
            assert answer.verdict == "refused"
        if answer.verdict == "taken":
            assert self.desk.events[told.id].event.modification == told.modification
            assert self.desk.events[told.id].state not in (State.RECEIVED, State.VALIDATED, State.EVALUATED, State.MODIFIED)

    @invariant()
    def records_are_whole_and_in_order(self) -> None:
        if not hasattr(self, "desk"):
            return
        records = self.desk.store.since()
        assert broken_at(records) is None
        assert [r.at for r in records] == sorted(r.at for r in records)
        seen: dict[str, State] = {}
        for r in (r for r in records if r.kind == "state"):
            assert may_move(seen.get(r.event), State(r.body["to"]))
            seen[r.event] = State(r.body["to"])

    @invariant()
    def limits_are_sound(self) -> None:
        if not hasattr(self, "desk"):
            return
        for status in self.desk.events.values():
            for o in status.posted:
                assert o.end > o.start and 0.0 <= o.kw <= max(SITE.import_limit_kw, LOAD_KW)
                assert status.state not in FINAL and status.state not in AFTER
            if status.reference_kw is not None:  # nothing asked after the event is above what was before it
                assert all(o.kw <= max(status.reference_kw, status.start_kw or 0.0) + 1e-3 for o in status.posted if "/r" in o.id)

    @invariant()
    def what_ended_is_over_within_ramp_and_hold(self) -> None:
        """Cancelled or over, in whatever state: the way up is no steeper than the site's ramp, and then nothing is asked any more."""
        if not hasattr(self, "desk"):
            return
        for status in (s for s in self.desk.events.values() if s.ended_at is not None):
            assert all(o.end <= status.ended_at + RECOVERY_MIN * MINUTE for o in status.posted if o.start >= status.ended_at)
            rise = sorted((o for o in status.posted if "/rise" in o.id), key=lambda o: o.start)
            for a, b in pairwise(rise):
                assert b.kw - a.kw <= SITE.ramp_kw_per_min * ((b.start - a.start) / MINUTE) + 1e-3

    @invariant()
    def mandatory_is_never_declined_by_the_machine(self) -> None:
        if not hasattr(self, "desk"):
            return
        declined = [r for r in self.desk.store.since(0, "b") if r.kind == "state" and r.body["to"] == "declined"]
        assert all(r.body["by"] == "Ada Byron" for r in declined)

    @invariant()
    def a_decision_and_its_reason_exist_for_every_event(self) -> None:
        if not hasattr(self, "desk"):
            return
        for r in (r for r in self.desk.store.since() if r.kind == "state" and r.body["to"] in ("accepted", "partial", "declined")):
            assert r.body["why"] and r.body["by"]

    def teardown(self) -> None:
        """Every event that was cancelled while it moved is back within ramp and hold; in the end nothing is asked any more."""
        if not hasattr(self, "desk"):
            return
        self.world.ignores = False
        for _ in range(60):
            self.now += 15 * MINUTE
            self.desk.tick(self.now)
        assert not [o for o in self.desk.obligations() if o.is_in_force(self.now)]
        assert all(not s.is_moving for s in self.desk.events.values())
        self.desk.store.close()
        self.folder.cleanup()


TestEventMachine = EventMachine.TestCase
TestEventMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
