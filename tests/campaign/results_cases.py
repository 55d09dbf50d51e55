"""The cases of `make results`: which named scenario, in which week, under which seed, and the text of its scenario file.

Every third seed (9, 12, 15) draws a plant that is worse than its file in everything (ems/replay/mismatch.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HISTORY = timedelta(days=3)
WEEKS = {  # local midnight; the traces begin three days earlier
    "august": "2024-08-19T05:00:00Z",
    "july": "2024-07-01T05:00:00Z",
    "january": "2024-01-13T06:00:00Z",
    "may": "2024-05-06T05:00:00Z",
    "october": "2024-10-07T05:00:00Z",
}
# Five windows of a week with three days of history: all that fourteen days of m-small beside ten of m-large give without a repeat.
WHOLE_WEEKS = (("august", 9, 0), ("july", 10, 1), ("january", 12, 2), ("may", 11, 3), ("october", 13, 4))
# The same weeks under a second draw of the plant, chosen before any was run: a week alone moves by a hundred dollars with the draw.
SECOND_DRAW = (("august", 14, 0), ("july", 15, 1), ("january", 16, 2), ("may", 18, 3), ("october", 17, 4))


@dataclass(frozen=True)
class Case:
    """One scenario file of config/scenarios, with another window, seed or trace; `policies` besides the bound are replayed."""

    scenario: str
    seed: int
    policies: tuple[str, ...]
    week: str = ""
    skip_days: int = 0
    days: int = 7
    bound: bool = True
    changes: dict[str, str] = field(default_factory=dict, hash=False, compare=False)

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.scenario, self.week, str(self.seed))))


def cases() -> list[Case]:
    """All of them, those that matter most first."""
    money = ("capped", "plan")
    real = {"control_step_s": "30", "mismatch": "0.1", "overrides": REAL_OVERRIDES}
    ours = [Case(name, seed, money, week, 0, changes=real) for seed in (9, 10, 11) for name, week in REAL_WEEKS.items()]
    weeks = [Case(name, seed, money, week, skip) for week, seed, skip in WHOLE_WEEKS for name in ("demand-charge", "demand-charge-storage")]
    again = [Case("demand-charge", seed, money, week, skip) for week, seed, skip in SECOND_DRAW]
    limits = [
        Case("tight-limit", seed, ("none", "plan", "oracle"), week, skip, days=4, bound=False) for week, seed, skip in WHOLE_WEEKS[:3]
    ]
    faults = [Case(name, seed, ("plan",), bound=False) for seed in range(9, 15) for name in ("chiller-trip", "feed-loss")]
    scarce = [Case("scarcity-week", seed, ("plan",), bound=False) for seed in (9, 10, 11)]
    peaks = [Case("four-cp", seed, ("plan",), bound=False) for seed in (33, 34, 35, 36, 37)]
    return [
        *ours[:4],
        *faults[:8],
        *weeks[:4],
        scarce[0],
        limits[0],
        *weeks[4:6],
        *scarce[1:2],
        *limits[1:],
        *weeks[6:],
        *again,
        *faults[8:],
        *peaks,
        *ours[4:],
        *scarce[2:],
    ]


REAL_OVERRIDES = "{point_of_connection: {import_limit_kw: 1370}, assets: {ups-1: {soc_error: 0.12}}}"
REAL_WEEKS = {"real-week": "august", "real-week-dull": "july"}


def scenario_text(case: Case) -> str:
    """The file of the scenario with this case's window, seed, skip and changes; paths are absolute."""
    text = (CHECKOUT / "config" / "scenarios" / f"{case.scenario}.yaml").read_text()
    changed = {"seed": str(case.seed), **case.changes}
    if case.week:
        start = datetime.fromisoformat(WEEKS[case.week])
        changed |= {"start": iso(start), "end": iso(start + timedelta(days=case.days))}
        begins = f"begins_at: {iso(start - HISTORY)}\n"
        text = re.sub(r"begins_at: .*\n", begins, text)
        text = text.replace(begins, f"{begins}      skip_s: {case.skip_days * 86400}\n", 1)
    for key, value in changed.items():
        line = f"{key}: {value}\n"
        text = re.sub(rf"(?m)^{key}:.*\n", line, text) if re.search(rf"(?m)^{key}:", text) else text + line
    text = text.replace("site: ../sites/", f"site: {CHECKOUT / 'config' / 'sites'}/")
    return text.replace("path: generated/", f"path: {CHECKOUT / 'config' / 'scenarios' / 'generated'}/")


def iso(at: datetime) -> str:
    """As scenario files write instants."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
