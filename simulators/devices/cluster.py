"""An IT cluster: demand in three classes, a cap it clips at by itself and at once, and work that waits until it is due."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from ems.assets.workload.model import CLASSES, COMMANDS, DEFERRABLE, DUE_HOURS, Cluster
from simulators.devices.backlog import NOTHING_KWH, Backlog
from simulators.devices.device import Device, within


class Demand(NamedTuple):
    """What the users of one cluster ask for now: power above idle per class in kW, and the tokens that interactive and batch would make."""

    interactive_kw: float
    batch_kw: float
    training_kw: float
    prompt_tokens_per_s: float = 0.0
    output_tokens_per_s: float = 0.0


class ClassWork(NamedTuple):
    """Work of one class in one step, in kWh of IT energy at full speed. Served includes recovered; throttled is lost, dropped was deferred
    before. Work that slows along a curve takes less energy than it counts here; the energy is in the cluster's power."""

    served_kwh: float = 0.0
    deferred_kwh: float = 0.0
    recovered_kwh: float = 0.0
    dropped_kwh: float = 0.0
    throttled_kwh: float = 0.0


NO_DEMAND = Demand(0.0, 0.0, 0.0)


class ClusterDevice(Device):
    """Room under the cap goes to idle, interactive, training, batch, then to the backlog (earliest due first).

    Fresh batch and training work that finds no room is deferred and due a deadline later; what is still waiting then is dropped.
    Slowed work of a class with a throughput curve loses less than its power; power it would use badly makes up backlog of the same class
    on machines that stand free. A cap below idle power leaves idle power.
    Without a master the cap falls to the contract cap and class limits end.
    """

    COMMANDS = COMMANDS
    __slots__ = (
        "_at_s",
        "_curves",
        "_limits",
        "_tokens_owed",
        "backlogs",
        "demand",
        "output_tokens",
        "prompt_tokens",
        "rating",
        "step_s",
        "work",
    )

    def __init__(self, rating: Cluster, rng: Random) -> None:
        super().__init__(rating.id, rating.link.lease_s if rating.link is not None else None, rng)
        self.rating = rating
        self.demand = NO_DEMAND
        self.backlogs = {name: Backlog() for name in DEFERRABLE}
        self.work: dict[str, ClassWork] = {name: ClassWork() for name in CLASSES}
        self.prompt_tokens = 0.0  # made in the last step
        self.output_tokens = 0.0
        self.step_s = 1.0
        self._tokens_owed = (0.0, 0.0)  # by the batch backlog
        self._at_s = 0.0
        self._registers = dict.fromkeys(COMMANDS, rating.rating_kw)
        self._limits = dict(self._registers)
        self._curves = {name: k.throughput_by_power for name, k in rating.classes.items() if k.throughput_by_power}

    @property
    def demand_kw(self) -> float:
        """What the cluster would draw now without any cap and without its backlog."""
        d = self.demand
        return self.rating.idle_kw + d.interactive_kw + d.batch_kw + d.training_kw

    def step(self, dt_s: float, at_s: float, demand: Demand) -> None:
        """Serves, defers, recovers and drops over one step; power is constant within it."""
        self._begin_step(at_s)
        hours = dt_s / 3600.0
        self.demand = d = self._clipped(demand)
        self._at_s, self.step_s = at_s + dt_s, dt_s
        is_on = "trip" not in self.faults
        limits, idle_kw = self._limits, self.rating.idle_kw
        room = max(0.0, min(limits["power_cap_kw"], self.rating.rating_kw) - idle_kw) if is_on else 0.0
        interactive = min(d.interactive_kw, limits["interactive_limit_kw"], room)
        training = min(d.training_kw, limits["training_limit_kw"], room - interactive)
        batch = min(d.batch_kw, limits["batch_limit_kw"], room - interactive - training)
        room -= interactive + training + batch
        dropped = self._drop(at_s + dt_s)
        recovered = self._recover(room * hours, batch * hours, training * hours, hours)
        if self._curves:
            batch, training, recovered = self._make_up_beside(batch, training, recovered, hours)
        above_idle_kw = interactive + training + batch + (recovered[0] + recovered[1]) / hours
        if self._curves:  # from here on what they do at full speed, not what they draw
            interactive, batch, training = (
                self._done_kw(name, kw, asked)
                for name, kw, asked in (
                    ("interactive", interactive, d.interactive_kw),
                    ("batch", batch, d.batch_kw),
                    ("training", training, d.training_kw),
                )
            )
        deferred = self._defer(at_s, (d.batch_kw - batch) * hours, (d.training_kw - training) * hours)
        self.work = {
            "interactive": ClassWork(interactive * hours, throttled_kwh=(d.interactive_kw - interactive) * hours),
            "batch": ClassWork(batch * hours + recovered[0], deferred[0], recovered[0], dropped[0]),
            "training": ClassWork(training * hours + recovered[1], deferred[1], recovered[1], dropped[1]),
        }
        self._make_tokens(dt_s, interactive + batch, d.batch_kw - batch)
        self.power_kw = self.power_now_kw = idle_kw + above_idle_kw if is_on else 0.0

    def _done_kw(self, name: str, power_kw: float, asked_kw: float) -> float:
        """Work done with a power, in kW at full speed."""
        points = self._curves.get(name)
        if points is None or power_kw >= asked_kw:
            return power_kw
        share = power_kw / asked_kw
        right = next(n for n, (x, _) in enumerate(points) if x >= share)
        if right == 0:
            return 0.0
        (x0, y0), (x1, y1) = points[right - 1], points[right]
        return asked_kw * (y0 + (share - x0) * (y1 - y0) / (x1 - x0))

    def _make_up_beside(
        self, batch_kw: float, training_kw: float, recovered: tuple[float, float], hours: float
    ) -> tuple[float, float, tuple[float, float]]:
        """Power moved, within a class, from work at the flat end of its curve to its own backlog, as far as machines stand free."""
        fresh, done = [batch_kw, training_kw], list(recovered)
        d = self.demand
        free_kwh = (self.rating.rating_kw - self.demand_kw) * hours - sum(recovered)
        for n, (name, asked_kw) in enumerate((("batch", d.batch_kw), ("training", d.training_kw))):
            points, backlog = self._curves.get(name), self.backlogs[name]
            if points is None:
                continue
            steep = max(x for (x, y), (x0, y0) in zip(points[1:], points, strict=False) if y - y0 >= x - x0)
            open_kwh = min(free_kwh, (fresh[n] - steep * asked_kw) * hours)
            while open_kwh > NOTHING_KWH and backlog.kwh > NOTHING_KWH:
                taken = backlog.take(open_kwh)
                open_kwh, free_kwh = open_kwh - taken, free_kwh - taken
                fresh[n], done[n] = fresh[n] - taken / hours, done[n] + taken
        return fresh[0], fresh[1], (done[0], done[1])

    def drop_rest(self) -> dict[str, float]:
        """Drops all that still waits (the window ends) and returns it in kWh per class."""
        return dict(zip(DEFERRABLE, self._drop(float("inf")), strict=True))

    def _clipped(self, demand: Demand) -> Demand:
        """The demand, scaled down where it asks for more than the cluster can draw."""
        most_kw = self.rating.rating_kw - self.rating.idle_kw
        asked_kw = demand.interactive_kw + demand.batch_kw + demand.training_kw
        if asked_kw <= most_kw:
            return demand
        share = most_kw / asked_kw
        return Demand(*(x * share for x in demand))

    def _drop(self, before_s: float) -> tuple[float, float]:
        batch, training = self.backlogs["batch"], self.backlogs["training"]
        if not (batch.kwh or training.kwh):
            return 0.0, 0.0
        waiting_kwh = batch.kwh
        dropped = batch.drop_before(before_s), training.drop_before(before_s)
        if dropped[0] > 0.0:
            kept = batch.kwh / waiting_kwh
            self._tokens_owed = self._tokens_owed[0] * kept, self._tokens_owed[1] * kept
        return dropped

    def _recover(self, room_kwh: float, batch_kwh: float, training_kwh: float, hours: float) -> tuple[float, float]:
        """Energy recovered of batch and training, earliest due first, under the cap and each class's limit."""
        batch, training = self.backlogs["batch"], self.backlogs["training"]
        if room_kwh <= NOTHING_KWH or not (batch.kwh or training.kwh):
            return 0.0, 0.0
        open_batch = max(0.0, self._limits["batch_limit_kw"] * hours - batch_kwh)
        open_training = max(0.0, self._limits["training_limit_kw"] * hours - training_kwh)
        done_batch = done_training = 0.0
        while room_kwh > NOTHING_KWH:
            batch_due = batch.first_due_s if open_batch - done_batch > NOTHING_KWH else None
            training_due = training.first_due_s if open_training - done_training > NOTHING_KWH else None
            if batch_due is None and training_due is None:
                break
            if training_due is None or (batch_due is not None and batch_due <= training_due):
                taken = batch.take(min(room_kwh, open_batch - done_batch))
                done_batch += taken
            else:
                taken = training.take(min(room_kwh, open_training - done_training))
                done_training += taken
            room_kwh -= taken
        return done_batch, done_training

    def _defer(self, at_s: float, batch_kwh: float, training_kwh: float) -> tuple[float, float]:
        return self._defer_class("batch", at_s, batch_kwh), self._defer_class("training", at_s, training_kwh)

    def _defer_class(self, name: str, at_s: float, kwh: float) -> float:
        if kwh <= NOTHING_KWH:
            return 0.0
        self.backlogs[name].add(kwh, at_s + (self.rating.classes[name].deadline_h or 0.0) * 3600.0)
        return kwh

    def _make_tokens(self, dt_s: float, served_kw: float, deferred_kw: float) -> None:
        """Tokens follow the energy of interactive and batch work; deferred batch work makes its tokens when it is recovered."""
        d = self.demand
        asked_kw = d.interactive_kw + d.batch_kw
        share = served_kw / asked_kw if asked_kw > 0.0 else 1.0
        self.prompt_tokens, self.output_tokens = d.prompt_tokens_per_s * dt_s * share, d.output_tokens_per_s * dt_s * share
        recovered_kwh = self.work["batch"].recovered_kwh
        if recovered_kwh > 0.0:
            self._pay_tokens(recovered_kwh)
        if deferred_kw > 0.0:
            owed = dt_s * deferred_kw / asked_kw
            self._tokens_owed = self._tokens_owed[0] + d.prompt_tokens_per_s * owed, self._tokens_owed[1] + d.output_tokens_per_s * owed

    def _pay_tokens(self, recovered_kwh: float) -> None:
        waited_kwh = recovered_kwh + max(0.0, self.backlogs["batch"].kwh - self.work["batch"].deferred_kwh)
        paid = recovered_kwh / waited_kwh
        prompt, output = self._tokens_owed
        self.prompt_tokens += prompt * paid
        self.output_tokens += output * paid
        self._tokens_owed = prompt * (1.0 - paid), output * (1.0 - paid)

    def _readings(self) -> dict[str, float]:
        d = self.demand
        values = {
            "power_kw": self._noisy(self.power_now_kw),
            "demand_kw": self._noisy(self.demand_kw),
            "interactive_demand_kw": self._noisy(d.interactive_kw),
            "batch_demand_kw": self._noisy(d.batch_kw),
            "training_demand_kw": self._noisy(d.training_kw),
            "batch_backlog_kwh": self.backlogs["batch"].kwh,
            "training_backlog_kwh": self.backlogs["training"].kwh,
        }
        for name, points in DUE_POINTS.items():
            values.update(zip(points, self.backlogs[name].due_within(self._at_s, DUE_HOURS), strict=True))
        values["prompt_tokens_per_s"] = self.prompt_tokens / self.step_s
        values["output_tokens_per_s"] = self.output_tokens / self.step_s
        values["is_local"] = float(self.is_local)
        return values

    def _check(self, command: str, value: float) -> None:
        within(self.id, command, value, 0.0, self.rating.rating_kw)

    def _obey(self, command: str, value: float) -> None:
        self._limits[command] = max(0.0, value)  # a limit a rounding error below zero is zero

    def _to_defaults(self) -> None:
        self._registers = dict.fromkeys(COMMANDS, self.rating.rating_kw)
        self._registers["power_cap_kw"] = self.rating.contract_cap_kw
        self._limits = dict(self._registers)


DUE_POINTS = {name: [f"{name}_due_{h}h_kwh" for h in DUE_HOURS] for name in DEFERRABLE}
