"""Trust and self-tests of one site: what the controller asks of them each cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ems.assets.cooling.model import Cooling
from ems.control.selftest import SelfTest, objection, testable
from ems.control.selftest_supply import SupplyTest
from ems.dispatch.setpoint import Setpoint
from ems.errors import EmsError
from ems.guard.trust import Proof, TrustBook
from ems.messages import Mode, Order, OrderKind
from ems.obligation import Obligation
from ems.site.model import Site
from ems.state.estimate import SiteState
from ems.state.image import SiteImage

EVENT_NEAR = timedelta(minutes=15)


class Commissioning:
    """The trust book, and the self-test that runs now. One device at a time."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.trust = TrustBook(site)
        self.test: SelfTest | None = None
        self.reports: list[dict[str, Any]] = []  # of tests that ended in this cycle

    @property
    def tested(self) -> str:
        """The asset under test, "" when there is none."""
        return self.test.asset.id if self.test is not None else ""

    def take(self, order: Order, modes: Mapping[str, Mode]) -> str:
        """The answer to an order as far as it is ours, "" when it is all the order book's. Raises EmsError on a refusal."""
        if order.kind is OrderKind.SELF_TEST:
            return self._begin(order, modes)
        if order.kind is OrderKind.MODE and order.mode is Mode.CONTROL:
            self._refuse_unproven(list(modes) if order.asset == "all" else [order.asset])
        if order.kind is OrderKind.RELEASE and order.asset != "all":
            self.trust.release(order.asset)
        if self.test is not None and order.asset in (self.test.asset.id, "all"):
            self.test.cancel(f"{order.kind.value} by {order.by}")
        return ""

    def step(
        self,
        image: SiteImage,
        state: SiteState,
        obligations: Sequence[Obligation],
        limit_kw: float,
        modes: Mapping[str, Mode],
        is_disturbed: bool = False,
    ) -> Setpoint | None:
        """Brings the trust of every device up to date and the running test one cycle further; what that one wants written. `is_disturbed`:
        the grid is, or was a moment ago."""
        self.reports = []
        self.trust.update(image, modes, is_disturbed)
        test = self.test
        if test is None:
            return None
        trusts = {asset: record.state.value for asset, record in self.trust.records.items()}
        near = sum(o.start <= state.now + EVENT_NEAR for o in obligations)
        setpoint = test.step(image, state, objection(self.site, test.asset, state, trusts, near, limit_kw), limit_kw)
        if test.is_done:
            report = test.report()
            self.reports.append({**report, "at": state.now.isoformat()})
            if not test.was_cancelled:
                self.trust.prove(test.asset.id, Proof(test.by, state.now.isoformat(), test.is_passed, report["why"]))
            self.test = None
        return setpoint

    def encode(self) -> dict[str, Any]:
        """What must survive a restart: a running test does not, its device lets go by itself."""
        return self.trust.encode()

    def shown(self) -> dict[str, Any]:
        """The trust of every device, for eyes."""
        return {
            asset: {"state": r.state.value, "cause": r.cause, "proof": vars(r.proof) if r.proof else None}
            for asset, r in self.trust.records.items()
        }

    def _begin(self, order: Order, modes: Mapping[str, Mode]) -> str:
        if not order.by or not order.why:
            raise EmsError("an order needs the name of a person and a reason")
        asset = testable(self.site, order.asset)
        if self.test is not None:
            raise EmsError(f"a self-test of {self.tested} is running; one device at a time")
        if modes[asset.id] is Mode.CONTROL:
            raise EmsError(f"{asset.id} is in control: `ems mode {asset.id} observe` first")
        assert asset.link is not None
        kind = SupplyTest if isinstance(asset, Cooling) else SelfTest
        self.test = kind(self.site, asset, order.by, order.at, asset.link.lease_s)
        return f"self-test of {asset.id} by {order.by} begins"

    def _refuse_unproven(self, assets: Sequence[str]) -> None:
        for asset in assets:
            refusal = self.trust.refusal(asset) or self._unproven(asset)
            if refusal:
                raise EmsError(refusal)

    def _unproven(self, asset_id: str) -> str:
        """Real equipment that a step can prove is taken into control only after it passed one."""
        link, record = self.site.links.get(asset_id), self.trust.records.get(asset_id)
        if link is None or link.is_loopback or record is None or record.proof is not None:
            return ""
        try:
            testable(self.site, asset_id)
        except EmsError:
            return ""
        return f"{asset_id} has not passed its self-test: ems devices self-test SITE.yaml --by NAME --device {asset_id}"
