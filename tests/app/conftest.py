"""Patience of commands in tests of real processes: how long a person waits for an answer is no promise of the site."""

import pytest


@pytest.fixture(autouse=True)
def patient_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that runs other tests beside may need longer than a person would wait."""
    monkeypatch.setattr("ems.app.ordering.ANSWER_WITHIN_S", 60.0)
    monkeypatch.setattr("ems.app.selftesting.SLACK_S", 60.0)
    monkeypatch.setattr("ems.app.probing.PROBE_WITHIN_S", 30.0)
