"""Deciding a journal again: the recorded images and news in, the recorded setpoints must come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ems.app.runfile import RunFile
from ems.control.controller import Controller
from ems.control.cycle import encode_setpoints
from ems.errors import DataError
from ems.journal.entry import Entry
from ems.journal.read import first_sequence, read_journal
from ems.messages import Mode
from ems.state.image import decode_image

SHOWN = 5


@dataclass
class Rerun:
    """How many cycles were compared, how many setpoints came out different, and the first of them in words."""

    starts: int = 0
    cycles: int = 0
    differing: int = 0
    skipped: int = 0  # cycles before the first start record that is kept: what was decided on is in segments that were removed
    first: list[str] = field(default_factory=list)

    def compare(self, entry: Entry, ours: list[list[Any]]) -> None:
        """Takes one cycle into account."""
        self.cycles += 1
        recorded = {(row[0], row[1]): row for row in entry.body["setpoints"]}
        again = {(row[0], row[1]): row for row in ours}
        for key in sorted(recorded.keys() | again.keys()):
            if recorded.get(key) != again.get(key):
                self.differing += 1
                if len(self.first) < SHOWN:
                    self.first.append(f"{entry.at.isoformat()}: recorded {recorded.get(key)}, again {again.get(key)}")


def rerun_journal(state_dir: Path) -> Rerun:
    """Decides every recorded cycle again with a fresh controller per start record. DataError when the journal cannot be read."""
    result = Rerun()
    controller: Controller | None = None
    for entry in _wanted(state_dir):
        if entry.kind == "start":
            result.starts += 1
            controller = _controller(entry.body)
        elif controller is None and first_sequence(state_dir) > 1:
            result.skipped += 1
        elif controller is None:
            raise DataError(f"{state_dir}: the journal's first cycle has no start record before it")
        else:
            decision = controller.decide(
                decode_image(entry.body["image"]),
                [(topic, body) for topic, body in entry.body["news"]],
                entry.at,
                entry.body["journal_ok"],
            )
            result.compare(entry, encode_setpoints(decision))
    return result


def _wanted(state_dir: Path) -> Iterator[Entry]:
    return (entry for entry in read_journal(state_dir) if entry.kind in {"start", "cycle"})


def _controller(start: dict[str, Any]) -> Controller:
    modes = {asset: Mode(mode) for asset, mode in start["modes"].items()}
    return Controller(RunFile.decode(start["run"]).site, start["policy"], modes, start["memory"])
