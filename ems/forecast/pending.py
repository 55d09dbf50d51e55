"""What was forecast and has not come true yet, in a ring per lead: memory is bounded by the sum of the leads."""

from __future__ import annotations

import numpy as np

from ems.forecast.protocol import Bools, Floats, History, Ints


class Pending:
    """Rows of numbers per lead, kept from the end of history they were issued at until their cell is known."""

    def __init__(self, leads: Ints, width: int) -> None:
        self.leads = leads
        self._sizes = np.asarray(leads) + 1  # of each lead's ring; the rings lie one after the other
        self._begins = np.cumsum(self._sizes) - self._sizes
        self._rows = np.full((int(self._sizes.sum()), width), np.nan)
        self._ends = np.full(len(self._rows), -1)

    def put(self, end: int, values: Floats) -> None:
        """Keeps `values[lead, …]` issued when the first unknown cell was `end`."""
        places = self._begins + end % self._sizes
        self._rows[places] = values
        self._ends[places] = end

    def due(self, cell: int) -> tuple[Floats, Bools]:
        """What was issued for `cell` at each lead, and which leads issued anything for it."""
        ends = cell + 1 - self.leads
        places = self._begins + ends % self._sizes
        return self._rows[places], self._ends[places] == ends


class Progress:
    """Which cells of a growing history are new. After a jump further than `most` cells only the newest are."""

    def __init__(self, most: int) -> None:
        self._most, self._end = most, -1

    def new_cells(self, history: History) -> range:
        """The cells known now and not at the last call; none at the first."""
        begin = history.end if self._end < 0 else max(self._end, history.end - self._most, history.first)
        self._end = max(self._end, history.end)
        return range(begin, history.end)
