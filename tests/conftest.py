"""Where the real data sets are, and an account of every test that was skipped."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ems.journal.journal import Journal

CHECKOUT = Path(__file__).resolve().parent.parent
ALLOWED_SKIPS = CHECKOUT / "tests" / "allowed_skips"

# The same examples in every run: a landing must not depend on luck. `HYPOTHESIS_PROFILE=random` looks for new ones.
# No example has a deadline and none is too slow to be drawn: how long one takes is the machine's affair, pytest-timeout ends what hangs.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fixed", derandomize=True, **PATIENT)
settings.register_profile("random", derandomize=False, max_examples=1000, **PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# A disk that is busy with other tests takes its time: only the patience that a test itself states ends sooner.
Journal.flush.__defaults__ = Journal.close.__defaults__ = (60.0,)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets: EMS_DATA_DIR, else shared/data beside the checkout. A test that asks for it is skipped without it."""
    named = os.environ.get("EMS_DATA_DIR")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("data folder absent")
    return folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under CI a skip that tests/allowed_skips does not list fails the run."""
    if session.exitstatus == pytest.ExitCode.OK and unlisted_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reasons = skip_reasons(config)
    if not reasons:
        return
    terminalreporter.section("skipped, and why")
    for reason, places in sorted(reasons.items()):
        terminalreporter.line(f"{len(places)} x {reason}")
        for place in sorted(places):
            terminalreporter.line(f"      {place}")
    for reason in unlisted_skips(config):
        terminalreporter.line(f"FAILED: tests/allowed_skips does not list this skip: {reason}", red=True)


def unlisted_skips(config: pytest.Config) -> list[str]:
    """Reasons of skips that no line of tests/allowed_skips begins; empty unless the environment says CI."""
    if not os.environ.get("CI"):
        return []
    allowed = tuple(line for line in ALLOWED_SKIPS.read_text().splitlines() if line)
    return sorted(reason for reason in skip_reasons(config) if not reason.startswith(allowed))


def skip_reasons(config: pytest.Config) -> dict[str, set[str]]:
    """Reason -> the tests (or files) it skipped. Empty in a worker of a parallel run: the reports meet in the controller."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reasons: dict[str, set[str]] = {}
    if reporter is None or hasattr(config, "workerinput"):
        return reasons
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, (tuple, list)) else str(report.longrepr)
        reasons.setdefault(reason.removeprefix("Skipped: "), set()).add(report.nodeid)
    return reasons
