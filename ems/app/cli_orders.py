"""The commands by which a person orders a running site: stop, hold, release, mode, override."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ems.app.options import AssetArgument, ByOption, StateOption, WhyOption, finite, mode_of, show, words

if TYPE_CHECKING:
    from datetime import timedelta

    from ems.messages import Mode, OrderKind


def stop(asset: AssetArgument, by: ByOption, why: WhyOption, state_dir: StateOption = None) -> None:
    """Safe values by ramp, then let go. `ems release` resets it."""
    from ems.messages import OrderKind

    order(OrderKind.STOP, asset, by, why, state_dir)


def hold(asset: AssetArgument, by: ByOption, why: WhyOption, state_dir: StateOption = None) -> None:
    """Keep the present power, inside what the guard allows."""
    from ems.messages import OrderKind

    order(OrderKind.HOLD, asset, by, why, state_dir)


def release(asset: AssetArgument, by: ByOption, why: WhyOption, state_dir: StateOption = None) -> None:
    """Ends stop, hold and override."""
    from ems.messages import OrderKind

    order(OrderKind.RELEASE, asset, by, why, state_dir)


def mode(
    asset: AssetArgument,
    mode: Annotated[str, typer.Argument(help="observe, advise or control.", show_default=False)],
    by: ByOption,
    why: WhyOption,
    state_dir: StateOption = None,
) -> None:
    """Hands an asset over, or takes it back."""
    from ems.messages import OrderKind

    order(OrderKind.MODE, asset, by, why, state_dir, mode=mode_of(mode))


def override(
    asset: AssetArgument,
    kw: Annotated[float, typer.Option("--kw", help="Power in kW, positive into the asset.", show_default=False)],
    lasts: Annotated[str, typer.Option("--for", help="A duration such as 90s, 15m or 1h30m.", show_default=False)],
    by: ByOption,
    why: WhyOption,
    state_dir: StateOption = None,
) -> None:
    """A power for a time, inside what the guard allows."""
    from ems.app.ordering import duration
    from ems.messages import OrderKind

    order(OrderKind.OVERRIDE, asset, by, why, state_dir, kw=finite(kw), lasts=duration(lasts))


def order(
    kind: OrderKind,
    asset: str,
    by: str,
    why: str,
    state_dir: Path | None,
    mode: Mode | None = None,
    kw: float | None = None,
    lasts: timedelta | None = None,
) -> None:
    """Gives an order to the running site and prints its answer."""
    from ems.app.ordering import give_order
    from ems.app.statedir import running_state_dir

    by, why = words(by, why)
    show([give_order(running_state_dir(state_dir), kind, asset, by, why, mode, kw, lasts)])


COMMANDS = (stop, hold, release, mode, override)
