"""`ems devices self-test`: what would be done, and the test of one device through the controller that runs the site."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ems.app.ordering import give_order
from ems.app.prepare import find_file, load_pages
from ems.app.runfile import RunFile
from ems.app.show import fresh_snapshot
from ems.app.statedir import StateDir, find_state_dir, prepare, running_state_dir, shared_clock, write_whole
from ems.assets.cooling.model import Cooling
from ems.control.selftest import BASE_S, LAPSE_SLACK_S, STEP_SHARE, Testable, lasts_s, rating_kw, testable
from ems.control.selftest_supply import STEP_K, SUPPLY_LASTS_S
from ems.errors import EmsError
from ems.mailbox import Mailbox
from ems.messages import OrderKind
from ems.nearest import perhaps
from ems.site.load import load_site

REPORTS = "self-tests"
SLACK_S = 15.0  # wall, beyond the length of the test
LOOK_EVERY_S = 0.1


def dry_lines(given: str, state_dir: Path | None) -> Iterator[str]:
    """What a self-test of each device would do, and how far each is trusted now. Writes nothing."""
    path = find_file("sites", given)
    site = load_site(path)
    pages = load_pages(site, path)
    trust = _trust(path, find_state_dir(state_dir))
    for asset, link in site.links.items():
        page = pages[link.page]
        state = trust.get(asset, {}).get("state", "not known: no controller runs this site")
        yield f"{asset:<12} {link.page} at {link.host}:{link.port} unit {link.unit_id}: {state}"
        try:
            tested = testable(site, asset) if asset in site.assets else None
        except EmsError:
            tested = None
        if tested is None or not page.commands:
            yield f"{'':<12} identity and readings only: no step can prove it"
            continue
        step = f"{STEP_K:g} K" if isinstance(tested, Cooling) else f"{STEP_SHARE * rating_kw(tested):.1f} kW"
        yield f"{'':<12} would step by {step} for up to {_lasts_s(tested):.0f} s, then wait for its lease of {link.lease_s:g} s"
        if page.assumed_commands and not link.is_loopback:
            yield f"{'':<12} refused: its page has no document behind {', '.join(page.assumed_commands)}"
    yield "dry run: nothing was written; --by NAME --device ID tests one device"


def run_self_test(given: str, device: str, by: str, why: str, state_dir: Path | None) -> tuple[bool, list[str]]:
    """Orders the test, waits for its end, keeps the report; whether it passed, and what it found. EmsError when it cannot run."""
    path = find_file("sites", given)
    state = running_state_dir(state_dir)
    run_file = RunFile.load(state.site)
    if run_file.source != str(path.resolve()):
        raise EmsError(f"{state.path}: runs {run_file.source}, not {path}")
    fresh_snapshot(state)
    if device not in run_file.site.assets and (near := perhaps(device, run_file.site.assets)):
        raise EmsError(f"no asset {device}{near}")
    asset = testable(run_file.site, device)
    assert asset.link is not None
    mailbox = Mailbox(state.mailbox, busy_ms=1000)
    try:
        since = mailbox.last_sequence()
        give_order(state, OrderKind.SELF_TEST, device, by, why)
        test_s = BASE_S + _lasts_s(asset) + asset.link.lease_s + LAPSE_SLACK_S
        report = _report(mailbox, since, device, test_s / shared_clock(state).speed + SLACK_S)
    finally:
        mailbox.close()
    kept = _keep(state, {**report, "page": asset.link.page, "address": f"{asset.link.host}:{asset.link.port} unit {asset.link.unit_id}"})
    return bool(report["is_passed"]), [*report_lines(report), f"report: {kept}"]


def _lasts_s(asset: Testable) -> float:
    return SUPPLY_LASTS_S if isinstance(asset, Cooling) else lasts_s(asset)


def _trust(path: Path, state: StateDir) -> dict[str, Any]:
    try:
        if RunFile.load(state.site).source != str(path.resolve()):
            return {}
        return dict(fresh_snapshot(state).get("trust", {}))
    except (EmsError, OSError):
        return {}


def _report(mailbox: Mailbox, since: int, device: str, within_s: float) -> dict[str, Any]:
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        for message in mailbox.since("self_test", since):
            if message.body["asset"] == device:
                return message.body
        time.sleep(LOOK_EVERY_S)
    raise EmsError(
        f"{device}: the test gave no result within {within_s:.0f} s; `ems status` says what runs, the device lets go by its lease"
    )


def _keep(state: StateDir, report: dict[str, Any]) -> Path:
    folder = StateDir(state.path / REPORTS)
    prepare(folder)
    path = folder.path / f"{report['asset']}-{report['at'][:19].replace(':', '')}.json"
    write_whole(path, json.dumps(report, indent=2) + "\n")
    return path


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """A report in words: the step, what was proven, and what may follow."""
    step, unit = (report["step_k"], "K") if "step_k" in report else (report["step_kw"], "kW")
    begun = f"step of {step:g} {unit}" if step else "ended before any step was told"
    yield f"{report['asset']}: {begun}, by {report['by']}, ended {report['at']}"
    for what, is_proven, detail in report["findings"]:
        yield f"    {what:<10} {'proven' if is_proven else 'not told' if is_proven is None else 'FAILED':<9} {detail}"
    if report["is_passed"]:
        yield f"passed: `ems mode {report['asset']} control` may follow"
    else:
        yield f"not passed: {report['why']}; the device stays out of control"
