"""The one catalogue of alarms: what each means to the owner, how bad it is, and what to do. Standard library only.

Processes say what is wrong in plain lines, `SUBJECT: what`; `known` finds the alarm a line belongs to. Order matters: the first match wins,
the last matches everything. `ems/office/alarms/README.md` is written from this table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache


class Severity(IntEnum):
    """How bad, worst last."""

    INFO = 0  # nothing to do now
    MINOR = 1  # look at it in working hours
    MAJOR = 2  # look at it today
    CRITICAL = 3  # look at it now


@dataclass(frozen=True)
class AlarmKind:
    """One alarm: a stable name, how its lines read (a regular expression), what it means, what to do."""

    name: str
    severity: Severity
    pattern: str
    text: str
    runbook: str


@dataclass(frozen=True)
class Condition:
    """One line that a process says now: the alarm it belongs to, what it is about, its words."""

    kind: AlarmKind
    subject: str  # an asset, a process, or "site"
    words: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes it one alarm however its words change."""
        return self.kind.name, self.subject


C, M, N, I = Severity.CRITICAL, Severity.MAJOR, Severity.MINOR, Severity.INFO  # noqa: E741
_ROWS: tuple[tuple[str, Severity, str, str, str], ...] = (
    # name, severity, pattern, what it means to the owner, what to do
    (
        "control-silent",
        C,
        r"control (has not finished|finished no cycle)|stamped ahead of the clock",
        "Nobody steers the site: the controller finishes no cycle; devices lapse to their safe values with their leases.",
        "Look at `ems status` and the supervisor's log; start `ems run` again; the site holds its limit without storage meanwhile.",
    ),
    (
        "withdrawn",
        C,
        r"control is at L5",
        "The controller has let go of every device.",
        "A named person ends it with `ems release all` once the cause is known.",
    ),
    (
        "safe-values",
        C,
        r"control is at L4",
        "Devices are being taken to safe values.",
        "The cause stands behind it; nothing more to do until it is gone.",
    ),
    (
        "infeasible",
        C,
        r"^infeasible",
        "The import is over the limit, or will be, and nothing that may be asked of the devices is enough.",
        "Shed load by hand or ask the grid operator; check limits and events in force.",
    ),
    (
        "journal",
        M,
        r"journal (not written|commit took|cannot|was removed)|the journal is late|removed or overwritten|a journal entry must",
        "Decisions cannot be recorded in time; only limits are held until they can.",
        "Free space on the disk of the state directory; check its speed; `ems verify-journal` afterwards.",
    ),
    (
        "limits-only",
        M,
        r"control is at L3",
        "Only limits are held: no plan, no rules, no saving.",
        "The cause stands behind it; the site is safe and dearer.",
    ),
    (
        "wrong-device",
        C,
        r"not a .+ expected",
        "Another device answers at this address; it is neither believed nor written.",
        "Check address, wiring and firmware; run the self-test before it is used again.",
    ),
    (
        "quarantined",
        M,
        r"quarantined",
        "The device disobeyed again and again and no longer counts.",
        "Find out why; then `ems devices self-test` or `ems release ASSET`.",
    ),
    (
        "self-test-failed",
        M,
        r"failed its self-test",
        "The device did not prove what it must.",
        "Read the report in the state directory's self-tests; repair; test again.",
    ),
    (
        "wrong-sign",
        C,
        r"the wrong sign|the wrong way",
        "The device does the opposite of what it is told.",
        "Check current transformers and the page's sign; run the self-test.",
    ),
    (
        "cap-ignored",
        M,
        r" cap: told at most",
        "A cluster draws more than its cap.",
        "Ask the workload manager why the cap does not act; the excess is taken off the others.",
    ),
    (
        "does-not-follow",
        M,
        r"does not follow",
        "The device took its setpoint and its power did not come.",
        "Look at the device's own display: local mode, a trip, a limit of its own?",
    ),
    (
        "another-master",
        M,
        r"another master writes",
        "Somebody else commands the device.",
        "Find the other master (vendor cloud, a second controller) and take its access away; then `ems release ASSET`.",
    ),
    (
        "reverted",
        M,
        r"reverted by the device",
        "The device took a value and went back by itself.",
        "Check its time-outs and its own schedules.",
    ),
    (
        "not-applied",
        M,
        r"acknowledged but not applied",
        "The device says yes and does not do it.",
        "Check whether remote control is enabled on the device.",
    ),
    (
        "outcome-unknown",
        M,
        r"not acknowledged, not applied|write failed",
        "A write was not confirmed; nothing that would widen is assumed.",
        "Check network and device; it is tried again by itself.",
    ),
    (
        "lock-out",
        M,
        r"locked out",
        "The device is locked out by its key or breaker: a person works on it, and nothing is written to it.",
        "Nothing, until the person who holds the key hands it back.",
    ),
    (
        "local",
        N,
        r"in LOCAL",
        "A person has taken the device; it is left alone.",
        "Nothing, or hand it back at the device.",
    ),
    (
        "refused",
        M,
        r"write refused|(write|holding|input) [^;]*refused with exception [34]\b|leads further out|trip",
        "The device refuses what it is told.",
        "Look at the device: local mode, a trip, a lock-out?",
    ),
    (
        "release-failed",
        M,
        r"release failed",
        "The device could not be told to let go; its lease will lapse.",
        "Watch it until its lease has lapsed.",
    ),
    (
        "wear",
        N,
        r"wear budget",
        "Memory that wears was written as often as it may be today.",
        "Ask the maker for a volatile register; the device is at its own default meanwhile.",
    ),
    (
        "map-fault",
        M,
        r"refused with exception [12]\b|no such register|scale factor .* not known|has no such command|does not fit|no code for",
        "The device does not have what its page says.",
        "Compare firmware and page; `ems devices probe`.",
    ),
    (
        "unsendable",
        M,
        r"is outside|would be sent as|not a number a register",
        "A command cannot be said to this device.",
        "Check ratings in the site file and limits in the page.",
    ),
    (
        "busy",
        N,
        r"refused with exception",
        "The device or its gateway is busy or cannot reach it.",
        "Look at the gateway and its serial line.",
    ),
    (
        "crossed-answers",
        M,
        r"answered for unit|does not belong|transaction id 0|answered \d+ register|echo says|answered function|incomplete",
        "Answers do not fit the questions; none of them is believed.",
        "Look for a second client on the gateway, or a failing converter.",
    ),
    (
        "meter-contradiction",
        M,
        r"balance: |contradict",
        "Meter and devices contradict each other; the worse is taken.",
        "Compare the witness sheet with the displays; check current transformers.",
    ),
    (
        "supply-doubt",
        M,
        r"its supply (cannot be|is not read)",
        "A plant's supply temperature is missing, or cannot be true; it is reckoned from heat and machines, and nothing is cooled ahead.",
        "Look at the sensor and its wire, then at its scale in the page; compare with the plant's own display.",
    ),
    ("meter-stuck", M, r"stands still", "The meter repeats itself.", "Restart the meter; check its gateway."),
    (
        "impossible-value",
        M,
        r"more than (it can|the site can)|counters leap|showed the impossible|absurd",
        "A reading cannot be true and is not believed.",
        "Check word order and scale of the page, then the device.",
    ),
    (
        "gauge-doubt",
        N,
        r"the gauge shows",
        "The state of charge is not what the power explains; the worse counts.",
        "Let the battery management calibrate: a full charge, if the site allows it.",
    ),
    (
        "meter-lost",
        M,
        r"no fresh meter|the meter at the point of connection",
        "The meter at the point of connection is not read.",
        "Check meter and network; limits are held on the sum of the devices.",
    ),
    (
        "tokens-per-joule",
        N,
        r"tokens per joule fell",
        "The cluster takes more energy for the same tokens than in the last weeks.",
        "Ask what was changed: model, batch size, firmware, power cap; a node may run throttled or idle beside the others.",
    ),
    (
        "model-change",
        I,
        r"power than learnt since",
        "Power no longer follows the tokens as it did; the new behaviour is learnt within the hour.",
        "Nothing, where a new model, batch size or firmware was meant; else look for the cause.",
    ),
    ("grid-outage", C, r"degraded: grid outage", "The grid is away; storage carries the critical load.", "Follow the site's outage plan."),
    (
        "limit-source-lost",
        M,
        r"degraded: limit source lost",
        "Nobody speaks for a limit any more; its fail-safe value holds.",
        "Look at `ems programs channels`; the limit returns once its source was heard for a minute.",
    ),
    (
        "plan-lost",
        M,
        r"degraded: (plan lost|planner hostile)",
        "There is no plan that can be followed: rules steer, the site is safe and dearer.",
        "Look at the planner's health line in `ems status` and at its log.",
    ),
    ("degraded", M, r"degraded: ", "A part of the site is not whole; its freedom is narrowed.", "See `ems status` for the part and why."),
    ("not-counted", N, r"silent or not trusted", "The device is left out of everything the site counts on.", "Its other alarm says why."),
    (
        "device-silent",
        M,
        r"silent|no answer|not connected|does not accept|connection lost|not read, so|does not answer",
        "The device does not answer; the worst is assumed of it.",
        "Check network, power and gateway of the device.",
    ),
    ("event-refused", M, r"^event refused", "A grid event made no sense and was not taken.", "Ask its sender; see the programme's log."),
    (
        "plan-refused",
        N,
        r"^plan refused",
        "The planner said something that cannot be followed.",
        "Look at the planner's log; rules hold the site.",
    ),
    (
        "no-plan",
        N,
        r"no plan|newest plan is|no valid plan",
        "The site is run without a fresh plan; it costs money, not safety.",
        "Look at the planner's log and its feeds.",
    ),
    (
        "price-stuck",
        N,
        r"price of .* has not moved",
        "A market price repeats itself far longer than it ever did; the plan goes on without it.",
        "Compare with the market's own page; ask the head-end or provider. It is believed again once it moves.",
    ),
    (
        "price-doubted",
        N,
        r"price of .*(times what|another unit)",
        "A price does not fit the week before: a spike that nothing confirms yet, or another unit. The plan goes on without it.",
        "Compare with the market's own page and the unit in the feed or programme; a true spike is believed at its second interval.",
    ),
    (
        "feed",
        N,
        r"feed|prices|market price|weather|carbon",
        "A feed of prices, weather or carbon is old.",
        "Check the feed's address and its log.",
    ),
    (
        "office",
        I,
        r"ship|history|compact|programs|mailbox|message on|hook",
        "The office has trouble of its own; control does not wait for it.",
        "Look at the office's log: database, disk, hook.",
    ),
    ("other", N, r"", "Something that has no entry of its own.", "Read the words; tell the maintainers."),
)
CATALOGUE: tuple[AlarmKind, ...] = tuple(AlarmKind(*row) for row in _ROWS)


