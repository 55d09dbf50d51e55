"""What named persons have ordered and still holds: modes, stops, holds, overrides. Plain state, journalled, survives a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ems.errors import EmsError
from ems.messages import Mode, Order, OrderKind


class OrderBook:
    """Modes per asset and the standing orders. Unknown assets are refused with a clear error."""

    def __init__(self, modes: Mapping[str, Mode], without_power: frozenset[str] = frozenset()) -> None:
        self.modes: dict[str, Mode] = dict(modes)
        self.without_power = without_power  # assets whose command is no power
        self.standing: dict[str, Order] = {}  # by asset: stop, hold or override

    def take(self, order: Order) -> str:
        """Applies an order; returns what is now true, for the acknowledgement. Raises EmsError on one that cannot be applied."""
        assets = list(self.modes) if order.asset == "all" else [order.asset]
        unknown = [a for a in assets if a not in self.modes]
        if unknown:
            raise EmsError(f"no asset {unknown[0]} that can be commanded; there are {', '.join(self.modes)}")
        if not order.by or not order.why:
            raise EmsError("an order needs the name of a person and a reason")
        for asset in assets:
            self._apply(order, asset)
        return f"{order.kind.value} {order.asset} by {order.by}: {order.why}"

    def _apply(self, order: Order, asset: str) -> None:
        if order.kind is OrderKind.MODE:
            if order.mode is None:
                raise EmsError("a mode order needs observe, advise or control")
            self.modes[asset] = order.mode
        elif order.kind is OrderKind.RELEASE:
            self.standing.pop(asset, None)
        elif order.kind is OrderKind.OVERRIDE and asset in self.without_power:
            raise EmsError(f"{asset} is led by its supply temperature, not by a power: stop or hold it")
        elif order.kind is OrderKind.OVERRIDE and (order.kw is None or order.until is None):
            raise EmsError("an override needs a power in kW and a duration")
        else:
            self.standing[asset] = order

    def order_for(self, asset: str, now: datetime) -> Order | None:
        """The standing order of an asset; an override ends by itself."""
        order = self.standing.get(asset)
        if order is not None and order.until is not None and order.until <= now:
            del self.standing[asset]
            return None
        return order

    @property
    def is_all_stopped(self) -> bool:
        """True when every asset is stopped: the site is being withdrawn."""
        return bool(self.modes) and all(self._is_stopped(a) for a in self.modes)

    def _is_stopped(self, asset: str) -> bool:
        order = self.standing.get(asset)
        return order is not None and order.kind is OrderKind.STOP

    def encode(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return {"modes": {k: m.value for k, m in self.modes.items()}, "standing": {k: o.encode() for k, o in self.standing.items()}}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave, for the assets that still exist."""
        self.modes.update({k: Mode(m) for k, m in data["modes"].items() if k in self.modes})
        self.standing = {k: Order.decode(o) for k, o in data["standing"].items() if k in self.modes}
