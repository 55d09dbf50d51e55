"""What was forecast and has not come true yet, per lead, in a ring: memory is bounded by the longest lead."""

from __future__ import annotations

import numpy as np

from ems.forecast.protocol import Bools, Floats, History, Ints


class Pending:
    """Rows of numbers per lead, kept from the end of history they were issued at until their cell is known."""

    def __init__(self, leads: Ints, width: int) -> None:
        self.leads = leads
        self._size = int(leads[-1]) + 1
        self._rows = np.full((self._size, len(leads), width), np.nan)
        self._ends = np.full(self._size, -1)
        self._columns = np.arange(len(leads))

    def put(self, end: int, values: Floats) -> None:
        """Keeps `values[lead, …]` issued when the first unknown cell was `end`."""
        self._rows[end % self._size] = values
        self._ends[end % self._size] = end

    def due(self, cell: int) -> tuple[Floats, Bools]:
        """What was issued for `cell` at each lead, and which leads issued anything for it."""
        ends = cell + 1 - self.leads
        places = ends % self._size
        return self._rows[places, self._columns], self._ends[places] == ends


class Progress:
    """Which cells of a growing history are new. After a jump further than `most` cells only the newest are."""

    def __init__(self, most: int) -> None:
        self._most, self._end = most, -1

    def new_cells(self, history: History) -> range:
        """The cells known now and not at the last call; none at the first."""
        begin = history.end if self._end < 0 else max(self._end, history.end - self._most, history.first)
        self._end = max(self._end, history.end)
        return range(begin, history.end)