def conditions(lines: Iterable[str], subjects: Iterable[str]) -> list[Condition]:
    """The lines as alarms, each alarm once with its first words; `subjects` are the names a line may begin with (assets)."""
    names = frozenset(subjects)
    found: dict[tuple[str, str], Condition] = {}
    for line in lines:
        for condition in _parts(line, names):
            found.setdefault(condition.key, condition)
    return list(found.values())


@lru_cache(maxsize=2000)
def kind_of(line: str) -> AlarmKind:
    """The alarm a line belongs to."""
    return next(kind for kind in CATALOGUE if re.search(kind.pattern, line))


def _parts(line: str, names: frozenset[str]) -> Iterator[Condition]:
    """A device says several things in one line, parted by semicolons."""
    head, colon, rest = line.partition(": ")
    subject = head.split(" ")[0]
    if not colon or subject not in names:
        yield Condition(kind_of(_steady(line)), "site", line)
        return
    parts = [Condition(kind_of(_steady(f"{head}: {part}")), subject, part) for part in rest.split("; ")]
    yield from [p for p in parts if p.kind is not CATALOGUE[-1]] or parts[:1]


def _steady(line: str) -> str:
    """The line without its numbers, so that few texts are looked up; codes of exceptions stay."""
    return re.sub(r"(?<!exception )(?<![L\d])\d+(\.\d+)?", "0", line)
