"""What binds in each step of a plan and what one more unit of room there is worth, in an operator's words. Standard library only.

Rules carry the names of the plan's constraints. What is worth nothing does not bind; what is no limit (a balance) is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Steps = tuple[tuple[int, float], ...]  # (step, money per unit), only where it binds; step WHOLE: over the whole plan
WHOLE = -1
Worth = Mapping[str, Mapping[str, Steps]]  # by part of the site, by rule

SITE_PARTS = ("point of connection", "peak", "headroom", "trips")  # told with every asset

RULES: dict[str, tuple[str, str]] = {  # what is true, and what one more unit is
    "stays within the import limit": ("import stands on its limit", "1 kW more import limit"),
    "stays within the export limit": ("export stands on its limit", "1 kW more export limit"),
    "rises no faster than the ramp limit": ("import rises as fast as the ramp limit lets it", "1 kW more of ramp"),
    "falls no faster than the ramp limit": ("import falls as fast as the ramp limit lets it", "1 kW more of ramp"),
    "stays within the feeder limit": ("the feeder is full", "1 kW more feeder limit"),
    "feeds back within the feeder limit": ("as much flows back through the feeder as it may carry", "1 kW more feeder limit"),
    "feeds back its partner's too": ("no more may flow back through the feeder if its partner fails", "1 kW more feeder limit"),
    "carries its partner too": ("the feeder could carry no more if its partner failed", "1 kW more feeder limit"),
    "reaches the baseline and what is above it": ("the billing peak is held", "1 kW more peak without charge"),
    "power for the upper load quantile": ("power is kept ready for a higher load", "1 kW less to keep ready"),
    "energy for the upper load quantile": ("energy is kept ready for a higher load", "1 kW less to keep ready"),
    "stays above the floor": ("empty, down to its floor", "1 kWh lower floor"),
    "stays below the ceiling": ("full", "1 kWh more storage"),
    "charges within its rating": ("charges with all it has", "1 kW more charging power"),
    "discharges within its rating": ("discharges with all it has", "1 kW more discharging power"),
    "charges as its state of charge allows": ("charges as much as its state of charge allows", "1 kW more charging power"),
    "discharges as its state of charge allows": ("discharges as much as its state of charge allows", "1 kW more discharging power"),
    "keeps the reserve": ("nothing is left above the reserve", "1 kWh less reserve"),
    "stays below full": ("full", "1 kWh more storage"),
    "relieves at most what it carries": ("relieves all it carries", "1 kW more load carried"),
    "the supply stays above the dew point and its lowest": ("the supply is as cold as it may be", "1 degree colder supply"),
    "cools ahead within its firm capacity and rate": ("cools ahead with all it may", "1 kW more cooling of heat"),
    "lets the loop warm within its rate and least load": ("lets the loop warm as fast as it may", "1 kW more of heat left in it"),
    "the loop starts as cold as it is": ("the loop's cold is in use", "1 degree colder loop now"),
    "stays within the rating": ("at its rating", "1 kW more rating"),
    "throttles at most what arrives": ("all of it is throttled", "1 kW more to throttle"),
    "defers at most what arrives": ("all of it is deferred", "1 kW more to defer"),
    "slows along its curve": ("it is slowed past a bend of its throughput curve", "1 kW more before the bend"),
    "recovers on machines that stand free": ("no machine stands free to make up work", "1 kW more free"),
    "loses no more than its tier allows": ("its tier allows no more to be held back", "1 kWh more of it"),
    "recovered by the deadline": ("work is brought back just before its deadline", "1 kWh later deadline"),
    "runs only when it may": ("may not run", "being allowed to run"),
    "runs on through its minimum up time": ("runs on through its minimum up time", "being allowed to stop"),
    "at most its rating, less the start": ("gives all it can", "1 kW more of it"),
    "at least its minimum load once started": ("at its minimum load", "1 kW lower minimum load"),
    "runs within its permit hours": ("its permit hours are used up", "1 h more permit"),
    "emits within its budget": ("its emissions budget is used up", "1 unit of fuel more"),
    "rises within its ramp": ("rises as fast as it can", "1 kW more of ramp"),
    "falls within its ramp": ("falls as fast as it can", "1 kW more of ramp"),
    "at most what it can give": ("gives all it can", "1 kW more of it"),
    "must run": ("must run", "1 kW less of it"),
    "curtails at most what is there": ("all of it is curtailed", "1 kW more of it"),
}
DAILY = {  # with the local day in brackets behind: 0 is the day the plan begins in
    "gives no more in a day than its warranty": "warranty throughput",
    "gives no more in a day than its cells may": "cell throughput",
}
DAYS = ("today's {}", "tomorrow's {}")
TRIP = "holds the import limit"  # when a named machine trips, or without sun and wind


def told(rule: str) -> tuple[str, str] | None:
    """Words for a constraint's name, None for one that is no limit. A class before a colon and a number behind are kept apart."""
    if rule.startswith(TRIP):
        return f"room is kept: {rule}", "1 kW less to keep"
    if _plain(rule) in DAILY:
        return f"{_of_day(rule)} is used up", "1 kWh more of it"
    name = rule.partition(": ")
    known = RULES.get(_plain(name[2] or rule))
    if known is None:
        return None
    return (f"{name[0]}: {known[0]}" if name[2] else known[0], known[1])


def lines(worth: Worth, step: int, parts: tuple[str, ...] | None = None, with_whole: bool = True) -> Iterator[str]:
    """A line per limit that binds in a step, dearest first; of some parts of the site, or of all. What binds the plan as a whole binds in
    every step; step WHOLE gives it alone."""
    found = []
    for part, rules in worth.items():
        if parts is None or part in parts:
            for rule, steps in rules.items():
                known = dict(steps)
                words, value = told(rule), known.get(step, known.get(WHOLE) if with_whole else None)
                if words is not None and value is not None:
                    found.append((-value, f"{part}: {words[0]}; {words[1]} would save {value:.3f}"))
    yield from (line for _, line in sorted(found))


def of_day(rule: str, day: int) -> str:
    """The name of a daily rule with the local day it is told of."""
    return f"{rule} ({day})"


def _of_day(rule: str) -> str:
    """`today's warranty throughput`; of any day where the rule names none."""
    number, what = rule[len(_plain(rule)) :].strip(" ()"), DAILY[_plain(rule)]
    day = int(number) if number.isdecimal() else None
    if day is None:
        return f"a day's {what}"
    return DAYS[day].format(what) if day < len(DAYS) else f"the {what} of the day {day} days ahead"


def _plain(rule: str) -> str:
    """`charges as its state of charge allows (0)` without its number."""
    return rule.rpartition(" (")[0] if rule.endswith(")") else rule
