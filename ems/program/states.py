"""The states of an event and the moves between them. What is not listed cannot happen."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where an event stands."""

    RECEIVED = "received"
    REJECTED = "rejected"
    EXPIRED = "expired"
    VALIDATED = "validated"
    EVALUATED = "evaluated"
    ACCEPTED = "accepted"
    PARTIAL = "partial"
    DECLINED = "declined"
    SCHEDULED = "scheduled"
    JOIN_IN_PROGRESS = "join_in_progress"
    PREPOSITIONING = "prepositioning"
    RAMPING_DOWN = "ramping_down"
    HOLDING = "holding"
    DERATED = "derated"
    ABORTED = "aborted"
    MODIFIED = "modified"
    CANCELLED = "cancelled"
    RECOVERING = "recovering"
    COMPLETED = "completed"
    MEASURED = "measured"
    REPORTED = "reported"
    SETTLED_ESTIMATE = "settled_estimate"
    SETTLED_FINAL = "settled_final"


S = State
OPEN = (S.RECEIVED, S.VALIDATED, S.EVALUATED, S.ACCEPTED, S.PARTIAL, S.DECLINED, S.SCHEDULED, S.JOIN_IN_PROGRESS, S.PREPOSITIONING)
MOVING = (S.RAMPING_DOWN, S.HOLDING, S.DERATED)
DECIDED = frozenset({S.ACCEPTED, S.PARTIAL, S.DECLINED})
WAITING = frozenset({S.SCHEDULED, S.JOIN_IN_PROGRESS, S.PREPOSITIONING})
AFTER = frozenset({S.COMPLETED, S.MEASURED, S.REPORTED, S.SETTLED_ESTIMATE})
FINAL = frozenset({S.REJECTED, S.EXPIRED, S.SETTLED_FINAL})
CHANGES = {S.MODIFIED, S.CANCELLED}

MOVES: Mapping[State, frozenset[State]] = {
    S.RECEIVED: frozenset({S.VALIDATED, S.REJECTED, S.EXPIRED, *CHANGES}),
    S.VALIDATED: frozenset({S.EVALUATED, *CHANGES}),
    S.EVALUATED: frozenset({*DECIDED, *CHANGES}),
    S.ACCEPTED: frozenset({S.SCHEDULED, S.JOIN_IN_PROGRESS, S.DECLINED, *CHANGES}),
    S.PARTIAL: frozenset({S.SCHEDULED, S.JOIN_IN_PROGRESS, S.DECLINED, *CHANGES}),
    S.DECLINED: frozenset({S.ACCEPTED, S.RECOVERING, *CHANGES}),
    S.SCHEDULED: frozenset({S.PREPOSITIONING, S.RAMPING_DOWN, S.DECLINED, *CHANGES}),
    S.PREPOSITIONING: frozenset({S.RAMPING_DOWN, S.DECLINED, *CHANGES}),
    S.JOIN_IN_PROGRESS: frozenset({S.RAMPING_DOWN, S.DECLINED, *CHANGES}),
    S.RAMPING_DOWN: frozenset({S.HOLDING, S.ABORTED, *CHANGES}),
    S.HOLDING: frozenset({S.DERATED, S.ABORTED, S.RECOVERING, *CHANGES}),
    S.DERATED: frozenset({S.HOLDING, S.ABORTED, S.RECOVERING, *CHANGES}),
    S.ABORTED: frozenset({S.RECOVERING}),
    S.MODIFIED: frozenset({S.EVALUATED, S.EXPIRED, S.REJECTED, *CHANGES}),
    S.CANCELLED: frozenset({S.RECOVERING}),
    S.RECOVERING: frozenset({S.RECOVERING, S.COMPLETED}),  # again when its baseline is read to the end
    S.COMPLETED: frozenset({S.MEASURED}),
    S.MEASURED: frozenset({S.REPORTED}),
    S.REPORTED: frozenset({S.SETTLED_ESTIMATE}),
    S.SETTLED_ESTIMATE: frozenset({S.SETTLED_FINAL}),
}


def may_move(before: State | None, after: State) -> bool:
    """True when the move is listed."""
    return after is State.RECEIVED if before is None else after in MOVES.get(before, frozenset())
