"""The running site in words: status, why an asset got its setpoint, what its devices say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ems.app.statedir import StateDir, is_stopped, shared_clock
from ems.errors import EmsError
from ems.journal.read import last_entry
from ems.mailbox import Mailbox
from ems.nearest import perhaps
from ems.plan.worth import SITE_PARTS


def fresh_snapshot(state: StateDir) -> dict[str, Any]:
    """The newest cycle; EmsError when control has said nothing lately."""
    mailbox = Mailbox(state.mailbox, busy_ms=1000)
    try:
        message = mailbox.latest("snapshot", shared_clock(state).now())
        if message is not None and not is_stopped(state):
            return message.body
        last = mailbox.since("snapshot", 0)
    finally:
        mailbox.close()
    said = f"the last cycle was at {last[-1].body.get('at')}" if last else "it never finished a cycle"
    raise EmsError(f"{state.path}: control is not running ({said})")


def last_tests(state: StateDir) -> dict[str, dict[str, Any]]:
    """The newest report of a self-test per asset, with a verdict or without one."""
    mailbox = Mailbox(state.mailbox, busy_ms=1000)
    try:
        return {m.body["asset"]: m.body for m in mailbox.since("self_test", 0)}
    finally:
        mailbox.close()


def imported(snapshot: dict[str, Any]) -> str:
    """The import in kW, or the most it can be when nobody measures it."""
    assumed = "" if snapshot.get("is_metered", True) else "at most "
    return f"import {assumed}{snapshot['import_kw']:5.0f}"


def status_lines(snapshot: dict[str, Any], tests: Mapping[str, dict[str, Any]] | None = None) -> Iterator[str]:
    """The site on one screen; `tests` are the newest reports of self-tests by asset."""
    yield f"{snapshot['at']}  {snapshot['level']} {snapshot['level_name']} ({snapshot['cause']}) since {snapshot['since']}"
    limit = f"{snapshot['limit_kw']:.0f} kW ({snapshot['limit_source']})"
    yield f"{imported(snapshot)} kW of {limit}, adviser {snapshot['adviser']}"
    plan = snapshot["plan"]
    yield f"plan made {plan['made_at']}, valid until {plan['valid_until']}" if plan else "no plan"
    yield from (f"degraded: {m['name']} since {m['since']}: {m['why']}" for m in snapshot["degraded"])
    yield exposure_line(snapshot["exposure"])
    trust = snapshot.get("trust", {})
    for asset in snapshot["assets"]:
        yield from asset_lines(asset)
        yield from trust_lines(trust.get(asset["id"]), (tests or {}).get(asset["id"]))
    if snapshot.get("self_test"):
        yield f"self-test of {snapshot['self_test']} running"
    yield from (f"order: {o['kind']} {o['asset']} by {o['by']}: {o['why']}" for o in snapshot["orders"])
    yield from (f"alarm: {alarm}" for alarm in snapshot["alarms"])


def exposure_line(exposure: dict[str, Any]) -> str:
    """What happens if the controller dies now."""
    longest_s = max((lease["lease_s"] for lease in exposure["leases"]), default=0.0)
    verdict = "safe to die now" if exposure["is_safe"] else "NOT safe to die now"
    leases = f"{len(exposure['leases'])} leases, the longest {longest_s:.0f} s"
    return f"{verdict}: at most {exposure['import_kw']:.0f} kW {exposure['phase']} ({leases})"


def asset_lines(asset: dict[str, Any]) -> Iterator[str]:
    """One asset: what it does, what it may do, what was asked of it and why."""
    yield f"{asset['id']:<10} {asset['mode'] or '-':<8} {_power(asset):<24} {_details(asset)}".rstrip()
    for setpoint in asset["setpoints"]:
        done = "written" if setpoint["written"] else "not written"
        yield f"{'':<10} {setpoint['command']} {_value(setpoint['command'], setpoint['kw'])}: {setpoint['reason']} ({done})"
    if asset["low_kw"] is not None:
        low, high = f"{asset['low_kw']:.1f} kW ({asset['low_rule']})", f"{asset['high_kw']:.1f} kW ({asset['high_rule']})"
        yield f"{'':<10} allowed from {low} to {high}"
    if asset["problem"]:
        yield f"{'':<10} problem: {asset['problem']}"


def trust_lines(trust: dict[str, Any] | None, test: dict[str, Any] | None = None) -> Iterator[str]:
    """How far a device is trusted, and whether it was ever proven; `test` is the report of its newest self-test."""
    if trust is None:
        return
    yield f"{'':<10} trust: {trust['state']} ({trust['cause']}; {tested_words(trust['proof'], test)})"


def tested_words(proof: dict[str, Any] | None, test: dict[str, Any] | None) -> str:
    """The last verdict of a self-test; without any, that one ended before it could give one."""
    if proof is not None:
        return f"self-test {'passed' if proof['is_passed'] else 'failed'} {proof['at']} by {proof['by']}"
    if test is not None:
        return f"self-test without a verdict {test['at']} by {test['by']}: {test['why']}"
    return "no self-test"


def why_lines(state: StateDir, asset_id: str, at: datetime | None) -> Iterator[str]:
    """Why an asset got its setpoint, now or at an instant (then from the journal)."""
    if at is not None:
        yield from _why_then(state, asset_id, at)
        return
    snapshot = fresh_snapshot(state)
    yield f"{snapshot['at']}  {snapshot['level']} {snapshot['level_name']} ({snapshot['cause']})"
    found = [asset for asset in snapshot["assets"] if asset["id"] == asset_id]
    if not found:
        known = [a["id"] for a in snapshot["assets"]]
        raise EmsError(f"no asset {asset_id}; there are {', '.join(known)}{perhaps(asset_id, known)}")
    yield from asset_lines(found[0])
    limits = (snapshot["plan"] or {}).get("limits", {})
    yield from (f"plan: {line}" for part in (asset_id, *SITE_PARTS) for line in limits.get(part, ()))


def _why_then(state: StateDir, asset_id: str, at: datetime) -> Iterator[str]:
    entry = last_entry(state.path, "cycle", at)
    if entry is None:
        raise EmsError(f"the journal holds no cycle at or before {at.isoformat()}")
    yield f"{entry.at.isoformat()}  {entry.body['level']} ({entry.body['cause']})"
    rows = [row for row in entry.body["setpoints"] if row[0] == asset_id]
    if not rows:
        known = sorted({row[0] for row in entry.body["setpoints"]})
        raise EmsError(f"{asset_id} had no setpoint; there were setpoints of {', '.join(known) or 'nothing'}")
    for _, command, kw, reason, was_written in rows:
        yield f"{asset_id} {command} {_value(command, kw)}: {reason} ({'written' if was_written else 'not written'})"


def image_lines(image: dict[str, Any]) -> Iterator[str]:
    """Every reading of an encoded image: value, quality, age."""
    for asset, points in image["readings"].items():
        problem = image["problems"].get(asset)
        yield f"{asset}" + (f": {problem}" if problem else "")
        for point, (value, age_us, quality) in points.items():
            shown = "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
            yield f"    {point:<28} {shown:>14}  {quality:<8} {age_us / 1e6:.1f} s old"
        for command, (value, age_us, _) in image["commands"].get(asset, {}).items():
            shown = "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
            yield f"    {command + ' (command)':<28} {shown:>14}  {'':<8} {age_us / 1e6:.1f} s old"
    yield from (f"{asset}: {problem}" for asset, problem in image["problems"].items() if asset not in image["readings"])


def _value(command: str, value: float) -> str:
    """A command's value; a request is yes or no."""
    if command.endswith("_c"):
        return f"{value:.1f} °C"
    return f"{value:.1f} kW" if command.endswith("_kw") else ("yes" if value else "no")


