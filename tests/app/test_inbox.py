"""What control takes of the messages of other processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ems.app.inbox import MailboxInbox
from ems.mailbox import Mailbox

NOW = datetime(2024, 8, 19, 5, tzinfo=UTC)


def test_what_control_does_not_read_of_an_order_or_event_never_reaches_the_journal(tmp_path: Path):
    mailbox = Mailbox(tmp_path / "mailbox.db")
    for topic in ("order", "event", "plan"):
        mailbox.post(topic, {"kind": "hold", "asset": "all", "id": "e1", "kw": 5.0, "token": "secret"}, NOW, NOW + timedelta(hours=1))
    news = MailboxInbox(mailbox, {}).news(NOW)
    mailbox.close()
    assert dict(news)["order"] == {"kind": "hold", "asset": "all", "kw": 5.0}
    assert dict(news)["event"] == {"kind": "hold", "id": "e1", "kw": 5.0}
    assert "token" in dict(news)["plan"]