def _power(asset: dict[str, Any]) -> str:
    kw = asset["power_kw"]
    if asset["kind"] == "battery":
        return f"{'charging' if kw > 0 else 'discharging'} {abs(kw):.0f} kW" if abs(kw) >= 0.5 else "idle"
    if asset["kind"] in ("generator", "renewable"):
        return f"generating {-kw:.0f} kW" if kw <= -0.5 else "giving nothing"
    return f"{kw:.0f} kW"


def _details(asset: dict[str, Any]) -> str:
    parts = [f"soc {asset['soc']:.1%}"] if asset.get("soc") is not None else []
    parts += [f"reserve {asset['reserve_soc']:.1%}"] if asset.get("reserve_soc") is not None else []
    parts += [f"demand {asset['demand_kw']:.0f} kW"] if asset.get("demand_kw") is not None else []
    parts += [f"backlog {asset['backlog_kwh']:.0f} kWh"] if asset.get("backlog_kwh") else []
    parts += [str(asset["run_mode"])] if asset.get("run_mode") else []
    parts += [f"ran {_hours(asset['run_hours'])}"] if asset.get("run_hours") else []
    parts += [f"{asset['available_kw']:.0f} kW there"] if asset.get("available_kw") is not None else []
    return ", ".join(parts)


def _hours(by_year: dict[str, dict[str, float]]) -> str:
    """Hours of the newest year by reason: `12.5 h economic, 0.3 h test`."""
    year = max(by_year)
    return ", ".join(f"{hours:.1f} h {reason}" for reason, hours in by_year[year].items()) + f" in {year}"
